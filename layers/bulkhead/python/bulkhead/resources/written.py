"""The resources that a bundle is about to write, as criteria see them: they hide the store's versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from bulkhead.compartments import membership
from bulkhead.facts.index_facts import index_values
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import matching, run
from bulkhead.search.chains import Chains
from bulkhead.search.query import Query, TokenValue
from bulkhead.store.heads import Head
from bulkhead.store.keys import IDENTIFIER
from bulkhead.store.version import Fence, Version

if TYPE_CHECKING:
    from bulkhead.store import Store

# No head in the store has this body: an unwritten version has a resource, and no bytes yet.
_UNWRITTEN = b"\0"
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
        # Not a cached_property: before Python 3.12 its one lock serves the threads of all instances.
        self._chains: Chains | None = None

    def kept(self, query: Query, candidates: Iterable[Version]) -> list[Version]:
        """Those candidates (of the query's type) that meet it, in their order. The value sets in `query` are expanded."""
        known = membership.in_force(self._store)
        met = [one for one in candidates if all(matching.matches(one, clause, known) for clause in query.clauses)]
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
        self._identifiers: dict[str, dict[tuple[str, str], list[str]]] = {}

    def meeting(self, query: Query) -> list[str]:
        """Keys of the written resources that meet a query of one type, whose value sets are expanded.

        Chains of the query lead through written resources too.
        """
        candidates = self._by_type.get(query.types[0])
        if not candidates:
            return []
        identifier = exact_identifier(query)
        keys = self._under(query.types[0], candidates).get(identifier, ()) if identifier else candidates
        return [one.key for one in self._matcher.kept(query, [candidates[key] for key in keys])]

    def _under(self, resource_type: str, candidates: Mapping[str, Version]) -> Mapping[tuple[str, str], Sequence[str]]:
        """Keys by (system, value) of each identifier: made once per type, so that thousands of conditions need no scan each."""
        if resource_type not in self._identifiers:
            parameter = search_parameters(resource_type)[IDENTIFIER]
            under: dict[tuple[str, str], list[str]] = {}
            for key, candidate in candidates.items():
                for value in index_values(candidate.body, parameter):
                    under.setdefault((value.sort, value.value), []).append(key)
            self._identifiers[resource_type] = under
        return self._identifiers[resource_type]


def exact_identifier(query: Query) -> tuple[str, str] | None:
    """(system, value as indexed) of a query that is one `identifier=system|value`, as nearly all criteria are."""
    clauses = query.clauses
    if query.chains or len(clauses) != 1 or len(clauses[0].values) != 1 or clauses[0].modifier:
        return None
    value = clauses[0].values[0]
    if clauses[0].name != IDENTIFIER or not isinstance(value, TokenValue) or not value.system or not value.code:
        return None
    return value.system, value.code.casefold()
