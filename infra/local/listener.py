"""HTTP for the local server and its emulated AWS: uvicorn and httptools in a thread, with limits on everything that a client sends.

Connections belong to an event loop, so a client that sends or reads slowly costs a socket and no thread. A thread gets a request
only when it is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.local.wsgi import Answer, Environ

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

THREADS = 16
FHIR_JSON = "application/fhir+json; charset=utf-8"
PIECE = 1 << 18
# The server reads a body up to this many bytes before it checks the token: one turn of a thread instead of two.
SMALL = 1 << 16
# How long, and for how many bytes, a client that got an early response may continue to send before the connection is cut.
LINGER_SECONDS = 1.0
LINGER_BYTES = 1 << 25
STOP_SECONDS = 1
# The part of the message that an HTTP error names.
POINTS_AT = {413: "body", 414: "path", 431: "headers", 408: "message"}
NOT_HTTP = "this is not a valid HTTP/1.1 request; percent-encode all characters of the URL that are not ASCII"
NOT_HTTP_BODY = "the body is not validly chunked (HTTP/1.1)"
NO_BODY = frozenset({204, 304})
log = logging.getLogger("bulkhead.local")


@dataclass(frozen=True)
class Limits:
    """Limits on each client, and on all of them together."""

    body: int = 100_000_000
    """Bytes of a body as it arrives, compressed or not."""
    bodies: int = 400_000_000
    """Bytes of all bodies that the server is reading."""
    head: int = 1 << 16
    """Bytes of a request line with its headers."""
    headers: int = 100
    """Headers of a request."""
    connections: int = 1000
    """Open connections."""
    head_seconds: float = 10
    """Seconds from the first byte of a request, or from connecting, to the end of its headers."""
    pause_seconds: float = 20
    """Seconds between two pieces of a body."""
    body_seconds: float = 600
    """Seconds from the end of the headers to the end of the body."""
    answer_seconds: float = 120
    """Seconds for taking a response."""
    idle_seconds: int = 60
    """Seconds between two requests of one connection."""


class Refusal(Exception):
    """A request that breaks a limit or HTTP itself; `status` is that of the response, and the client sees the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Gone(Exception):
    """The client closed the connection."""


class Listener:
    """A server in a thread. It takes the port at once, so that a taken port shows early; `serve` starts to answer."""

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Environ], Answer],
        *,
        threads: int = THREADS,
        admit: Callable[[Environ], Answer | None] | None = None,
        limits: Limits | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        """OSError if the port is not free; port 0 takes any. `listening`, a socket that listens already, takes the place of both.

        `answer` answers a complete request. `admit` sees a request before its large body is read, and may answer it without the body.
        """
        self._socket = listening or bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        self._server = _Server(_config(_Application(answer, admit, limits or Limits(), threads=threads)))
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        """Answers in background threads until `stop`."""
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accepts no more requests, and gives running ones a second to finish."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join(timeout=1.5 * STOP_SECONDS)
        self._socket.close()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. OSError if the port is not free, or the host does not belong to this machine."""
    family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(cast("tuple[str, int]", address[:2]), family=family, backlog=1024)


def outcome(status: int, code: str, diagnostics: str, *, place: str) -> Answer:
    """An OperationOutcome for an error of the local server itself."""
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics, "expression": [place]}
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    return Answer(status, {"Content-Type": FHIR_JSON}, body.encode())


def refusal(refused: Refusal) -> Answer:
    """The response to a request that is refused before its content is read."""
    code = {413: "too-long", 503: "throttled", 408: "timeout"}.get(refused.status, "invalid")
    answer = outcome(refused.status, code, str(refused), place=POINTS_AT.get(refused.status, "message"))
    return Answer(answer.status, {**answer.headers, "Connection": "close"}, answer.body)


class _Application:
    """The ASGI application: it turns a request into a WSGI environment and answers it in a thread."""

    def __init__(
        self,
        answer: Callable[[Environ], Answer],
        admit: Callable[[Environ], Answer | None] | None,
        limits: Limits,
        *,
        threads: int,
    ) -> None:
        self._answer, self._admit, self.limits = answer, admit, limits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._reading = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        method = scope["method"]
        try:
            given, whole = await self._answered(scope, receive)
        except _Gone:
            return
        except Refusal as refused:
            given, whole = refusal(refused), False
        except Exception as error:
            log.error("the answer failed", extra={"error": type(error).__name__})
            given, whole = outcome(500, "exception", "internal error", place="message"), False
        headers = _headers(given, method)
        if not whole:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        body = b"" if method == "HEAD" or given.status in NO_BODY else given.body
        for start in range(0, len(body), PIECE):
            await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
        if not whole:
            await _linger(scope, receive)
        await send({"type": "http.response.body", "body": b""})

    async def _answered(self, scope: Message, receive: Receive) -> tuple[Answer, bool]:
        """The response, and whether the request's body was read to its end. Refusal, _Gone."""
        environ = environ_of(scope)
        length = environ.get("CONTENT_LENGTH")
        size = _length(length) if length else None
        if not size and "HTTP_TRANSFER_ENCODING" not in environ:
            return await self._run(self._answer, environ), True
        if self._admit and (size is None or size > SMALL):
            early = await self._run(self._admit, environ)
            if early:
                return early, False
        if size and size > self.limits.body:
            raise Refusal(413, f"the body is larger than {self.limits.body} bytes")
        environ["wsgi.input"] = io.BytesIO(await self._body(receive))
        return await self._run(self._answer, environ), True

    async def _body(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while more:
                    message = await asyncio.wait_for(receive(), self.limits.pause_seconds)
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    piece = message["body"]
                    size += len(piece)
                    self._reading += len(piece)
                    if size > self.limits.body:
                        raise Refusal(413, f"the body is larger than {self.limits.body} bytes")
                    if self._reading > self.limits.bodies:
                        raise Refusal(503, "the server is reading too many large bodies: send the request again later")
                    pieces.append(piece)
                    more = message["more_body"]
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time") from None
        finally:
            self._reading -= size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _run(self, function: Callable[[Environ], Any], environ: Environ) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, environ)


def environ_of(scope: Message) -> dict[str, Any]:
    """The request as a WSGI environment with an empty body. Refusal if its headers contradict each other.

    A repeated header is joined by a comma, as API Gateway does. Values are text in UTF-8, or else in ISO 8859-1.
    """
    target = scope["raw_path"].decode("ascii")
    if scope["query_string"]:
        target = f"{target}?{scope['query_string'].decode('ascii')}"
    host, _ = scope["client"] or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "REQUEST_URI": target,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_PORT": str(scope["server"][1]),
        "REMOTE_ADDR": host,
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            # It would be mistaken for the header with a hyphen.
            continue
        name = raw_name.decode("ascii").upper().replace("-", "_")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = f"HTTP_{name}"
        value = _text(raw_value.strip(b" \t"))
        if name in environ:
            if name in ("HTTP_HOST", "CONTENT_LENGTH"):
                raise Refusal(400, f"the header {raw_name.decode('ascii')} occurs twice")
            value = f"{environ[name]},{value}"
        environ[name] = value
    return environ


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _length(text: str) -> int:
    """Content-Length. Refusal if it is no number."""
    if not (text.isascii() and text.isdecimal()):
        raise Refusal(400, "Content-Length is not a number")
    # Python only reads numbers of up to a few thousand digits.
    return int(text) if len(text) < 20 else 10**20


def _headers(answer: Answer, method: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (name.encode("ascii"), value.encode())
        for name, value in answer.headers.items()
        if name.lower() not in ("content-length", "connection")
    ]
    if answer.status not in NO_BODY:
        # A response to HEAD states the length of a body that it does not have.
        length = answer.headers.get("Content-Length") if method == "HEAD" else None
        headers.append((b"content-length", (length or str(len(answer.body))).encode()))
    return headers


async def _linger(scope: Message, receive: Receive) -> None:
    """Reads some of what a client still sends, so that it sees its response before the connection is cut."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    taken, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while more and taken < LINGER_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                more = message.get("more_body", False)


def _config(application: _Application) -> uvicorn.Config:
    # uvicorn's loggers quote parts of a request, which may be a patient's data.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).disabled = True
    return uvicorn.Config(
        cast("Any", application),
        http=_Protocol,
        loop="auto",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=application.limits.idle_seconds,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


class _Server(uvicorn.Server):
    """Checks its connections once a second."""

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                cast("_Protocol", connection).check(now)
        return await super().on_tick(counter)


class _Protocol(HttpToolsProtocol):
    """One connection. Limits count from the first byte, before the application sees a request."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits: Limits = cast("Any", self.config.app).limits
        self._in_head = True
        self._head_size = self._fields_size = 0
        self._head_since: float | None = None
        self._answer_since: float | None = None
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if len(self.connections) > self._limits.connections:
            self._refuse(Refusal(503, "the server has too many connections: connect again later"))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_size += len(data)
            self._head_since = self._head_since or self.loop.time()
        super().data_received(data)
        if self._in_head and self._head_size > self._limits.head and not self.transport.is_closing():
            self._refuse(self._too_long())

    def check(self, now: float) -> None:
        """Cuts the connection of a client that takes too long to send a request's head, or to take a response."""
        if self._head_since is not None and now - self._head_since > self._limits.head_seconds:
            if self._head_size:
                self._refuse(Refusal(408, "the headers did not arrive in time"))
            else:
                self.transport.close()
        if not self.transport.get_write_buffer_size():
            self._answer_since = None
        elif self._answer_since is None:
            self._answer_since = now
        elif now - self._answer_since > self._limits.answer_seconds:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._fields_size = 0
        self._head_since = self._head_since or self.loop.time()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))
        if len(self.headers) > self._limits.headers:
            self._refusal = Refusal(431, f"the request has more than {self._limits.headers} headers")
            raise self._refusal

    def on_headers_complete(self) -> None:
        self._in_head, self._head_since, self._head_size = False, None, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True

    def send_400_response(self, msg: str) -> None:
        """Answers a message that is not HTTP with an outcome, like any other error, and never quotes it."""
        self._refuse(self._refusal or Refusal(400, NOT_HTTP_BODY if not self._in_head else NOT_HTTP))

    def _count(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > self._limits.head:
            self._refusal = self._too_long()
            raise self._refusal

    def _too_long(self) -> Refusal:
        text = f"the request line and the headers are longer than {self._limits.head} bytes"
        return Refusal(431 if self.headers else 414, text)

    def _refuse(self, refused: Refusal) -> None:
        self._head_since = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head or self.pipeline or cycle.response_started:
                # The server is answering an earlier request of this connection: the connection ends after that.
                cycle.keep_alive = False
                self.pipeline.clear()
                self.flow.pause_reading()
                return
            # Tells the reader of this body that the rest will not arrive.
            cycle.disconnected = True
            cycle.message_event.set()
        answer = refusal(refused)
        phrase = HTTPStatus(answer.status).phrase
        lines = [f"HTTP/1.1 {answer.status} {phrase}", f"content-type: {FHIR_JSON}", "connection: close",
                 f"content-length: {len(answer.body)}", "", ""]  # fmt: skip
        self.transport.write("\r\n".join(lines).encode() + answer.body)
        self.transport.close()
