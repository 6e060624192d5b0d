"""WSGI in and out, as the local server and its emulated AWS share it; cheroot serves it, a thread for each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Environ = Mapping[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

PIECE = 1 << 20


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def read_body(environ: Environ) -> bytes:
    """The whole body, whether its length is given or it comes in chunks; still compressed if the client compressed it.

    ValueError when length or chunks are broken.
    """
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        if not length.isdecimal():
            raise ValueError("a length is a number")
        return bytes(stream.read(int(length)))
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    # In pieces, because a chunked stream read at once grows its buffer by copying it.
    return b"".join(iter(lambda: stream.read(PIECE), b""))


def application(answer: Callable[[Environ], Answer]) -> Application:
    """The WSGI application that sends what `answer` gives for each request."""

    def respond(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = answer(environ)
        headers = [(name, value) for name, value in given.headers.items() if name.lower() != "content-length"]
        # A HEAD answer tells the length of a body that it does not have.
        length = given.headers.get("Content-Length") if environ["REQUEST_METHOD"] == "HEAD" else None
        headers.append(("Content-Length", length or str(len(given.body))))
        start_response(f"{given.status} {_reason(given.status)}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [given.body]

    return respond


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
