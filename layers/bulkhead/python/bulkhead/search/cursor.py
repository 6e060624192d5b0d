"""Where a next page begins, as an opaque text in its link. It belongs to one search: with another it is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

import msgspec

from bulkhead.errors import BadRequest
from bulkhead.search.drivers import Position
from bulkhead.search.query import Query

VERSION = 2
Replaced = tuple[tuple[str, tuple[str, ...]], ...]
_PATIENT = re.compile(r"Patient/[A-Za-z0-9.\-]{1,64}")

# What changes how matches are shown, not which there are nor their order: it may differ from page to page.
_FREE = frozenset({"_count", "_total", "_include", "_revinclude", "_format", "_pretty", "_summary", "_elements"})


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """`position` is the driver's own, or that of a sorted list; `total` what `_total=accurate` has counted already.

    `replaced` is `Query.replaced` of the first page: the search goes on as it was begun, whatever links change meanwhile.
    """

    version: int
    position: Any
    total: int | None = None
    replaced: Replaced = ()


def encode(position: Position, total: int | None, query: Query) -> str:
    """The text for a link: URL-safe base64 of JSON and a check sum over it and the search."""
    payload = msgspec.json.encode(Cursor(VERSION, position, total, query.replaced))
    return base64.urlsafe_b64encode(checksum(payload, query) + payload).decode().rstrip("=")


def decode(text: str, query: Query, shape: Any) -> Cursor:
    """The cursor of a link. BadRequest for one of another search, another version, or changed on the way.

    `shape` is the type that its position must have: the check sum is no signature.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(data[_SIZE:], type=Cursor)
        position = msgspec.convert(found.position, shape)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise refused() from None
    if found.version != VERSION or data[:_SIZE] != checksum(data[_SIZE:], query):
        raise refused()
    return Cursor(found.version, position, found.total, found.replaced)


def peek(text: str) -> Position:
    """The position of a cursor that is still to be checked by `decode`; None where it cannot be read."""
    found = _unchecked(text)
    return found.position if found else None


def replaced(text: str) -> dict[str, tuple[str, ...]]:
    """The Patients with those that they replace, of a cursor that is still to be checked by `decode`."""
    found = _unchecked(text)
    pairs = found.replaced if found else ()
    if not all(_PATIENT.fullmatch(key) for patient, others in pairs for key in (patient, *others)):
        raise refused()
    return dict(pairs)


def _unchecked(text: str) -> Cursor | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data[_SIZE:], type=Cursor)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


_SIZE = 8


def checksum(payload: bytes, query: Query) -> bytes:
    search = [query.path, sorted(query.types), [pair for pair in query.used if pair[0].partition(":")[0] not in _FREE]]
    return hashlib.blake2b(payload + msgspec.json.encode(search), digest_size=_SIZE).digest()


def refused() -> BadRequest:
    return BadRequest(
        "this page link is not one that this server gave for this search: begin the search anew", expression="_cursor"
    )
