"""Reads gzip, with a limit on the content."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO

from bulkhead.errors import BadRequest, PayloadTooLarge
from bulkhead.fhir.json import BODY

_MAGIC = b"\x1f\x8b"


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as gzip does, which no JSON or XML does."""
    return data.startswith(_MAGIC)


def inflate(data: bytes, limit: int, place: str = "Content-Encoding") -> bytes:
    """The content of a gzip stream. BadRequest at `place` where the data is no gzip, PayloadTooLarge above `limit` bytes."""
    try:
        # Reads all members of the stream (RFC 1952, 2.2), and at most one byte beyond the limit.
        content = gzip.GzipFile(fileobj=BytesIO(data)).read(limit + 1)
    except EOFError:
        raise BadRequest("the gzip stream is cut short: send all of it", place) from None
    except (OSError, zlib.error):
        raise BadRequest("the body is not gzip", place) from None
    within(content, limit)
    return content


def within(data: bytes, limit: int) -> None:
    """Raises PayloadTooLarge above `limit` bytes."""
    if len(data) > limit:
        raise PayloadTooLarge(f"a request may have at most {limit} bytes", BODY)
