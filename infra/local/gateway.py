"""API Gateway (HTTP API) on this machine: its choice of routes, and its events and responses in format 2.0."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from bulkhead.api.matching import Match as Match
from bulkhead.api.matching import Matcher
from infra.local.wsgi import Answer, Environ, read_body

# Observed on AWS: a function gets these as text, everything else (no type, form fields, fhir+json) in base64.
TEXT_TYPES = {"application/json", "application/xml", "application/javascript"}

Router = Matcher


def event(
    environ: Environ, match: Match, request_id: str, *, claims: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The event of a request, in the payload format 2.0; `claims` are those of a verified token.

    The body is still compressed if the client compressed it, and then in base64, as on AWS.
    """
    path, _, query = environ["REQUEST_URI"].partition("?")
    headers = _headers(environ)
    body, encoded = _body(read_body(environ), headers)
    now = time.time()
    context: dict[str, Any] = {
        "accountId": "000000000000",
        "apiId": "local",
        "domainName": headers.get("host", ""),
        "domainPrefix": "local",
        "http": {
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "protocol": environ["SERVER_PROTOCOL"],
            "sourceIp": environ.get("REMOTE_ADDR", ""),
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": match.route.key,
        "stage": "$default",
        "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now * 1000),
    }
    if claims is not None:
        context["authorizer"] = {"jwt": {"claims": dict(claims), "scopes": None}}
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": match.route.key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": encoded,
    }
    if query:
        made["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    if match.parameters:
        made["pathParameters"] = dict(match.parameters)
    if body:
        made["body"] = body
    return made


def _headers(environ: Environ) -> dict[str, str]:
    """The headers with names in lower case, and with those that API Gateway adds."""
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and name != "HTTP_COOKIE"
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    headers["x-forwarded-proto"] = environ["wsgi.url_scheme"]
    headers["x-forwarded-port"] = environ["SERVER_PORT"]
    headers["x-forwarded-for"] = environ.get("REMOTE_ADDR", "")
    return headers


def _body(body: bytes, headers: Mapping[str, str]) -> tuple[str, bool]:
    """The body as text, or in base64 and True."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" not in headers and (content_type.startswith("text/") or content_type in TEXT_TYPES):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii"), bool(body)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def answer(response: Mapping[str, Any]) -> Answer:
    """The HTTP response for a handler's return value. KeyError or ValueError if that is not a response."""
    text = response.get("body") or ""
    body = base64.b64decode(text) if response.get("isBase64Encoded") else text.encode()
    headers = {name: str(value) for name, value in (response.get("headers") or {}).items()}
    return Answer(int(response["statusCode"]), headers, body)
