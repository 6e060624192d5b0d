"""Lists versions by time, of one resource, a type, or all types: first from the index, then checked against the heads."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from bulkhead.access import policy
from bulkhead.history.cursor import Place
from bulkhead.history.query import Query
from bulkhead.parallel import in_parallel
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.version import Fence, prepare

_FEW = 10
"""How many versions of each of many types are read at first."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A version that the index lists: a hint that needs a check."""

    key: str
    version: int
    updated: str

    @property
    def place(self) -> Place:
        resource_type, _, identifier = self.key.partition("/")
        return Place(f"{self.updated}#{identifier}#{self.version:010d}", resource_type)


@dataclass(frozen=True, slots=True)
class Batch:
    """Listed versions, in order, and whether the list has ended; `heads` are versions that came with the listing."""

    listed: Sequence[Listed]
    ended: bool
    heads: Sequence[Head] = ()


class Lister(Protocol):
    """Gives the next batch of `limit` versions, after a place."""

    def __call__(self, after: Place | None, limit: int, *, newest_first: bool) -> Batch: ...


def lister(store: Store, query: Query, types: Sequence[str]) -> Lister:
    """A function that lists the versions of these `types` that the query asks for."""
    return _of_one(store, query) if query.of_one else _OfTypes(store, query, types)


class _OfTypes:
    """Lists the versions of several types together. Going on from where it stopped reads only types whose versions are used up.

    To look through thousands that a fenced caller may not see, each of a hundred types was listed anew for each hundred of them.
    """

    def __init__(self, store: Store, query: Query, types: Sequence[str]) -> None:
        self._store, self._query, self._types = store, query, types
        self._merged: Iterator[Listed] = iter(())
        self._at: tuple[Place | None, bool] | None = None
        """The place up to which `_merged` was taken, and its direction; None before the first batch."""

    def __call__(self, after: Place | None, limit: int, *, newest_first: bool) -> Batch:
        if self._at is None or self._at != (after, newest_first):
            self._merged = self._start(after, limit, newest_first=newest_first)
        taken = list(islice(self._merged, limit + 1))
        ended = len(taken) <= limit
        self._merged = chain(taken[limit:], self._merged)
        taken = taken[:limit]
        self._at = (taken[-1].place if taken else after, newest_first)
        return Batch(taken, ended)

    def _start(self, after: Place | None, limit: int, *, newest_first: bool) -> Iterator[Listed]:
        """All versions after a place, in order, each once."""
        # What most types have is never needed: a page is full of the versions of a few.
        number = limit + 1 if len(self._types) == 1 else max(limit // len(self._types), _FEW) if self._types else 0

        def first(resource_type: str) -> list[Listed]:
            start = _after(after, resource_type, newest_first=newest_first)
            return self._read(resource_type, start, number, newest_first=newest_first)

        found = in_parallel(first, self._types, self._store.settings.threads)
        streams = [
            self._stream(resource_type, listed, number, limit=limit, newest_first=newest_first)
            for resource_type, listed in zip(self._types, found, strict=True)
        ]
        last: Listed | None = None
        for one in heapq.merge(*streams, key=lambda one: one.place, reverse=newest_first):
            # The index lists a version twice while it is being superseded.
            if one != last:
                yield one
            last = one

    def _stream(
        self, resource_type: str, listed: list[Listed], asked: int, *, limit: int, newest_first: bool
    ) -> Iterator[Listed]:
        """The versions of one type: those `listed`, of which `asked` were asked for, and then the others."""
        yield from listed
        while len(listed) >= asked:
            asked = limit
            listed = self._read(resource_type, listed[-1].place.position, asked, newest_first=newest_first)
            yield from listed

    def _read(self, resource_type: str, start: str | None, limit: int, *, newest_first: bool) -> list[Listed]:
        query = self._query
        found = self._store.by_time(
            resource_type, query.since, query.last, after=start, limit=limit, newest_first=newest_first
        )
        return [Listed(moment.key, moment.version, moment.updated) for moment in found]


def _after(place: Place | None, resource_type: str, *, newest_first: bool) -> str | None:
    """The position in this type that precedes everything after `place`. Types share positions: one transaction, one id."""
    if place is None or place.type == resource_type:
        return place.position if place else None
    if (resource_type < place.type) != newest_first:
        return place.position
    start, _, version = place.position.rpartition("#")
    return f"{start}#{int(version) + (1 if newest_first else -1):010d}"


def _of_one(store: Store, query: Query) -> Lister:
    """The versions of one resource: strongly consistent, without the index."""

    def listed(after: Place | None, limit: int, *, newest_first: bool) -> Batch:
        at = int(after.position.rpartition("#")[2]) if after else None
        if newest_first:
            found = store.versions(query.path, at, limit)
        else:
            first = (at or 0) + 1
            found = [head for head in store.versions(query.path, first + limit, limit) if head.version >= first][::-1]
        return Batch([Listed(head.key, head.version, head.updated) for head in found], len(found) < limit, found)

    return listed


def resolve(
    session: Session, query: Query, listed: Sequence[Listed], *, known: Sequence[Head] = ()
) -> dict[Listed, Head]:
    """The versions that exist, that the caller may see, and that were current at the time that the query asks for.

    `known` are versions that the caller of this function has read already.
    """
    heads = session.store.read_many({one.key for one in listed})
    sees = policy.fence(session.store, session.caller, _right(query))
    prepare(sees, [session.store.version(head) for head in heads.values()])
    visible = {key: head for key, head in heads.items() if _visible(session, query, head, sees=sees)}
    real = [one for one in listed if one.key in visible and one.version <= visible[one.key].version]
    wanted = {(one.key, one.version) for one in real}
    if query.at:
        wanted |= {(one.key, one.version + 1) for one in real}
    there = {(head.key, head.version): head for head in (*known, *visible.values())}
    past = {(key, version) for key, version in wanted - there.keys() if version < visible[key].version}
    versions = session.store.read_versions(past) | there
    found = {one: versions[one.key, one.version] for one in real if (one.key, one.version) in versions}
    shown = policy.versions(session.store, session.caller, _right(query))
    prepare(shown, [session.store.version(head) for head in found.values()])
    return {
        one: head
        for one, head in found.items()
        # Another time: a transaction that did not commit staged the entry, before the commit that made this version.
        if head.updated == one.updated
        and _current(head, versions.get((one.key, one.version + 1)), query)
        and shown(session.store.version(head))
    }


def _visible(session: Session, query: Query, head: Head, *, sees: Fence) -> bool:
    """Whether the caller may see the resource now. A deleted resource is visible only to a caller without a fence."""
    if head.deleted:
        return policy.sees_all(session.caller, _right(query), head.type)
    return sees(session.store.version(head))


def _right(query: Query) -> str:
    return policy.READ if query.of_one else policy.SEARCH


def _current(head: Head, successor: Head | None, query: Query) -> bool:
    """Whether the version was made since `since` and was current in the period `at`. A deletion counts only if it happened in it."""
    if (query.since and head.updated < query.since) or (query.at and head.updated > query.at[1]):
        return False
    if query.at is None or head.updated >= query.at[0]:
        return True
    return not head.deleted and (successor is None or successor.updated > query.at[0])
