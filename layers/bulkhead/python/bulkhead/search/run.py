"""Runs a plan: hints in batches -> heads -> fence -> exact filter -> order -> page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from msgspec import structs

from bulkhead.compartments import governing, membership, patient_links
from bulkhead.compartments.compartment_definitions import TYPE as DEFINITIONS
from bulkhead.errors import Issue, TooCostly
from bulkhead.fhir import references
from bulkhead.search import (
    bundle,
    chains,
    counting,
    current_lists,
    cursor,
    hierarchy,
    includes,
    lists,
    literals,
    serving,
    sorting,
    subsumption,
    value_sets,
    widening,
)
from bulkhead.search.canonicals import Canonicals
from bulkhead.search.date_order import DateOrder
from bulkhead.search.drivers import Created, Position, Updated
from bulkhead.search.leading import by_names, chained, led_by_fence, planned
from bulkhead.search.page import Consulted, Page, Represent
from bulkhead.search.parse import parse
from bulkhead.search.plan import ALL_TYPES, Plan
from bulkhead.search.query import Query
from bulkhead.search.race import Races
from bulkhead.search.scan import LISTED, Progress, Scan
from bulkhead.store.heads import PAGE_WEIGHT
from bulkhead.store.version import Fence, Version, is_open

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

Clock = Callable[[], float]
"""Seconds since an arbitrary moment."""

LOOKED_AT = 1_000
"""The limit on definitions, or parts of one resource, that are read to expand a search."""
KEPT = 2_000
"""How many resources are kept while they are sorted; beyond that, only their sort keys."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may read, in heads."""

    page: int = 5_000
    """After this many the page ends with a next link, even if it is not full; without a match it continues for `seconds`."""
    seconds: float = 10
    """How long a page searches for its first match."""
    gathered: int = 50_000
    """The limit on reads to sort matches that no index has in order."""
    names: int = 1_000_000
    """The limit on keys that are listed to sort by `_id` or `_lastUpdated`, or to count all resources of a type."""
    included: int = 1_000
    """The limit on resources that a page includes."""
    counted: int = 100_000
    """The limit on reads to count matches."""
    inner: int = 2_000
    """The limit on reads for the inner search of a chain that leads the outer one."""


def search(
    store: ReadStore,
    query: Query,
    *,
    base: str,
    represent: Represent,
    fence: Fence,
    consulted: Consulted,
    limits: Limits = Limits(),
    explain: Callable[[Plan], None] = lambda chosen: None,
    clock: Clock = monotonic,
    notes: Sequence[Issue] = (),
) -> dict[str, Any]:
    """The searchset Bundle of a query, as plain JSON data.

    `base` is the server's base URL for links and fullUrls. The Bundle does not show, include or count what `fence` refuses. If the
    fence can list what it lets through (`ListedFence`), the cost follows that. `clock` gives seconds.
    `notes` are added to those of the page. `explain` is called with the plan, `consulted` with each List whose entries the answer tells
    of because of `_list`. BadRequest for a cursor of another search,
    NotSupported for a search that has no plan (see `plan.plan`), TooCostly where counting or sorting would read too much.
    """
    query, page = _answered(store, query, fence, limits=limits, explain=explain, clock=clock, consulted=consulted)
    return bundle.searchset(query, replace(page, notes=(*notes, *page.notes)), base, represent=represent)


def pages(store: ReadStore, query: Query, fence: Fence, *, limits: Limits, consulted: Consulted) -> Iterator[Page]:
    """The pages of a query, each read as it is taken: for operations that make an answer of their own. `consulted` and errors as of `search`."""
    following: Position | None = None
    begun = False
    while not begun or following is not None:
        begun = True
        asked, page = _answered(
            store, query, fence, limits=limits, explain=lambda chosen: None, clock=monotonic, consulted=consulted
        )
        yield page
        following = page.next
        if following is not None:
            # It says for which Patients the first page has answered.
            text = cursor.encode(following, page.total, asked)
            query = structs.replace(query, results=structs.replace(query.results, cursor=text))


def _answered(
    store: ReadStore,
    query: Query,
    fence: Fence,
    *,
    limits: Limits,
    explain: Callable[[Plan], None],
    clock: Clock,
    consulted: Consulted,
) -> tuple[Query, Page]:
    """The query as it was run, and the page that it asks for."""
    query = spelt_out(store, with_lists(store, query, fence, consulted=consulted), fence)
    known = membership.in_force(store)
    definition = known.get(query.compartment.partition("/")[0]) if query.compartment else None

    def answered(query: Query, named: widening.Named) -> tuple[Query, Page]:
        chosen, races = planned(store, query, definition), Races(store, fence)
        scanner = Scanner(store, query, chosen, known, fence, races, limits, named=named, clock=clock)
        scanner = by_names(led_by_fence(chained(scanner)))
        explain(scanner.plan)
        return query, asked_page(scanner)

    if query.results.cursor is not None:
        return answered(widening.widened(query, cursor.replaced(query.results.cursor)), widening.Named())
    try:
        return answered(query, widening.Named(widening.named(query)))
    except widening.Replacing as found:
        others = patient_links.followed(store, found.patients, fence)
    return answered(widening.widened(query, others), widening.Named())


def asked_page(scanner: Scanner) -> Page:
    """The result of a query: a page with its included resources, or only the number of matches."""
    results = scanner.query.results
    if results.count_only:
        return Page((), None, scanner.count())
    page = scanner.page() if scanner.plan.ordered else scanner.sorted_page()
    canonicals, limit = Canonicals(scanner.found), scanner.limits.included
    brought = includes.Includes(scanner.store, scanner.fence, scanner.races, canonicals, limit)
    included = brought.bring(results, page.matches)
    notes = (*page.notes, cut_off(limit)) if brought.cut_off else page.notes
    return replace(page, included=included, notes=notes)


def find(store: ReadStore, query: Query, limit: int, *, fence: Fence) -> list[Version]:
    """Up to `limit` matches, in any order: for conditional interactions, which refuse two matches.

    TooCostly if so many candidates were read that there may be more matches.
    """
    known = membership.in_force(store)
    query = spelt_out(store, query, fence)
    chosen, races = planned(store, query, None), Races(store, fence)
    scanner = led_by_fence(chained(Scanner(store, query, chosen, known, fence, races, Limits())))
    progress = Progress(scanner.limits.counted)
    found: list[Version] = []
    for candidate, _, _ in scanner.scan(None, limit + 1, progress, in_order=False):
        found.append(candidate)
        if len(found) == limit:
            return found
    if not progress.ended:
        raise too_costly("finding the resources that meet the condition")
    return found


def spelt_out(store: ReadStore, query: Query, fence: Fence) -> Query:
    """The query with its value sets and hierarchies expanded, as the caller may see them."""

    def look(resource_type: str, parameter: str, value: str) -> list[dict[str, Any]]:
        if resource_type in governing.TYPES:
            return [
                one.body
                for one in serving.serving(
                    store, fence, find, resource_type=resource_type, parameter=parameter, value=value
                )
            ]
        wanted = parse([(parameter, literals.escape(value))], resource_type)
        return [found.body for found in find(store, wanted, LOOKED_AT, fence=fence)]

    for spell in (value_sets.resolved, subsumption.resolved, hierarchy.resolved):
        query = spell(query, look)
    return query


def with_lists(store: ReadStore, query: Query, fence: Fence, *, consulted: Consulted) -> Query:
    """The query with what `_list` names, as the caller may see it. `consulted` is called with each List that is read for that."""

    def read(found: Version | None) -> dict[str, Any] | None:
        if found is None:
            return None
        consulted(found)
        return found.body

    def stored(name: str) -> dict[str, Any] | None:
        key = references.local(f"List/{name}")
        head = store.read(key) if key else None
        version = store.version(head) if head is not None and not head.deleted else None
        return read(version if version is not None and fence(version) else None)

    def current(patient: str, name: str) -> dict[str, Any] | None:
        return read(current_lists.current(store, fence, find, patient=patient, name=name))

    return lists.resolved(query, stored, current)


@dataclass(frozen=True)
class Scanner(Scan):
    """One search over one store for one caller: makes its pages and counts."""

    limits: Limits
    clock: Clock = field(default=monotonic, kw_only=True)

    def page(self) -> Page:
        """The page at the query's cursor, in the driver's order.

        A page without a match continues until it has one, the driver ends, or the time is spent.
        """
        after, total = self.start(self.plan.driver.shape)
        progress, begun = Progress(self.limits.page, after), self.clock()
        matches, following = self.filled(progress)
        while not matches and not progress.ended and self.clock() - begun < self.limits.seconds:
            progress.limit = progress.read + self.limits.page
            matches, following = self.filled(progress)
        if total is None and self.query.results.cursor is None:
            total = len(matches) if following is None else self.wanted_total()
        notes = () if matches or progress.ended else (timed_out(self.limits.seconds),)
        return Page(matches, following, total, notes=notes)

    def filled(self, progress: Progress) -> tuple[list[Version], Position | None]:
        """Matches for one page from the position of the scan, and the position where the next page begins."""
        count = self.query.results.count
        matches: list[Version] = []
        following: Position | None = None
        weight = 0
        for candidate, position, more in self.scan(progress.position, count, progress, in_order=True):
            if len(matches) == count:
                return matches, following
            matches.append(candidate)
            following = position
            weight += candidate.head.weight
            if weight > PAGE_WEIGHT or (len(matches) == count and not (self.plan.filtered and more)):
                return matches, position if more else None
        return matches, None if progress.ended else progress.position

    def sorted_page(self) -> Page:
        """The page at the query's cursor, from all matches, sorted. If there are many, only their sort keys are kept."""
        sorts, results = self.query.results.sort, self.query.results
        progress = Progress(self.limits.gathered)
        kept: dict[str, Version] = {}
        left: list[sorting.Key] = []
        for candidate, _, _ in self.scan(None, LISTED, progress, in_order=False):
            left.append(sorting.key(candidate, sorts, self.known))
            if len(kept) < KEPT:
                kept[candidate.key] = candidate
        if not progress.ended:
            raise too_many_to_sort(self.limits.gathered)
        number = len(left)
        after, _ = self.start(tuple[str, int])
        if after is not None:
            # The cursor names the last version of the page before, so that no value of a patient is in a link.
            last = self.store.read_version(*after)
            # The caller must not compare a version that it may not see with visible ones.
            if last is None or not self.visible(last):
                raise cursor.refused()
            left = sorting.after(left, sorting.key(self.store.version(last), sorts, self.known), sorts)
        keys = [key for _, key in sorting.ordered(left, sorts)[: results.count]]
        missing = [key for key in keys if key not in kept]
        heads = self.store.read_many(missing) if missing else {}
        self.prepare(heads.values())
        kept |= {key: one for key in missing if (one := self.admitted(heads.get(key)))}
        shown = [kept[key] for key in keys if key in kept]
        following = [shown[-1].key, shown[-1].head.version] if shown and len(left) > results.count else None
        return Page(shown, following, None if results.total == "none" else number)

    def names(self) -> set[str]:
        """All keys that the driver lists, or, if that is shorter, all that the caller may see. It reads no head."""
        race = self.races.listing(self.query.types)
        keys: set[str] = set()
        after: Position | None = None
        for entries in range(LISTED, self.limits.names + 1, LISTED):
            listing = self.plan.driver.list(self.store, after, LISTED)
            keys.update(hint.key for hint in listing.hints)
            after = listing.next
            if after is None:
                return keys
            if race and race.complete and race.read_to(entries):
                return race.keys
        raise too_many_to_sort(self.limits.names)

    def found(self, query: Query, limit: int) -> tuple[list[Version], bool]:
        """Matches of an inner search for the same caller, and whether they are all: see `chains.Find`."""
        progress = Progress(limit)
        query = spelt_out(self.store, query, self.fence)
        scanner = chained(replace(self, query=query, plan=planned(self.store, query, None)))
        return [candidate for candidate, _, _ in scanner.scan(None, LISTED, progress, in_order=False)], progress.ended

    def indexed(self, query: Query, limit: int) -> tuple[list[Version], bool]:
        """Like `found`, but reads nothing if no index leads to the matches."""
        if query.chains or isinstance(planned(self.store, query, None).driver, (Created, Updated)):
            return [], False
        return self.found(query, limit)

    def exists(self, query: Query) -> bool:
        """Whether an inner search has a match. TooCostly if too much had to be read."""
        progress = Progress(self.limits.gathered)
        query = spelt_out(self.store, query, self.fence)
        scanner = chained(replace(self, query=query, plan=planned(self.store, query, None)))
        if next(scanner.scan(None, 1, progress, in_order=False), None) is not None:
            return True
        if not progress.ended:
            raise too_costly("following _has")
        return False

    def spelt_out(self, query: Query) -> Query:
        return spelt_out(self.store, query, self.fence)

    @cached_property
    def chains(self) -> chains.Chains:
        """The chains of this search, with what is known about their targets."""
        return chains.Chains(self.store, self.known, self.fence, self.exists, self.found, self.spelt_out)

    def start(self, shape: Any) -> tuple[Position | None, int | None]:
        """The position and the total in the query's cursor."""
        text = self.query.results.cursor
        if text is None:
            return None, None
        found = cursor.decode(text, self.query, shape)
        return found.position, found.total

    def wanted_total(self) -> int | None:
        """The number of all matches, if the client asked for it; None where an estimate would take too much."""
        match self.query.results.total:
            case "accurate":
                return self.count()
            case "estimate":
                try:
                    return len(self.names()) if self.is_listed else self.count()
                except TooCostly:
                    return None
        return None

    @property
    def is_listed(self) -> bool:
        """Whether the driver's keys are those of the matches, but for entries that writers have left behind: none is outside of the fence or filtered."""
        types = self.query.types or ALL_TYPES
        return not self.plan.filtered and DEFINITIONS not in types and all(is_open(self.fence, name) for name in types)

    def unordered(self) -> Scanner:
        """The same search in any order: what is led by an order of dates meets what has none only after all others."""
        if not isinstance(self.plan.driver, DateOrder) or self.plan.driver.bounded:
            return self
        return self.unsorted()

    def unsorted(self) -> Scanner:
        """The same search without an order."""
        query = structs.replace(self.query, results=structs.replace(self.query.results, sort=(), cursor=None))
        chosen = planned(self.store, query, self.plan.membership)
        return led_by_fence(replace(self, query=query, plan=chosen))

    def count(self) -> int:
        """The exact number of all matches; TooCostly if too much had to be read."""
        results, limits = self.query.results, self.limits
        refusal = too_costly("counting", "_total" if results.total else "_summary")
        total = counting.from_keys(self, self.unsorted, keys=limits.names, heads=limits.counted, refusal=refusal)
        if total is not None:
            return total
        progress, counted = Progress(limits.counted), self.unordered()
        total = sum(1 for _ in counted.scan(None, LISTED, progress, in_order=False))
        if not progress.ended:
            raise refusal
        return total


def cut_off(limit: int) -> Issue:
    text = f"this page includes more than {limit} resources and shows the first: ask for fewer matches with _count, or for one type"
    return Issue("too-costly", text, expression="_count", severity="warning")


def timed_out(seconds: float) -> Issue:
    text = f"the search found no match within {seconds:g} seconds: follow the next link to continue, or narrow it with more parameters"
    return Issue("timeout", text, severity="warning")


def too_many_to_sort(limit: int) -> TooCostly:
    return TooCostly(
        f"a search can sort up to {limit} resources by this: narrow it with more parameters, or sort all of a type by one date",
        expression="_sort",
    )


def too_costly(doing: str, expression: str | None = None) -> TooCostly:
    return TooCostly(
        f"{doing} would read too many resources: narrow the search with more parameters", expression=expression
    )
