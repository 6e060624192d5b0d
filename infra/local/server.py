"""The front door: HTTP in, an API Gateway event to a handler, its answer out; one line of log for each request."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.wsgi import Server

from bulkhead.api.routes import Route
from infra.local import cors, gateway
from infra.local.identity import Identity
from infra.local.lambdas import log_failure
from infra.local.tokens import KeysUnavailable, Refused, Verifier
from infra.local.wsgi import Answer, Application, Environ, application

Call = Callable[[str, dict[str, Any]], Any]
THREADS = 16
FHIR_JSON = "application/fhir+json; charset=utf-8"
# What an error at the door points at: the HTTP message, unless it is one of its parts.
POINTS_AT = {401: "Authorization", 404: "path", 405: "method", 503: "Authorization"}
log = logging.getLogger("bulkhead.local")


class Front:
    """Answers requests by `call(function, event)`.

    With a `verifier` every route that is not public needs a token that it accepts. What an `identity` publishes is answered here.
    """

    def __init__(
        self, routes: Iterable[Route], call: Call, verifier: Verifier | None = None, identity: Identity | None = None
    ) -> None:
        self._router = gateway.Router(routes)
        self._call = call
        self._verifier = verifier
        self._identity = identity

    def __call__(self, environ: Environ) -> Answer:
        path = environ["REQUEST_URI"].partition("?")[0]
        document = self._identity.document(path) if self._identity else None
        if document is not None:
            return cors.with_headers(environ, Answer(200, {"Content-Type": "application/json"}, document))
        began = time.perf_counter()
        match = self._router.match(environ["REQUEST_METHOD"], path)
        request_id = uuid.uuid4().hex
        answer = self._answer(environ, match, request_id)
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

    def _answer(self, environ: Environ, match: gateway.Match | None, request_id: str) -> Answer:
        if match is None:
            return _outcome(404, "not-found", "no such route")
        claims = None
        if self._verifier and not match.route.public:
            try:
                claims = self._verifier.claims(environ.get("HTTP_AUTHORIZATION", ""))
            except Refused as refused:
                log.info("token refused", extra={"reason": str(refused), "request": request_id})
                return self._refused(environ, match, request_id, str(refused))
            except KeysUnavailable:
                answer = _outcome(503, "transient", "tokens cannot be checked at the moment")
                return Answer(503, {**answer.headers, "Retry-After": "30"}, answer.body)
        return self._called(environ, match, request_id, claims)

    def _refused(self, environ: Environ, match: gateway.Match, request_id: str, reason: str) -> Answer:
        """401. Unlike API Gateway, this door lets the function see that there is no caller, so that it is put on the audit trail."""
        answer = self._called(environ, match, request_id, None)
        return answer if answer.status == 503 else _unauthorized(reason)

    def _called(
        self, environ: Environ, match: gateway.Match, request_id: str, claims: Mapping[str, str] | None
    ) -> Answer:
        try:
            try:
                event = gateway.event(environ, match, request_id, claims)
            except ValueError:
                # Its length or its chunks are no numbers, or not those of the body.
                return _outcome(400, "invalid", "the body of the message cannot be read")
            return gateway.answer(self._call(match.route.function, event))
        except Exception as error:
            log_failure(match.route.function, error)
            return _outcome(500, "exception", "internal error")


def _unauthorized(diagnostics: str) -> Answer:
    # API Gateway's own body is {"message": "Unauthorized"}; FHIR clients are better served by an outcome.
    answer = _outcome(401, "login", diagnostics)
    return Answer(401, {**answer.headers, "WWW-Authenticate": "Bearer"}, answer.body)


def _outcome(status: int, code: str, diagnostics: str) -> Answer:
    place = [POINTS_AT.get(status, "message")]
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics, "expression": place}
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    return Answer(status, {"Content-Type": FHIR_JSON}, body.encode())


class _Request(HTTPRequest):
    """What cheroot refuses by itself, such as a malformed request line, is an outcome like any other error."""

    def simple_response(self, status: str, msg: str = "") -> None:
        if not str(status).startswith(("4", "5")):
            super().simple_response(status, msg)
            return
        self.close_connection = True
        body = _outcome(int(status[:3]), "invalid", msg or status).body
        head = f"{self.server.protocol} {status}\r\nContent-Type: {FHIR_JSON}\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            self.conn.wfile.write(f"{head}Connection: close\r\n\r\n".encode() + body)


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request


class Listener:
    """A WSGI server in threads. The port is taken at once, so that a taken one is seen early; `serve` starts to answer."""

    def __init__(self, host: str, port: int, answer: Callable[[Environ], Answer], threads: int = THREADS) -> None:
        """OSError when the port is not free; port 0 takes any."""
        serving: Application = application(answer)
        self._server = Server((host, port), serving, numthreads=threads, request_queue_size=128, shutdown_timeout=1)
        self._server.server_name = "bulkhead"
        self._server.ConnectionClass = _Connection
        # It looks this often, in seconds, whether it has to stop.
        self._server.expiration_interval = 0.05
        self._server.error_log = _log_fault  # type: ignore[method-assign]
        self._server.prepare()
        self.port = int(self._server.bind_addr[1])

    def serve(self) -> None:
        """Answers in background threads until `stop`."""
        threading.Thread(target=self._server.serve, name="listener", daemon=True).start()

    def stop(self) -> None:
        self._server.stop()


def _log_fault(msg: str = "", level: int = 20, traceback: bool = False) -> None:
    """cheroot's own faults (a client gone away), without the text, which may quote a request."""
    log.debug("connection fault")
