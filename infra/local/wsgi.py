"""Requests and answers of the local server and its emulated AWS. A request is a WSGI environment (PEP 3333)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Environ = Mapping[str, Any]

PIECE = 1 << 20


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def read_body(environ: Environ) -> bytes:
    """The whole body, by its length or by its chunks; still compressed if the client compressed it.

    ValueError if length or chunks are malformed.
    """
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        if not length.isdecimal():
            raise ValueError("Content-Length must be a number")
        return bytes(stream.read(int(length)))
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    # In pieces, because reading a chunked stream at once grows its buffer by copying it.
    return b"".join(iter(lambda: stream.read(PIECE), b""))
