"""The place where a page of history continues: an opaque text in its links, bound to one query.

A poller keeps a cursor that goes forward by time. Its `place` is the last version seen below the horizon; the index is
complete up to there. `delivered` names the versions above it that the poller already has. A version that appears late, between
others, is above `place` and not in `delivered`, so a poller neither misses it nor gets it twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import msgspec

from bulkhead.errors import BadRequest
from bulkhead.fhir.definitions import RESOURCE_TYPES
from bulkhead.history.query import Query

FORWARD, BACK, FEED = "f", "b", "p"
DIGEST = 6
"""How many bytes identify a version in a cursor: two of a few hundred collide once in a thousand million polls."""
_SIZE = 8
# The checksum is no signature, so the position needs a check of its own.
_POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z#[A-Za-z0-9\-.]{1,64}#\d{10}", re.ASCII)


class Place(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One version in the order of history: `position` in the index by-time (instant, id, version), then the resource type."""

    position: str
    type: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """`mode` FORWARD: the versions after `place`. BACK: those before it. FEED: as the module says."""

    mode: str
    place: Place | None
    delivered: frozenset[bytes] = frozenset()


class _Text(msgspec.Struct, frozen=True, array_like=True):
    version: int
    mode: str
    place: Place | None
    delivered: str


def digest(place: Place) -> bytes:
    return hashlib.blake2b(f"{place.type}#{place.position}".encode(), digest_size=DIGEST).digest()


def encode(cursor: Cursor, query: Query) -> str:
    delivered = base64.b85encode(b"".join(sorted(cursor.delivered))).decode()
    payload = msgspec.json.encode(_Text(1, cursor.mode, cursor.place, delivered))
    return base64.urlsafe_b64encode(_checksum(payload, query) + payload).decode().rstrip("=")


def decode(text: str, query: Query) -> Cursor:
    """The cursor in a link. BadRequest for a text that this server did not give for this query."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(data[_SIZE:], type=_Text)
        delivered = base64.b85decode(found.delivered)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise _refused() from None
    if found.version != 1 or data[:_SIZE] != _checksum(data[_SIZE:], query) or found.mode not in (FORWARD, BACK, FEED):
        raise _refused()
    if found.place and not (_POSITION.fullmatch(found.place.position) and found.place.type in RESOURCE_TYPES):
        raise _refused()
    pieces = (delivered[at : at + DIGEST] for at in range(0, len(delivered), DIGEST))
    return Cursor(found.mode, found.place, frozenset(pieces))


def _checksum(payload: bytes, query: Query) -> bytes:
    return hashlib.blake2b(payload + msgspec.json.encode(query.search), digest_size=_SIZE).digest()


def _refused() -> BadRequest:
    return BadRequest(
        "this page link does not belong to this history: follow a link from one of its pages, or start anew without _cursor",
        "_cursor",
    )
