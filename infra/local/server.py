"""The front door: passes an HTTP request as an API Gateway event to a handler, and its answer back; logs one line per request."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bulkhead.api.routes import Route
from infra.local import cors, gateway, start_page
from infra.local.identity import Identity
from infra.local.lambdas import log_failure
from infra.local.listener import outcome
from infra.local.tokens import KeysUnavailable, Refused, Verifier
from infra.local.wsgi import Answer, Environ

Call = Callable[[str, dict[str, Any]], Any]
# The place that an error at the door names: the HTTP message, or one of its parts.
POINTS_AT = {401: "Authorization", 404: "path", 405: "method", 503: "Authorization"}
log = logging.getLogger("bulkhead.local")


class Front:
    """Answers requests by `call(function, event)`.

    With a `verifier`, every route that is not public needs a token that it accepts. The front answers requests for `identity`'s documents.
    """

    def __init__(
        self, routes: Iterable[Route], call: Call, verifier: Verifier | None = None, *, identity: Identity | None = None
    ) -> None:
        self._router = gateway.Router(routes)
        self._call = call
        self._verifier = verifier
        self._identity = identity

    def __call__(self, environ: Environ) -> Answer:
        """The response to a complete request."""
        path = environ["REQUEST_URI"].partition("?")[0]
        document = self._identity.document(path) if self._identity else None
        if document is not None:
            return cors.with_headers(environ, Answer(200, {"Content-Type": "application/json"}, document))
        shown = start_page.page(environ, path, auth=self._verifier is not None)
        if shown:
            return shown
        match = self._router.match(environ["REQUEST_METHOD"], path)
        return self._answer(environ, match, self._checked(environ, match))

    def admit(self, environ: Environ) -> Answer | None:
        """The response to a request whose token is not accepted, which needs no body; None for any other request."""
        match = self._router.match(environ["REQUEST_METHOD"], environ["REQUEST_URI"].partition("?")[0])
        checked = self._checked(environ, match)
        return self._answer(environ, match, checked) if isinstance(checked, Exception) else None

    def _checked(
        self, environ: Environ, match: gateway.Match | None
    ) -> Mapping[str, str] | Refused | KeysUnavailable | None:
        """The claims of a request's token, or the reason why it is not accepted; None where the route needs none."""
        if match is None or match.route.public or not self._verifier:
            return None
        try:
            return self._verifier.claims(environ.get("HTTP_AUTHORIZATION", ""))
        except (Refused, KeysUnavailable) as error:
            return error

    def _answer(
        self,
        environ: Environ,
        match: gateway.Match | None,
        checked: Mapping[str, str] | Refused | KeysUnavailable | None,
    ) -> Answer:
        began = time.perf_counter()
        request_id = uuid.uuid4().hex
        if match is None:
            answer = _outcome(404, "not-found", "no such route")
        elif isinstance(checked, Refused):
            log.info("token refused", extra={"reason": str(checked), "request": request_id})
            answer = self._refused(environ, match, request_id, reason=str(checked))
        elif isinstance(checked, KeysUnavailable):
            answer = _outcome(
                503, "transient", "the server cannot check tokens at the moment: send the request again later"
            )
            answer = Answer(503, {**answer.headers, "Retry-After": "30"}, answer.body)
        else:
            answer = self._called(environ, match, request_id, claims=checked)
        log.info(
            "request",
            extra={
                "method": environ["REQUEST_METHOD"],
                "route": match.route.key if match else None,
                "status": answer.status,
                "ms": round((time.perf_counter() - began) * 1000, 1),
                "request": request_id,
            },
        )
        return cors.with_headers(environ, answer)

    def _refused(self, environ: Environ, match: gateway.Match, request_id: str, *, reason: str) -> Answer:
        """401. Unlike API Gateway, this door passes the request to the function without a caller, so that the audit trail has the refusal."""
        answer = self._called(environ, match, request_id, claims=None)
        return answer if answer.status == 503 else _unauthorized(reason)

    def _called(
        self, environ: Environ, match: gateway.Match, request_id: str, *, claims: Mapping[str, str] | None
    ) -> Answer:
        try:
            try:
                event = gateway.event(environ, match, request_id, claims=claims)
            except ValueError:
                # The length or the chunks are malformed, or do not match the body.
                return _outcome(400, "invalid", "the body of the message cannot be read")
            return gateway.answer(self._call(match.route.function, event))
        except Exception as error:
            log_failure(match.route.function, error)
            return _outcome(500, "exception", "internal error")


def _unauthorized(diagnostics: str) -> Answer:
    # API Gateway's own body is {"message": "Unauthorized"}; an outcome serves FHIR clients better.
    answer = _outcome(401, "login", diagnostics)
    return Answer(401, {**answer.headers, "WWW-Authenticate": "Bearer"}, answer.body)


def _outcome(status: int, code: str, diagnostics: str) -> Answer:
    return outcome(status, code, diagnostics, place=POINTS_AT.get(status, "message"))
