"""Chained parameters and `_has` (R4 search.html, 3.1.1.5): conditions on what a resource points at, and on what points at it.

A chain is checked on candidates, a batch at a time, each step behind the caller's fence. Where nothing better drives a
search, a chain does: its inner search is run first, and what it finds leads to the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from bulkhead import compartments
from bulkhead.definitions import search_parameters
from bulkhead.search import matching
from bulkhead.search.candidate import Candidate, Fence
from bulkhead.search.drivers import Driver, Keys, Targets
from bulkhead.search.query import Chain, Clause, Query, ReferenceValue

if TYPE_CHECKING:
    from bulkhead.store import Store

Find = Callable[[Query, int], tuple[list[Candidate], bool]]
"""(query, how many heads it may read) -> its matches, and whether these are all."""
Exists = Callable[[Query], bool]


FEW = 10
"""The most resources that are read to see whether a chain leads to but one."""
TYPES = 8
"""The most types behind a chain that are searched so that it leads."""


@dataclass(frozen=True)
class Chains:
    """The chains of one search, and what is known of the resources that they lead to."""

    store: Store
    known: compartments.Definitions
    fence: Fence
    exists: Exists
    spelt_out: Callable[[Query], Query]
    """A query with the codes of the value sets that it names."""
    seen: dict[tuple[str, str], bool] = field(default_factory=dict)
    """(chain, key) -> whether the resource meets what stands at the chain's far end."""

    def kept(self, candidates: Sequence[Candidate], chains: Iterable[Chain]) -> list[Candidate]:
        """The candidates that meet all chains, in their order."""
        left = list(candidates)
        for chain in chains:
            if left:
                left = self._backward(left, chain) if chain.links[0].reverse else self._forward(left, chain)
        return left

    def _forward(self, candidates: Sequence[Candidate], chain: Chain) -> list[Candidate]:
        pointed_at = {candidate.key: targets(candidate, chain) for candidate in candidates}
        self._judge({target for found in pointed_at.values() for target in found}, chain)
        return [
            candidate
            for candidate in candidates
            if any(self.seen[chain.name + "=" + chain.value, target] for target in pointed_at[candidate.key])
        ]

    def _judge(self, keys: set[str], chain: Chain) -> None:
        """Find out which of `keys` meet the inner search of a forward chain."""
        name = chain.name + "=" + chain.value
        unknown = sorted(key for key in keys if (name, key) not in self.seen)
        if not unknown:
            return
        self.seen.update({(name, key): False for key in unknown})
        by_type: dict[str, list[Candidate]] = {}
        for head in self.store.read_many(unknown).values():
            candidate = Candidate(head, self.store.decode)
            if not head.deleted and self.fence(candidate):
                by_type.setdefault(head.type, []).append(candidate)
        inner = {name: self.spelt_out(query) for name, query in chain.inner}
        for resource_type, found in by_type.items():
            query = inner[resource_type]
            met = [one for one in found if all(matching.matches(one, clause, self.known) for clause in query.clauses)]
            self.seen.update({(name, one.key): True for one in self.kept(met, query.chains)})

    def _backward(self, candidates: Sequence[Candidate], chain: Chain) -> list[Candidate]:
        name = chain.name + "=" + chain.value
        for candidate in candidates:
            if (name, candidate.key) not in self.seen:
                self.seen[name, candidate.key] = self.exists(pointing_at(candidate.key, chain))
        return [candidate for candidate in candidates if self.seen[name, candidate.key]]


def targets(candidate: Candidate, chain: Chain) -> list[str]:
    """What a candidate points at by the first step of a forward chain, of the types that the chain goes on with."""
    types = {resource_type for resource_type, _ in chain.inner}
    code = chain.links[0].code
    return [key for key, via in candidate.targets.items() if code in via and key.partition("/")[0] in types]


def pointing_at(key: str, chain: Chain) -> Query:
    """The inner search of `_has`, of what points at one resource."""
    ((source, query),) = chain.inner
    parameter = search_parameters(source)[chain.links[0].code]
    to = Clause(chain.name, parameter, None, (ReferenceValue(*key.split("/")),))
    return structs.replace(query, clauses=(*query.clauses, to))


def reference(chain: Chain, resource_type: str, find: Find) -> Clause | None:
    """A forward chain as a plain reference, where it leads to one resource at most: `patient.identifier=s|v`.

    It may then lead together with a code. Not where it leads to more: these may be others on the next page.
    """
    link = chain.links[0]
    if link.reverse or len(chain.inner) > TYPES:
        return None
    keys: list[str] = []
    for _, query in chain.inner:
        found, all_of_them = find(query, FEW)
        keys += [one.key for one in found]
        if not all_of_them or len(keys) > 1:
            return None
    values = tuple(ReferenceValue(*key.split("/")) for key in keys)
    return Clause(chain.name, search_parameters(resource_type)[link.code], None, values)


def driver(chain: Chain, resource_type: str, find: Find, limit: int) -> Driver | None:
    """What leads to the matches of a search by one of its chains; None where the inner search reads too much."""
    keys: set[str] = set()
    if len(chain.inner) > TYPES:
        return None
    link = chain.links[0]
    for _, query in chain.inner:
        found, all_of_them = find(query, limit)
        if not all_of_them:
            return None
        if link.reverse:
            pointed_at = (one.targets.items() for one in found)
            keys |= {key for pairs in pointed_at for key, via in pairs if link.code in via}
        else:
            keys |= {one.key for one in found}
    if link.reverse:
        return Keys(tuple(sorted(key for key in keys if key.startswith(f"{resource_type}/"))))
    return Targets(tuple(sorted(keys)), resource_type, link.code)
