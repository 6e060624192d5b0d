"""Chained parameters and `_has` (R4 search.html, 3.1.1.5): conditions on the targets of a resource, and on those that point at it.

A chain is checked on candidates, a batch at a time, each step within the caller's fence. If nothing better drives a
search, a chain does: its inner search runs first, and its results lead to the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import structs

from bulkhead.compartments import membership
from bulkhead.errors import TooCostly
from bulkhead.facts import index_facts
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.fhir.references import canonical_url
from bulkhead.search import embedded, matching
from bulkhead.search.canonicals import Canonicals, Find, names
from bulkhead.search.drivers import Branch, Driver, Keys, Position, Targets, Values
from bulkhead.search.embedded import Embedded
from bulkhead.search.query import Chain, Clause, Query, ReferenceValue
from bulkhead.store.version import Fence, Version, prepare

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

Exists = Callable[[Query], bool]


FEW = 10
"""The limit on resources that are read to see whether a chain leads to only one."""
MOST = 10_000
"""The limit on heads that are read for an inner search whose matches are all needed."""
CONTAINED = canonical_url("#")
"""The value under which the index has canonicals of contained resources."""
RANGES = 50
"""The limit on canonicals that lead a search."""
TYPES = 8
"""The limit on types behind a leading chain that are searched."""


@dataclass(frozen=True)
class Chains:
    """The chains of one search, and the results about the resources behind them."""

    store: ReadStore
    known: membership.Definitions
    fence: Fence
    exists: Exists
    find: Find
    spelt_out: Callable[[Query], Query]
    """Expands the value sets that a query names."""
    seen: dict[tuple[str, str], bool] = field(default_factory=dict)
    """(chain, key) -> whether the resource meets the condition at the chain's end."""
    inner: dict[tuple[str, str], Query] = field(default_factory=dict)
    """(chain, type) -> the search that a resource behind the chain must meet."""
    pointed_at: dict[str, set[str]] = field(default_factory=dict)
    """For a chain through a parameter that no index has: all targets of the matches of its inner search."""

    def kept(self, candidates: Sequence[Version], chains: Iterable[Chain]) -> list[Version]:
        """The candidates that meet all chains, in their order."""
        left = list(candidates)
        for chain in chains:
            if left:
                left = self._backward(left, chain) if chain.links[0].reverse else self._forward(left, chain)
        return left

    @cached_property
    def canonicals(self) -> Canonicals:
        return Canonicals(self.find)

    def _forward(self, candidates: Sequence[Version], chain: Chain) -> list[Version]:
        inner = {one.key: within(one, chain) for one in candidates}
        pointed_at = {one.key: targets(one, chain, self.canonicals) - inner[one.key].keys() for one in candidates}
        self._judge({target for found in pointed_at.values() for target in found}, chain)
        name = chain.name + "=" + chain.value
        return [
            candidate
            for candidate in candidates
            if any(self.seen[name, target] for target in pointed_at[candidate.key])
            or any(
                self._met([one], chain) for one in inner[candidate.key].values() if one.head.type in dict(chain.inner)
            )
        ]

    def _judge(self, keys: set[str], chain: Chain) -> None:
        """Finds out which of `keys` meet the inner search of a forward chain."""
        name = chain.name + "=" + chain.value
        unknown = sorted(key for key in keys if (name, key) not in self.seen)
        if not unknown:
            return
        self.seen.update({(name, key): False for key in unknown})
        by_type: dict[str, list[Version]] = {}
        heads = self.store.read_many(unknown).values()
        candidates = [self.store.version(head) for head in heads if not head.deleted]
        prepare(self.fence, candidates)
        for candidate in filter(self.fence, candidates):
            by_type.setdefault(candidate.head.type, []).append(candidate)
        for found in by_type.values():
            self.seen.update({(name, one.key): True for one in self._met(found, chain)})

    def _met(self, found: Sequence[Version], chain: Chain) -> list[Version]:
        """Those resources of one type that meet the inner search of a forward chain."""
        query = self._inner(chain, found[0].head.type)
        met = [one for one in found if all(matching.matches(one, clause, self.known) for clause in query.clauses)]
        return self.kept(met, query.chains)

    def _inner(self, chain: Chain, resource_type: str) -> Query:
        name = chain.name + "=" + chain.value
        if (name, resource_type) not in self.inner:
            self.inner[name, resource_type] = self._spelt_out(dict(chain.inner)[resource_type])
        return self.inner[name, resource_type]

    def _spelt_out(self, query: Query) -> Query:
        """The query with all value sets expanded, behind its own chains too: once, and not for each candidate."""
        query = self.spelt_out(query)
        chains = tuple(
            structs.replace(chain, inner=tuple((name, self._spelt_out(inner)) for name, inner in chain.inner))
            for chain in query.chains
        )
        return structs.replace(query, chains=chains) if chains else query

    def _backward(self, candidates: Sequence[Version], chain: Chain) -> list[Version]:
        # Nothing outside points at an embedded resource, although there may be a resource with the same key.
        candidates = [candidate for candidate in candidates if not isinstance(candidate, Embedded)]
        name = chain.name + "=" + chain.value
        if not is_indexed(chain):
            known = self._all_pointed_at(chain)
            return [candidate for candidate in candidates if candidate.key in known]
        ((source, _),) = chain.inner
        query = self._inner(chain, source)
        for candidate in candidates:
            if (name, candidate.key) not in self.seen:
                self.seen[name, candidate.key] = self.exists(pointing_at(candidate, chain, query))
        return [candidate for candidate in candidates if self.seen[name, candidate.key]]

    def _all_pointed_at(self, chain: Chain) -> set[str]:
        name = chain.name + "=" + chain.value
        if name not in self.pointed_at:
            ((_, query),) = chain.inner
            found, all_of_them = self.find(query, MOST)
            if not all_of_them:
                raise TooCostly("following _has would read too many resources", expression=chain.name)
            parameter = parameter_of(chain)
            keys = {key for one in found for key in one.through(parameter)}
            keys |= {key for one in found for key in self.canonicals.pointed_at(one, parameter, parameter.targets)}
            self.pointed_at[name] = keys
        return self.pointed_at[name]


def parameter_of(chain: Chain) -> SearchParameter:
    """The parameter of the first link of a checked chain."""
    parameter = chain.links[0].parameter
    assert parameter is not None
    return parameter


def is_indexed(chain: Chain) -> bool:
    """Whether the index has the first link of `_has`; False for a parameter that clients have defined."""
    return chain.links[0].type is not None and index_facts.is_own(chain.links[0].type, parameter_of(chain))


def targets(candidate: Version, chain: Chain, canonicals: Canonicals) -> set[str]:
    """The targets of a candidate by the first step of a forward chain, of the types with which the chain continues."""
    types = [resource_type for resource_type, _ in chain.inner]
    its = matching.own(candidate, parameter_of(chain))
    found = {key for key in candidate.through(its) if key.partition("/")[0] in types}
    return found.union(canonicals.pointed_at(candidate, its, types))


def within(candidate: Version, chain: Chain) -> dict[str, Version]:
    """The embedded resources that a candidate points at by the first step of a forward chain, by the text of the reference."""
    if isinstance(candidate, Embedded) or "contained" in candidate.body or candidate.head.type == "Bundle":
        return embedded.pointed_at(candidate, matching.own(candidate, parameter_of(chain)))
    return {}


def may_be_within(chain: Chain, resource_type: str, store: ReadStore) -> bool:
    """Whether, according to the index, a resource of a type contains one that the first link of a forward chain leads to."""
    code = parameter_of(chain).code
    for name, _ in chain.inner:
        found = store.pointing_at(index_facts.mark(name), resource_type, None, limit=FEW)
        if len(found) == FEW or any(code in one.via for one in found):
            return True
    return False


def pointing_at(candidate: Version, chain: Chain, query: Query) -> Query:
    """The inner search of `_has`, `query`, for the resources that point at one: by its key, or by its url for canonicals."""
    ((source, _),) = chain.inner
    parameter = parameter_of(chain)
    to: tuple[ReferenceValue, ...] = (ReferenceValue(*candidate.key.split("/")),)
    if index_facts.is_canonical(source, parameter):
        to += names(candidate.body)
    return structs.replace(query, clauses=(*query.clauses, Clause(chain.name, parameter, None, to)))


def reference(chain: Chain, resource_type: str, find: Find, *, store: ReadStore) -> Clause | None:
    """A forward chain as a plain reference, if it leads to one resource at most: `patient.identifier=s|v`.

    A reference can lead together with a code. None if the chain leads to several, which could change from page to page, or
    may lead to embedded resources.
    """
    link = chain.links[0]
    if link.reverse or len(chain.inner) > TYPES or not index_facts.is_own(resource_type, parameter_of(chain)):
        return None
    behind: list[Version] = []
    for _, query in chain.inner:
        found, all_of_them = find(query, FEW)
        behind += found
        if not all_of_them or len(behind) > 1:
            return None
    if may_be_within(chain, resource_type, store):
        return None
    values = tuple(ReferenceValue(*one.key.split("/")) for one in behind)
    if index_facts.is_canonical(resource_type, parameter_of(chain)):
        values += tuple(value for one in behind for value in names(one.body))
    return Clause(chain.name, parameter_of(chain), None, values)


def driver(chain: Chain, resource_type: str | None, find: Find, *, limit: int) -> Driver | None:
    """A driver that finds the matches of a search by one of its chains; None if the inner search reads too much.

    Without a type, only `_has` can lead, to resources of any type.
    """
    link, parameter = chain.links[0], parameter_of(chain)
    if len(chain.inner) > TYPES:
        return None
    if not link.reverse and (resource_type is None or not index_facts.is_own(resource_type, parameter)):
        return None
    behind: list[Version] = []
    for _, query in chain.inner:
        found, all_of_them = find(query, limit)
        if not all_of_them:
            return None
        behind += found
    if link.reverse:
        canonicals = Canonicals(find)
        keys = {key for one in behind for key in one.through(parameter)}
        types = (resource_type,) if resource_type else parameter.targets
        try:
            keys |= {key for one in behind for key in canonicals.pointed_at(one, parameter, types)}
        except TooCostly:
            return None
        return Keys(tuple(sorted(key for key in keys if resource_type in (None, key.partition("/")[0]))))
    assert resource_type is not None
    if index_facts.is_canonical(resource_type, parameter):
        return by_canonicals(behind, resource_type, parameter)
    marks = {index_facts.mark(name) for name, _ in chain.inner}
    return Targets(tuple(sorted(marks | {one.key for one in behind})), resource_type, link.code)


def has_led(begun: Position, other: Driver) -> bool:
    """Whether a chain led the pages before, to judge by the position where they ended, and not the `other` driver of the search.

    Resources by type and id are in one order, whoever gives them: then the other one may go on.
    """
    if isinstance(begun, str):
        return other.shape is not str
    if not isinstance(begun, list) or len(begun) != 2 or not isinstance(begun[0], str):
        return False
    # Of `Targets`: a resource, or the mark of embedded ones. No care date is like these.
    return "/" in begun[0] or begun[0].startswith("#")


def is_confusable(driver: Driver, other: Driver) -> bool:
    """Whether nobody could tell by a position which of two drivers gave it: where canonicals lead, against other values."""
    return isinstance(driver, (Values, Targets)) and isinstance(other, type(driver))


def by_canonicals(behind: Sequence[Version], resource_type: str, parameter: SearchParameter) -> Driver | None:
    """The ranges of the canonicals that lead to some resources; None if there are too many."""
    texts = {text for one in behind for text in (one.key, one.body.get("url")) if text}
    if len(texts) > RANGES:
        return None
    return Values(resource_type, tuple(Branch(parameter.code, text) for text in sorted(texts | {CONTAINED})))
