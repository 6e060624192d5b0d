"""The resources that a bundle is about to write, as criteria see them: they hide the store's versions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from sys import maxunicode
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from bulkhead.compartments import membership
from bulkhead.errors import TooCostly
from bulkhead.facts.index_facts import index_values
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import indexed, matching, run
from bulkhead.search.chains import Chains
from bulkhead.search.drivers import Branch, Pointers
from bulkhead.search.query import Clause, Query
from bulkhead.store.heads import Head
from bulkhead.store.version import Fence, Version

if TYPE_CHECKING:
    from bulkhead.store import Store

# No head in the store has this body: an unwritten version has a resource, and no bytes yet.
_UNWRITTEN = b"\0"
MATCHED = 3_000_000
"""How many times criteria of one bundle may be compared with its own resources, where no index leads to few: some minutes."""
# How many matches are read from the store in addition to the bundle's: one is enough, and canonicals may lead to a few.
_BESIDE = 10


def _body(resource: dict[str, Any], head: Head) -> dict[str, Any]:
    return resource


@dataclass(frozen=True)
class Overlay:
    """The store as it will be, with the reads that chains need, by key."""

    store: Store
    own: Mapping[str, Version]
    gone: Collection[str]
    """Keys of the resources that the bundle deletes."""

    def read_many(self, keys: Iterable[str]) -> dict[str, Head]:
        """Current heads, absent ones left out."""
        wanted = [key for key in keys if key not in self.gone]
        found = {key: self.own[key].head for key in wanted if key in self.own}
        elsewhere = [key for key in wanted if key not in self.own]
        return found | (self.store.read_many(elsewhere) if elsewhere else {})

    def version(self, head: Head) -> Version:
        """The version of a head that `read_many` gave."""
        return self.own[head.key] if head.body == _UNWRITTEN else self.store.version(head)


class Matcher:
    """Tests single resources against the clauses and chains of a query, within the caller's fence."""

    def __init__(
        self, store: Store, fence: Fence, own: Mapping[str, Version] | None = None, *, gone: Collection[str] = ()
    ) -> None:
        """`own` are the bundle's resources as they will be, by key; `gone` are the keys of those that it deletes."""
        self._store, self._fence, self._own, self._gone = store, fence, own or {}, frozenset(gone)
        self._matched = 0
        # Not a cached_property: before Python 3.12 its one lock serves the threads of all instances.
        self._chains: Chains | None = None

    def kept(self, query: Query, candidates: Iterable[Version]) -> list[Version]:
        """Those candidates (of the query's type) that meet it, in their order. The value sets in `query` are expanded.

        TooCostly where all calls together compare too much.
        """
        known = membership.in_force(self._store)
        met = []
        for one in candidates:
            self._matched += 1
            if all(matching.matches(one, clause, known) for clause in query.clauses):
                met.append(one)
        if self._matched > MATCHED:
            raise TooCostly(
                "the criteria in this bundle would be compared with its own resources too often: use identifiers, or send fewer entries "
                "together"
            )
        if not query.chains:
            return met
        if self._chains is None:
            # Chains ask the store only for what `Overlay` has; searches go through `_found`.
            overlay = cast("Store", Overlay(self._store, self._own, self._gone))
            self._chains = Chains(overlay, known, self._sees, self._exists, self._found, self._expanded)
        return self._chains.kept(met, query.chains)

    def _sees(self, candidate: Version) -> bool:
        return candidate.key in self._own or self._fence(candidate)

    def _exists(self, query: Query) -> bool:
        return bool(self._found(query, _BESIDE)[0])

    def _found(self, query: Query, limit: int) -> tuple[list[Version], bool]:
        """Matches of an inner search: those that the bundle writes, and up to `limit` that it leaves unchanged."""
        query = self._expanded(query)
        own = self.kept(query, [one for one in self._own.values() if one.head.type in query.types])
        moved = self._own.keys() | set(self._gone)
        most = limit + sum(key.partition("/")[0] in query.types for key in moved)
        found = run.find(self._store, query, most, fence=self._fence)
        return own + [one for one in found if one.key not in moved][:limit], len(found) < most

    def _expanded(self, query: Query) -> Query:
        return run.spelt_out(self._store, query, self._fence)


_Entry = tuple[str, str]
"""What an entry of the index is sorted by, and the key of its resource."""


class _Range(NamedTuple):
    """Some of the entries that an index would have."""

    entries: list[_Entry]
    begin: int
    end: int


class Written:
    """The resources that a bundle writes, ready for matching."""

    def __init__(
        self, store: Store, fence: Fence, resources: Mapping[str, dict[str, Any]], *, gone: Collection[str]
    ) -> None:
        """`resources` by key, as they will be; `gone` are the keys of deleted ones."""
        updated = dates.now()
        own: dict[str, Version] = {}
        self._by_type: dict[str, dict[str, Version]] = {}
        for key, resource in resources.items():
            head = Head(key, version=1, updated=updated, method="POST", body=_UNWRITTEN)
            own[key] = Version(head, partial(_body, resource))
            self._by_type.setdefault(head.type, {})[key] = own[key]
        self._matcher = Matcher(store, fence, own, gone=gone)
        self._entries: dict[tuple[str, str], dict[str, list[_Entry]]] = {}
        self._pointing: dict[str, dict[str, list[_Entry]]] = {}

    def meeting(self, query: Query) -> list[str]:
        """Keys of the written resources that meet a query of one type, whose value sets are expanded.

        Chains of the query lead through written resources too. TooCostly where all queries together compare too much.
        """
        candidates = self._by_type.get(query.types[0])
        if not candidates:
            return []
        keys = self._led(query, candidates)
        return [one.key for one in self._matcher.kept(query, [candidates[key] for key in keys])]

    def _led(self, query: Query, candidates: Mapping[str, Version]) -> Collection[str]:
        """Keys of all candidates that may meet a query, by whichever clause an index would have fewest for."""
        best: Sequence[_Range] | None = None
        fewest = len(candidates)
        for clause in query.clauses:
            ranges = self._ranges(clause, query.types[0], candidates)
            if ranges is not None and (number := sum(one.end - one.begin for one in ranges)) < fewest:
                best, fewest = ranges, number
        if best is None:
            return candidates
        return sorted({key for one in best for _, key in one.entries[one.begin : one.end]})

    def _ranges(self, clause: Clause, resource_type: str, candidates: Mapping[str, Version]) -> Sequence[_Range] | None:
        """The ranges that an index would have together for a clause; None where no index knows it."""
        listed = indexed.by_value(clause, resource_type)
        if listed is not None:
            return [self._of_branch(branch, resource_type, candidates) for branch in listed.branches]
        streams = indexed.stream(clause, resource_type)
        pointers = [one for one in streams if isinstance(one, Pointers) and one.via is not None]
        if not pointers or len(pointers) < len(streams):
            return None
        if resource_type not in self._pointing:
            pointing = self._pointing[resource_type] = {}
            for key, candidate in candidates.items():
                for target in candidate.targets:
                    pointing.setdefault(target, []).append(("", key))
        found = [self._pointing[resource_type].get(one.target, []) for one in pointers]
        return [_Range(entries, 0, len(entries)) for entries in found]

    def _of_branch(self, branch: Branch, resource_type: str, candidates: Mapping[str, Version]) -> _Range:
        """The candidates in one range. Made once per parameter, so that thousands of conditions need no scan each."""
        name = resource_type, branch.parameter
        if name not in self._entries:
            parameter = search_parameters(resource_type)[branch.parameter]
            made: dict[str, list[_Entry]] = {}
            for key, candidate in candidates.items():
                # Without the patients of each: no range here names one.
                for value in index_values(candidate.body, parameter, {}):
                    made.setdefault(value.value, []).append((f"{value.sort}#", key))
            self._entries[name] = {value: sorted(entries) for value, entries in made.items()}
        entries = self._entries[name].get(branch.value, [])
        if not branch.prefix:
            return _Range(entries, 0, len(entries))
        return _Range(
            entries, bisect_left(entries, (branch.prefix,)), bisect_left(entries, (branch.prefix + chr(maxunicode),))
        )
