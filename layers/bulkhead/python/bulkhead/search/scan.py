"""Turns the hints of a driver into the matches of a search: heads in batches, then the fence, then every condition.

Under a fence the driver races against the fence's own listing (see `race`). If that listing ends first:
- matches in any order come from the listing;
- a driver in order of type and id is replaced by the listing, which has the same order;
- for any other driver, hints outside of the listing are skipped without reading their heads; if even these are many, the
    resources of the listing are put at the places where the driver would give them.
So an order and a position mean the same, whichever leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, cmp_to_key
from typing import TYPE_CHECKING

from bulkhead.compartments import membership, patient_links
from bulkhead.facts.security_context import BINARY
from bulkhead.search import chains, matching, places, widening
from bulkhead.search.dated import Gathered
from bulkhead.search.drivers import Driver, Hint, Keys, Merged, Position
from bulkhead.search.plan import Plan
from bulkhead.search.query import Query
from bulkhead.search.race import ENTRIES_PER_HEAD, FenceListing, Races
from bulkhead.store.version import Fence, Version, prepare

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore

BATCH = 100
"""Keys of one BatchGetItem: the limit of the first read if candidates are filtered; later reads double it."""
LISTED = 1000
"""The limit on hints of one listing."""
SEARCHED = 10
"""The cost of checking one resource for `_has`, in heads read."""

COMPARED = 50
"""So many values that a resource is compared with one by one cost about as much as its head."""

BY_KEY = (Merged, Keys, Gathered)
"""Drivers that give resources by type and id."""

Found = tuple[Version, Position, bool]
"""A match, its position, and whether hints follow."""


@dataclass(slots=True)
class Progress:
    """The progress of a scan: heads read, and the position after the last of them (None at the very end)."""

    limit: int
    position: Position | None = None
    read: int = 0
    ended: bool = False
    passed_over: int = 0
    """The number of hints outside the fence's listing, whose heads were not read."""

    @property
    def spent(self) -> bool:
        return self.read >= self.limit


@dataclass(frozen=True)
class Scan:
    """One search over one store for one caller: reads its matches."""

    store: ReadStore
    query: Query
    plan: Plan
    known: membership.Definitions
    fence: Fence
    races: Races
    named: widening.Named = field(default_factory=widening.Named, kw_only=True)

    @property
    def chains(self) -> chains.Chains:
        raise NotImplementedError

    @cached_property
    def weight(self) -> int:
        """The cost of checking one resource, in heads read: that of reading it, and of many values to compare with."""
        return 1 + sum(clause.one_by_one for clause in self.plan.clauses) // COMPARED

    def scan(self, after: Position | None, wanted: int, progress: Progress, *, in_order: bool) -> Iterator[Found]:
        """Matches after a position.

        Ends when the driver does (`progress.ended`) or when the limit is reached; `progress.position` is then the place to
        continue. With `in_order` False, the order may be any, and positions mean nothing.
        """
        given: set[str] = set()
        for found in self._followed(self.plan.driver, after, wanted, progress=progress, in_order=in_order):
            given.add(found[0].key)
            yield found
        race = None if progress.ended or progress.spent else self._race()
        if race is None:
            return
        if not in_order:
            yield from self._followed(Keys(tuple(race.keys - given)), None, LISTED, progress=progress, in_order=False)
        elif isinstance(self.plan.driver, BY_KEY):
            descending = isinstance(self.plan.driver, Keys) and self.plan.driver.descending
            listed = Keys(tuple(race.keys), descending)
            yield from self._followed(listed, progress.position, wanted, progress=progress, in_order=True)
        else:
            yield from self._placed(race, progress)

    def _race(self) -> FenceListing | None:
        """The fence's listing, once it has ended. It is read as far as the hidden heads pay for."""
        return self.races.won(self.query.types)

    def _leaves(self, driver: Driver, progress: Progress, *, in_order: bool) -> bool:
        """Whether the fence's listing has ended, and replaces the driver."""
        race = self._race() if driver is self.plan.driver else None
        if race is None or not race.complete:
            return False
        if not in_order or isinstance(driver, BY_KEY):
            return True
        return places.has_places(driver) and progress.passed_over > ENTRIES_PER_HEAD * len(race.keys)

    def _placed(self, race: FenceListing, progress: Progress) -> Iterator[Found]:
        """The matches of the fence's listing, at the places where the driver would give them, after `progress.position`."""
        driver, after = self.plan.driver, progress.position
        matches: list[tuple[Position, Version]] = []
        keys = sorted(race.keys)
        for start in range(0, len(keys), LISTED):
            heads = self.store.read_many(keys[start : start + LISTED])
            self.prepare(heads.values())
            admitted = self._checked([self.admitted(heads.get(key)) for key in keys[start : start + LISTED]], progress)
            progress.read += len(heads)
            for candidate in admitted:
                place = places.place(driver, self.store, candidate) if candidate else None
                if candidate and place is not None and (after is None or places.compare(driver, place, after) > 0):
                    matches.append((place, candidate))
        in_its_order = cmp_to_key(lambda one, other: places.compare(driver, one, other))
        matches.sort(key=lambda match: in_its_order(match[0]))
        for number, (place, candidate) in enumerate(matches, 1):
            progress.position = place
            yield candidate, place, number < len(matches)
        progress.ended = True

    def _followed(
        self, driver: Driver, after: Position | None, wanted: int, *, progress: Progress, in_order: bool
    ) -> Iterator[Found]:
        """Matches in the order of one driver, until it ends, the limit is reached, or the fence's listing replaces it."""
        filtered = self.plan.filtered
        ask = min(wanted + 1, LISTED) if not filtered else min(max(wanted + 1, 2 * BATCH), LISTED)
        unchecked, named = self.query.compartment, self.named.take()
        room = max(BATCH - len({unchecked, *named} - {None}), 1)
        take = max(min(wanted, LISTED), 1) if not filtered else min(wanted + 1, room)
        if self.races.known:
            # If other tenants' matches may come first, one batch shows it.
            take = min(take, BATCH)
        while True:
            listing = driver.list(self.store, after, ask)
            hints = self._unhidden(listing.hints, progress)
            if named and not hints:
                named = self.looked_at(named, self.store.read_many(named))
            at = 0
            while at < len(hints):
                chunk = hints[at : at + min(take, max((progress.limit - progress.read) // self.weight, 1))]
                at += len(chunk)
                besides = dict.fromkeys((*named, *([unchecked] if unchecked else [])))
                heads = self.store.read_many([*(hint.key for hint in chunk), *besides])
                if unchecked and not self.visible(heads.get(unchecked)):
                    progress.ended = True
                    return
                unchecked, named = None, self.looked_at(named, heads)
                self.prepare(heads[hint.key] for hint in chunk if hint.key in heads)
                admitted = [self._accepted(driver, hint, heads.get(hint.key), progress=progress) for hint in chunk]
                admitted = self._checked(admitted, progress)
                for number, (hint, candidate) in enumerate(zip(chunk, admitted, strict=True), at - len(chunk) + 1):
                    progress.position = hint.position
                    if candidate:
                        yield candidate, hint.position, number < len(hints) or listing.next is not None
                if progress.spent:
                    progress.ended = at >= len(hints) and listing.next is None
                    return
                take = min(take * 2, LISTED)
                if self._leaves(driver, progress, in_order=in_order):
                    return
                hints, at = self._unhidden(hints[at:], progress), 0
            if listing.next is None:
                progress.ended = True
                return
            after = progress.position = listing.next
            # Entries that were listed without use cost something too: about a tenth of a head each.
            progress.read += max(ask - len(listing.hints), 0) // 10
            if progress.spent or self._leaves(driver, progress, in_order=in_order):
                return
            ask = min(ask * 2, LISTED)

    def _unhidden(self, hints: Sequence[Hint], progress: Progress) -> Sequence[Hint]:
        """The hints that the caller may see, as far as the fence's listing tells."""
        race = self._race() if hints else None
        if race is None:
            return hints
        left = [hint for hint in hints if race.may_hold(hint.key)]
        progress.passed_over += len(hints) - len(left)
        return left

    def _checked(self, admitted: list[Version | None], progress: Progress) -> list[Version | None]:
        """The candidates, with None in place of those that do not meet every chain."""
        left = [candidate for candidate in admitted if candidate]
        if not self.query.chains or not left:
            return admitted
        progress.read += len(left) * sum(chain.links[0].reverse for chain in self.query.chains) * SEARCHED
        kept = {candidate.key for candidate in self.chains.kept(left, self.query.chains)}
        return [candidate if candidate and candidate.key in kept else None for candidate in admitted]

    def looked_at(self, named: Sequence[str], heads: Mapping[str, Head]) -> tuple[str, ...]:
        """() once it is known that none of the Patients `named` replaces another; raises Replacing if one does."""
        patients = [self.store.version(heads[key]) for key in named if self.visible(heads.get(key))]
        replacing = [one for one in patients if patient_links.linked(one.body, patient_links.REPLACES)]
        if replacing:
            raise widening.Replacing(replacing)
        return ()

    def prepare(self, heads: Iterable[Head]) -> None:
        """Let the fence read at once what it takes to decide about these."""
        prepare(self.fence, [self.store.version(head) for head in heads if head.type == BINARY and not head.deleted])

    def visible(self, head: Head | None) -> bool:
        """Whether a resource exists and the caller may see it."""
        return head is not None and not head.deleted and self.fence(self.store.version(head))

    def _accepted(self, driver: Driver, hint: Hint, head: Head | None, *, progress: Progress) -> Version | None:
        """The hint's resource, if it is a match and the driver gives it here. Counts reads."""
        if head is None or head.deleted:
            progress.read += 1
            return None
        candidate = self.store.version(head)
        if not self.fence(candidate):
            # The race bounds the reads of hidden heads: no limit may depend on them.
            progress.read += not self.races.count_hidden(self.query.types)
            return None
        progress.read += self.weight
        return candidate if self.matches(candidate) and driver.accepts(self.store, hint, candidate) else None

    def admitted(self, head: Head | None) -> Version | None:
        """A resource, if it exists, the caller may see it, and it meets every condition except the chains."""
        if head is None or head.deleted:
            return None
        candidate = self.store.version(head)
        return candidate if self.fence(candidate) and self.matches(candidate) else None

    def matches(self, candidate: Version) -> bool:
        """Whether a visible resource meets every condition except the chains."""
        return self.is_member(candidate) and all(
            matching.matches(candidate, clause, self.known) for clause in self.plan.clauses
        )

    def is_member(self, candidate: Version) -> bool:
        its = self.plan.membership
        if its is None or self.query.compartment is None:
            return True
        return any(membership.is_member(its, one, candidate) for one in self.query.compartments)
