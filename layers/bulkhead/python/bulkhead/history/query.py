"""Parses the parameters of a history request: the versions (`_since`, `_at`, `_type`), their number, order and form.

An unknown parameter is refused, even under lenient handling: a history Bundle has no entry of mode `outcome` (bdl-2, bdl-3)
that could say that it was ignored, and a client that asked for less would take the response for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bulkhead.errors import BadRequest
from bulkhead.fhir import dates, queries
from bulkhead.fhir.definitions import RESOURCE_TYPES
from bulkhead.fhir.subset import SUMMARY_MODES

_SORTS = {"-_lastUpdated": True, "_lastUpdated": False}
# Parameters for the HTTP layer: the links keep them, so that the next page has the same form.
_FREE = frozenset({"_format", "_pretty"})
_KNOWN = frozenset({"_since", "_at", "_sort", "_count", "_cursor", "_type", "_summary", "_elements"})


@dataclass(frozen=True, slots=True)
class Query:
    """A history request. `path` precedes `/_history` in the URL: "Patient/1", "Patient", "" for the system.

    `since` is the first instant, inclusive. `at` is the first and last instant of a period: the history lists the versions
    that were current at some point in it. `used` holds the parameters as the client gave them, without the cursor.
    """

    path: str
    count: int
    since: str | None = None
    at: tuple[str, str] | None = None
    newest_first: bool = True
    cursor: str | None = None
    used: Mapping[str, str] | None = None
    types: tuple[str, ...] = ()
    """For the history of the system: the types asked for; () for all."""
    count_only: bool = False
    """Whether the client asks only for the number of versions: `_count=0` or `_summary=count`."""

    @property
    def last(self) -> str | None:
        """No version after this instant is listed."""
        return self.at[1] if self.at else None

    @property
    def of_one(self) -> bool:
        """Whether this is the history of one resource."""
        return "/" in self.path

    @property
    def search(self) -> list[str | None]:
        """The part of the query that a cursor is bound to."""
        return [self.path, self.since, *(self.at or (None, None)), str(self.newest_first), *self.types]


def parse(path: str, pairs: Iterable[tuple[str, str]], default: int, *, limit: int) -> Query:
    """The query of a history request. `default` and `limit` apply to `_count`. BadRequest, naming the parameter, for a parameter
    that history does not have, and for a value that the parameter cannot have.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequest(f"{name} may occur only once", name)
        if name not in _KNOWN | _FREE:
            raise BadRequest(f"history has no parameter {name[:64]}; it has {', '.join(sorted(_KNOWN))}", name[:64])
        given[name] = value
    used = {name: value for name, value in given.items() if name != "_cursor"}
    summary = given.get("_summary")
    if summary is not None and summary not in SUMMARY_MODES:
        raise BadRequest(f"_summary must be one of {', '.join(SUMMARY_MODES)}", "_summary")
    return Query(
        path=path,
        count=_count(given.get("_count"), default, limit),
        since=_bounds(given["_since"], "_since")[0] if "_since" in given else None,
        at=_bounds(given["_at"], "_at") if "_at" in given else None,
        newest_first=_newest_first(given.get("_sort", "-_lastUpdated")),
        cursor=given.get("_cursor"),
        used=used,
        types=_types(given["_type"], path) if "_type" in given else (),
        count_only=summary == "count" or given.get("_count", "").strip("0") == "" != given.get("_count", ""),
    )


def _count(text: str | None, default: int, limit: int) -> int:
    if text is None:
        return default
    return max(1, min(queries.count(text), limit))


def _types(text: str, path: str) -> tuple[str, ...]:
    if path:
        raise BadRequest("_type applies only to the history of the system: this path already names a type", "_type")
    types = tuple(dict.fromkeys(text.split(",")))
    for name in types:
        if name not in RESOURCE_TYPES:
            raise BadRequest(f"{name[:64] or 'an empty text'} is not a resource type of R4", "_type")
    return types


def _bounds(text: str, parameter: str) -> tuple[str, str]:
    """First and last instant of a date. A space stands for the `+` of a time zone that the client did not encode."""
    try:
        return dates.bounds(text.replace(" ", "+"))
    except BadRequest as error:
        raise BadRequest(f"{parameter} is {error}", parameter) from None


def _newest_first(text: str) -> bool:
    if text not in _SORTS:
        raise BadRequest("_sort of a history must be _lastUpdated or -_lastUpdated", "_sort")
    return _SORTS[text]
