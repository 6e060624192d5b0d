"""`If-Match`, `If-None-Match`, `If-Modified-Since` (R4 http.html#concurrency and #cread; RFC 9110, section 13)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bulkhead.errors import BadRequest, PreconditionFailed
from bulkhead.store import Head

_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
_VERSION = re.compile(r"[0-9]{1,10}")
_VERSIONS = re.compile(r'\s*(?:W/)?"[0-9]{1,10}"\s*(?:,\s*(?:W/)?"[0-9]{1,10}"\s*)*')


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A writer's conditions on the current version. `if_match` and `if_none_match` are the headers' texts.

    BadRequest for an `If-None-Match` that is no condition: the write would go on as if the writer had set none.
    """

    if_match: str | None = None
    if_none_match: str | None = None

    def __post_init__(self) -> None:
        given = self.if_none_match
        if given is not None and given.strip() != "*" and not _VERSIONS.fullmatch(given):
            raise BadRequest('If-None-Match must be * or versions such as W/"3", with commas between', "If-None-Match")

    def check(self, base: Head | None) -> None:
        """Raises PreconditionFailed where `base`, the current head, does not meet them; BadRequest for a malformed header."""
        expected = version_of(self.if_match)
        there = base is not None and not base.deleted
        if expected is not None and (base is None or base.version != expected):
            raise PreconditionFailed(
                "the current version of the resource is a different one: read it again", "If-Match"
            )
        if self.if_match is not None and expected is None and not there:
            raise PreconditionFailed("the resource does not exist", "If-Match")
        if self.if_none_match is None or base is None or not there:
            return
        if self.if_none_match.strip() == "*":
            raise PreconditionFailed("the resource exists already", "If-None-Match")
        if str(base.version) in _tags(self.if_none_match):
            raise PreconditionFailed("the resource has this version", "If-None-Match")


def version_of(if_match: str | None) -> int | None:
    """The version in an `If-Match` header; None without one, or for `*`. BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if not match or not _VERSION.fullmatch(match[1]):
        raise BadRequest('If-Match must be a version such as W/"3"', "If-Match")
    return int(match[1])


def not_modified(head: Head, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether a reader that sends these headers has this version already: 304.

    `If-Modified-Since` counts only without `If-None-Match`, and is ignored if it is no HTTP date (RFC 9110, 13.1.3).
    """
    if if_none_match is not None:
        return if_none_match.strip() == "*" or str(head.version) in _tags(if_none_match)
    if if_modified_since is None:
        return False
    try:
        since = parsedate_to_datetime(if_modified_since)
    except ValueError:
        return False
    # An HTTP date has whole seconds.
    updated = datetime.fromisoformat(head.updated).replace(microsecond=0)
    return updated <= (since if since.tzinfo else since.replace(tzinfo=UTC))


def _tags(header: str) -> set[str]:
    """The versions in a list of weak or strong entity tags."""
    return set(_ETAG.findall(header))
