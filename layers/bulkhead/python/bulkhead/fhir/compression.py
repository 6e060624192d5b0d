"""Reads gzip, with a limit on the content."""

from __future__ import annotations

import zlib

from bulkhead.errors import BadRequest, PayloadTooLarge
from bulkhead.fhir.json import BODY

_MAGIC = b"\x1f\x8b"
# zlib's `wbits` for gzip alone: with header and checksum, and the largest window.
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 16_384
# Tools that compress in blocks make members of some 64 KB. A member without content has 20 bytes, and costs as much work as a full one.
_MOST_MEMBERS = 10_000


def is_gzip(data: bytes) -> bool:
    """Whether the bytes begin as gzip does, which no JSON or XML does."""
    return data.startswith(_MAGIC)


def inflate(data: bytes, limit: int, place: str = "Content-Encoding") -> bytes:
    """The content of a gzip stream: of all its members, which RFC 1952 (2.2) lets follow each other, and zeros may follow the last.

    BadRequest at `place` where the data is no gzip, or has more than 10,000 members; PayloadTooLarge above `limit` bytes.
    """
    parts: list[bytes] = []
    left, rest = limit, memoryview(data)
    for _ in range(_MOST_MEMBERS):
        content, size = _member(rest, left + 1, place)
        parts.append(content)
        left -= len(content)
        if left < 0:
            raise _too_large(limit)
        rest = rest[size:]
        if not rest or (rest[0] == 0 and not bytes(rest).strip(b"\0")):
            return b"".join(parts)
    raise BadRequest(f"the gzip stream may have at most {_MOST_MEMBERS} members: compress the body as one", place)


def _member(data: memoryview, most: int, place: str) -> tuple[bytes, int]:
    """The content of the first member of `data`, with its checksum checked, and the member's size; of a longer one, `most` bytes."""
    inflater = zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    read = 0
    try:
        while not inflater.eof and most > 0:
            # In pieces, because what follows the member is copied from the last one.
            piece = data[read : read + _PIECE]
            read += len(piece)
            if not piece:
                raise BadRequest("the gzip stream is cut short: send all of it", place)
            parts.append(inflater.decompress(piece, most))
            most -= len(parts[-1])
    except zlib.error:
        told = "the gzip stream is damaged" if is_gzip(bytes(data[: len(_MAGIC)])) else "the body is not gzip"
        raise BadRequest(told, place) from None
    return b"".join(parts), read - len(inflater.unused_data)


def within(data: bytes, limit: int) -> None:
    """Raises PayloadTooLarge above `limit` bytes."""
    if len(data) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"a request may have at most {limit} bytes", BODY)
