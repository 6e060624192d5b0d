"""The position where a next page begins, as an opaque text in its link. It is bound to one search; any other refuses it."""

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

# Parameters that change the form of matches, but not the matches or their order: they may differ from page to page.
_FREE = frozenset({"_count", "_total", "_include", "_revinclude", "_format", "_pretty", "_summary", "_elements"})


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """`position` is the driver's own, or one in a sorted list; `total` is the result that `_total=accurate` has already counted.

    `replaced` is `Query.replaced` of the first page: the search continues as it began, whatever links change meanwhile.
    """

    version: int
    position: Any
    total: int | None = None
    replaced: Replaced = ()


def encode(position: Position, total: int | None, query: Query) -> str:
    """The text for a link: URL-safe base64 of JSON and a checksum over it and the search."""
    payload = msgspec.json.encode(Cursor(VERSION, position, total, query.replaced))
    return base64.urlsafe_b64encode(checksum(payload, query) + payload).decode().rstrip("=")


def decode(text: str, query: Query, shape: Any) -> Cursor:
    """The cursor in a link. BadRequest for one of another search or another version of Bulkhead, or a changed one.

    `shape` is the type that its position must have: the checksum is no signature.
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
    """The position in a cursor that `decode` has not checked yet; None if it cannot be read."""
    found = _unchecked(text)
    return found.position if found else None


def replaced(text: str) -> dict[str, tuple[str, ...]]:
    """The Patients with those that they replace, in a cursor that `decode` has not checked yet."""
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
