"""API Gateway (HTTP API, payload format 2.0): turns an event into a Request, and its Response into the answer to the event."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bulkhead import observability, settings
from bulkhead.api import fitting, rendering, router
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.api.routes import BASE, DEFAULT
from bulkhead.observability import logger
from bulkhead.session import Session, of_claims, unauthorized
from bulkhead.store import connect
from functions import running

Event = dict[str, Any]


def handler(event: Event, context: Any = None) -> Event:
    """The Lambda handler of every function with a route: the Router finds the operation by method and path."""
    return serve(event, context=context)


def serve(event: Event, answer: Callable[[Request], Response] = router.answer, context: Any = None) -> Event:
    """The answer to one event; `answer` defaults to the Router's."""
    begun = time.perf_counter()
    asked = request(event)
    request_id = event["requestContext"].get("requestId", "")
    correlation = observability.chosen(asked.headers, request_id)
    with running.answering(asked.route.operation, correlation, context):
        try:
            answered = _moved(event, asked) or answer(asked)
            made = _event(asked, answered)
        except Exception as error:
            router.log_failure(error)
            made = _event(asked, router.internal_error())
        logger.info(
            "request",
            operation=asked.route.operation,
            method=asked.method,
            status=made["statusCode"],
            milliseconds=round((time.perf_counter() - begun) * 1000, 1),
            request_id=request_id,
        )
    return made


def request(event: Event) -> Request:
    """The request in an event, with a session of its own."""
    context, headers, known = event["requestContext"], event.get("headers") or {}, settings.current()
    address = context["http"].get("sourceIp", "")
    claims = (context.get("authorizer") or {}).get("jwt", {}).get("claims")
    identify = partial(of_claims, claims, known.auth, address)
    if "," in headers.get("authorization", "") and known.auth != "off":
        # API Gateway joins repeated headers by commas, and no bearer token contains one.
        identify = unauthorized("the request must have one Authorization header with one token")  # type: ignore[assignment]
    host = headers.get("host") or context.get("domainName", "localhost")
    session = Session(
        connect=lambda: connect(),
        identify=identify,
        settings=known,
        base=known.base_url.rstrip("/") or f"{headers.get('x-forwarded-proto', 'https')}://{host}{BASE}",
        extended=known.extended_meta != "on-request" or headers.get("x-medplum") == "extended",
        address=address,
    )
    raw = event.get("body") or ""
    return Request(
        context["http"]["method"],
        event["rawPath"],
        session,
        headers=headers,
        query=event.get("rawQueryString", ""),
        body=base64.b64decode(raw) if event.get("isBase64Encoded") else raw.encode(),
    )


def _moved(event: Event, asked: Request) -> Response | None:
    """API Gateway sends a path with a slash at its end to `$default`, without the token's claims: a redirect makes the client ask again.

    With its whole query, and on this server only: a path that begins with two slashes would be another host in `Location`.
    """
    path: str = event["rawPath"]
    if event.get("routeKey") != DEFAULT or not path.startswith(f"{BASE}/") or not path.endswith("/"):
        return None
    query = f"?{asked.query_string}" if asked.query_string else ""
    return Response(308, headers={"location": f"{asked.base}{path.removeprefix(BASE).removesuffix('/')}{query}"})


def _event(asked: Request, answered: Response) -> Event:
    body, headers = rendering.render(asked, answered)
    made: Event = {"statusCode": answered.status, "headers": headers, "isBase64Encoded": False, "body": ""}
    if asked.method == "HEAD":
        headers["Content-Length"] = str(len(body))
        return made
    if fitting.is_text(body):
        made["body"] = body.decode()
    else:
        made["body"] = base64.b64encode(body).decode()
        made["isBase64Encoded"] = True
    return made
