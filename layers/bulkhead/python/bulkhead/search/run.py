"""Running a plan: hints in batches -> heads -> fence -> exact filter -> order -> page. The only part that reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import structs

from bulkhead import compartments, governing, replaced
from bulkhead.errors import TooCostly
from bulkhead.search import (
    bundle,
    chains,
    cursor,
    includes,
    lists,
    literals,
    matching,
    parts,
    serving,
    sorting,
    subsumption,
    value_sets,
    widening,
)
from bulkhead.search.candidate import Candidate, Fence
from bulkhead.search.canonicals import Canonicals
from bulkhead.search.drivers import Account, Created, Driver, Each, Hint, KeyStream, Merged, Position, Updated
from bulkhead.search.parse import parse
from bulkhead.search.plan import UNION, Plan, listings, plan
from bulkhead.search.query import Query
from bulkhead.trail import AUDIT_EVENT

if TYPE_CHECKING:
    from bulkhead.store import Head, Store

Within = Callable[[], Sequence[tuple[str, str]] | None]
"""(`_account` or `_compartment`, its value): listings of which one holds whatever the caller may see; None where nobody knows."""
Represent = Callable[["Head", dict[str, Any]], dict[str, Any]]
"""(head, stored body) -> the resource as a client sees it; must not change the body."""

BATCH = 100
"""Keys of one BatchGetItem: the most that is read at first where candidates are filtered; doubled from there."""
LISTED = 1000
"""The most hints of one listing."""
LOOKED_AT = 1_000
"""The most definitions, or parts of one resource, that are looked at to spell out a search."""
SEARCHED = 10
"""What it costs to check one resource for `_has`, in heads read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may read, in heads."""

    page: int = 5_000
    """After so many the page ends, with a next link, even if it is not full."""
    gathered: int = 10_000
    """The most that are read to sort matches that no index has in order."""
    counted: int = 100_000
    """The most that are read to count matches."""
    inner: int = 2_000
    """The most that are read of the inner search of a chain, to be led by what it finds."""


@dataclass(frozen=True, slots=True)
class Page:
    """Matches of one page. `next` is None at the end; `total` is given only where it is exact."""

    matches: Sequence[Candidate]
    next: Position | None = None
    total: int | None = None
    included: Sequence[Candidate] = ()


@dataclass(slots=True)
class Progress:
    """How far a scan has come: heads read, and the position after the last of them (None at the very end)."""

    limit: int
    position: Position | None = None
    read: int = 0
    ended: bool = False

    @property
    def spent(self) -> bool:
        return self.read >= self.limit


def search(
    store: Store,
    query: Query,
    *,
    base: str,
    represent: Represent,
    fence: Fence,
    within: Within = lambda: None,
    limits: Limits = Limits(),
    explain: Callable[[Plan], None] = lambda chosen: None,
) -> dict[str, Any]:
    """The searchset Bundle of a query, as plain JSON data.

    `base` is the server's base URL for links and fullUrls. Nothing that `fence` refuses is shown, included or counted. `within`
    names listings that hold all that it lets through: see `bounded`.
    `explain` is told how the search is run. BadRequest for a cursor that is not this search's, NotSupported for what is not
    answered (see `plan.plan`), TooCostly where counting or sorting would read too much.
    """
    query = spelt_out(store, query, fence)
    known = compartments.in_force(store)
    definition = known.get(query.compartment.partition("/")[0]) if query.compartment else None

    def answered(query: Query, named: widening.Named) -> dict[str, Any]:
        scanner = bounded(chained(Scanner(store, query, plan(query, definition), known, fence, limits, named)), within)
        explain(scanner.plan)
        return bundle.searchset(query, asked_page(scanner), base, represent)

    if query.results.cursor is not None:
        return answered(widening.widened(query, cursor.replaced(query.results.cursor)), widening.Named())
    try:
        return answered(query, widening.Named(widening.named(query)))
    except widening.Replacing as found:
        others = replaced.followed(store, found.patients, fence)
    return answered(widening.widened(query, others), widening.Named())


def asked_page(scanner: Scanner) -> Page:
    """What a query asks for: a page with what it brings along, or only the number of matches."""
    results = scanner.query.results
    if results.count_only:
        return Page((), None, scanner.count())
    page = scanner.page() if scanner.plan.ordered else scanner.sorted_page()
    return replace(
        page, included=includes.included(scanner.store, results, page.matches, scanner.fence, Canonicals(scanner.found))
    )


def find(store: Store, query: Query, limit: int, fence: Fence) -> list[Candidate]:
    """Up to `limit` matches, in no order that is promised: for conditional interactions, where two are one too many.

    TooCostly where so many candidates had to be read that there may be more matches.
    """
    known = compartments.in_force(store)
    query = spelt_out(store, query, fence)
    scanner = chained(Scanner(store, query, plan(query), known, fence, Limits()))
    progress = Progress(scanner.limits.counted)
    found: list[Candidate] = []
    for candidate, _, _ in scanner.scan(None, limit + 1, progress):
        found.append(candidate)
        if len(found) == limit:
            return found
    if not progress.ended:
        raise too_costly("finding what meets the condition")
    return found


def spelt_out(store: Store, query: Query, fence: Fence) -> Query:
    """The query with the codes and entries of what it names (value sets, hierarchies, lists), as the caller may see them."""

    def look(resource_type: str, parameter: str, value: str) -> list[dict[str, Any]]:
        if resource_type in governing.TYPES:
            return [one.body for one in serving.serving(store, fence, find, resource_type, parameter, value)]
        wanted = parse([(parameter, literals.escape(value))], resource_type)
        return [found.body for found in find(store, wanted, LOOKED_AT, fence)]

    for spell in (value_sets.resolved, subsumption.resolved, parts.resolved, lists.resolved):
        query = spell(query, look)
    return query


def chained(scanner: Scanner) -> Scanner:
    """The same search, led by one of its chains where otherwise everything would be read."""
    if not scanner.query.chains or len(scanner.query.types) != 1:
        return scanner
    scanner = narrowed(scanner)
    query, chosen = scanner.query, scanner.plan
    if not isinstance(chosen.driver, (Created, Updated)):
        return scanner
    begun = None if query.results.cursor is None else cursor.peek(query.results.cursor)
    if isinstance(begun, list) and len(begun) == 3:
        # The pages before went through everything: so does this one, whatever the inner search would find now.
        return scanner
    limit = scanner.limits.inner if begun is None else scanner.limits.counted
    for chain in query.chains:
        driver = chains.driver(chain, query.types[0], scanner.found, limit)
        if driver is not None:
            return replace(scanner, plan=replace(chosen, driver=driver, ordered=not query.results.sort))
    return scanner


def narrowed(scanner: Scanner) -> Scanner:
    """The same search with its chains as references, where they lead to one resource only."""
    query = scanner.query
    found = [chains.reference(chain, query.types[0], scanner.indexed) for chain in query.chains]
    clauses = tuple(clause for clause in found if clause is not None)
    if not clauses:
        return scanner
    query = structs.replace(query, clauses=(*query.clauses, *clauses))
    return replace(scanner, query=query, plan=plan(query, scanner.plan.membership))


def bounded(scanner: Scanner, within: Within) -> Scanner:
    """The same search, led by what the caller is fenced to where otherwise everything of its types would be read."""
    query, chosen = scanner.query, scanner.plan
    # No listing holds AuditEvents of the server: they are within a fence where what they speak of is.
    if query.chains or not isinstance(chosen.driver, Created) or AUDIT_EVENT in query.types:
        return scanner
    bounds = within()
    if bounds is None:
        return scanner
    each = [tuple(one for code, key in bounds for one in inside(code, key, name)) for name in query.types]
    if any(len(streams) > UNION for streams in each):
        return scanner
    merged = tuple(Merged(streams) for streams in each)
    driver: Driver = merged[0] if len(merged) == 1 else Each(merged)
    return replace(scanner, plan=replace(chosen, driver=driver, ordered=not query.results.sort))


def inside(code: str, key: str, resource_type: str) -> list[KeyStream]:
    """The listings of what is within an account or a compartment: of a compartment not what carries an account of its name."""
    found = listings(code, key, resource_type)
    return found if code == "_account" else [one for one in found if not isinstance(one, Account)]


@dataclass(frozen=True)
class Scanner:
    """One search over one store for one caller."""

    store: Store
    query: Query
    plan: Plan
    known: compartments.Definitions
    fence: Fence
    limits: Limits
    named: widening.Named = field(default_factory=widening.Named)

    def page(self) -> Page:
        """The page at the query's cursor, in the driver's order."""
        results = self.query.results
        after, total = self.start(self.plan.driver.shape)
        progress = Progress(self.limits.page, after)
        matches: list[Candidate] = []
        following: Position | None = None
        scan = self.scan(after, results.count, progress)
        for candidate, position, more in scan:
            if len(matches) == results.count:
                break
            matches.append(candidate)
            following = position
            if len(matches) == results.count and not (self.plan.filtered and more):
                following = position if more else None
                break
        else:
            following = None if progress.ended else progress.position
        if total is None and results.cursor is None:
            total = len(matches) if following is None else self.wanted_total()
        return Page(matches, following, total)

    def sorted_page(self) -> Page:
        """The page at the query's cursor, of all matches, sorted."""
        sorts = self.query.results.sort
        progress = Progress(self.limits.gathered)
        matches = [candidate for candidate, _, _ in self.scan(None, LISTED, progress)]
        if not progress.ended:
            raise too_costly("sorting", "_sort")
        left = sorting.ordered(matches, sorts, self.known)
        after, _ = self.start(tuple[str, int])
        if after is not None:
            # A version says where the page before ended: no value of a patient stands in a link.
            last = self.store.read_version(*after)
            # What the caller could not be shown, it shall not compare with what it can see.
            if last is None or not self.visible(last):
                raise cursor.refused()
            left = sorting.after(left, Candidate(last, self.store.decode), sorts, self.known)
        shown = [candidate for _, candidate in left[: self.query.results.count]]
        following = [shown[-1].key, shown[-1].head.version] if len(left) > len(shown) else None
        total = None if self.query.results.total == "none" else len(matches)
        return Page(shown, following, total)

    def found(self, query: Query, limit: int) -> tuple[list[Candidate], bool]:
        """Matches of an inner search for the same caller, and whether they are all: see `chains.Find`."""
        progress = Progress(limit)
        query = spelt_out(self.store, query, self.fence)
        scanner = chained(replace(self, query=query, plan=plan(query)))
        return [candidate for candidate, _, _ in scanner.scan(None, LISTED, progress)], progress.ended

    def indexed(self, query: Query, limit: int) -> tuple[list[Candidate], bool]:
        """As `found`, but nothing is read where no index leads to the matches."""
        if query.chains or isinstance(plan(query).driver, (Created, Updated)):
            return [], False
        return self.found(query, limit)

    def exists(self, query: Query) -> bool:
        """Whether an inner search has a match. TooCostly where too much had to be read to know."""
        progress = Progress(self.limits.gathered)
        query = spelt_out(self.store, query, self.fence)
        scanner = chained(replace(self, query=query, plan=plan(query)))
        if next(scanner.scan(None, 1, progress), None) is not None:
            return True
        if not progress.ended:
            raise too_costly("following _has")
        return False

    def spelt_out(self, query: Query) -> Query:
        return spelt_out(self.store, query, self.fence)

    @cached_property
    def chains(self) -> chains.Chains:
        return chains.Chains(self.store, self.known, self.fence, self.exists, self.found, self.spelt_out)

    def start(self, shape: Any) -> tuple[Position | None, int | None]:
        """The position and the total that the query's cursor carries."""
        text = self.query.results.cursor
        if text is None:
            return None, None
        found = cursor.decode(text, self.query, shape)
        return found.position, found.total

    def wanted_total(self) -> int | None:
        """The number of all matches, where the client asked for it."""
        match self.query.results.total:
            case "accurate":
                return self.count()
            case "estimate":
                try:
                    return self.count()
                except TooCostly:
                    return None
        return None

    def count(self) -> int:
        """The number of all matches, exactly; TooCostly where too much had to be read."""
        progress = Progress(self.limits.counted)
        total = sum(1 for _ in self.scan(None, LISTED, progress))
        if not progress.ended:
            raise too_costly("counting", "_total" if self.query.results.total else "_summary")
        return total

    def scan(
        self, after: Position | None, wanted: int, progress: Progress
    ) -> Iterator[tuple[Candidate, Position, bool]]:
        """Matches after a position, each with its own, and whether hints are known to follow.

        Ends when the driver does (`progress.ended`) or when the limit is reached, after which `progress.position` is
        where to go on.
        """
        ask = min(wanted + 1, LISTED) if not self.plan.filtered else min(max(wanted + 1, 2 * BATCH), LISTED)
        unchecked, named = self.query.compartment, self.named.take()
        room = max(BATCH - len({unchecked, *named} - {None}), 1)
        take = max(min(wanted, LISTED), 1) if not self.plan.filtered else min(wanted + 1, room)
        while True:
            listing = self.plan.driver.list(self.store, after, ask)
            if named and not listing.hints:
                named = self.looked_at(named, self.store.read_many(named))
            at = 0
            while at < len(listing.hints):
                chunk = listing.hints[at : at + min(take, max(progress.limit - progress.read, 1))]
                at += len(chunk)
                besides = dict.fromkeys((*named, *([unchecked] if unchecked else [])))
                heads = self.store.read_many([*(hint.key for hint in chunk), *besides])
                if unchecked and not self.visible(heads.get(unchecked)):
                    progress.ended = True
                    return
                unchecked, named = None, self.looked_at(named, heads)
                admitted = [self.admitted(hint, heads.get(hint.key)) for hint in chunk]
                if self.query.chains:
                    admitted = self.linked(admitted)
                    progress.read += len(chunk) * sum(chain.links[0].reverse for chain in self.query.chains) * SEARCHED
                for number, (hint, candidate) in enumerate(zip(chunk, admitted, strict=True), at - len(chunk) + 1):
                    progress.read += 1
                    progress.position = hint.position
                    if candidate:
                        yield candidate, hint.position, number < len(listing.hints) or listing.next is not None
                if progress.spent:
                    progress.ended = at >= len(listing.hints) and listing.next is None
                    return
                take = min(take * 2, LISTED)
            if listing.next is None:
                progress.ended = True
                return
            after = progress.position = listing.next
            # Entries that were listed in vain cost something too: about a tenth of a head each.
            progress.read += max(ask - len(listing.hints), 0) // 10
            if progress.spent:
                return
            ask = min(ask * 2, LISTED)

    def linked(self, admitted: Sequence[Candidate | None]) -> list[Candidate | None]:
        """The candidates, None in place of those that do not meet every chain."""
        kept = {one.key for one in self.chains.kept([one for one in admitted if one], self.query.chains)}
        return [one if one and one.key in kept else None for one in admitted]

    def looked_at(self, named: Sequence[str], heads: Mapping[str, Head]) -> tuple[str, ...]:
        """Nobody left to look at, once it is known that none of the Patients `named` replaces another; Replacing where one does."""
        patients = [Candidate(heads[key], self.store.decode) for key in named if self.visible(heads.get(key))]
        replacing = [one for one in patients if replaced.linked(one.body, replaced.REPLACES)]
        if replacing:
            raise widening.Replacing(replacing)
        return ()

    def visible(self, head: Head | None) -> bool:
        """Whether a resource is there and the caller may see it."""
        return head is not None and not head.deleted and self.fence(Candidate(head, self.store.decode))

    def admitted(self, hint: Hint, head: Head | None) -> Candidate | None:
        """The hint's resource, if it is there, the caller may see it, and it meets every condition."""
        if head is None or head.deleted:
            return None
        candidate = Candidate(head, self.store.decode)
        if not self.fence(candidate) or not self.is_member(candidate):
            return None
        if not all(matching.matches(candidate, clause, self.known) for clause in self.plan.clauses):
            return None
        return candidate if self.plan.driver.accepts(self.store, hint, candidate) else None

    def is_member(self, candidate: Candidate) -> bool:
        its = self.plan.membership
        if its is None or self.query.compartment is None:
            return True
        return any(
            compartments.is_member(its, one, candidate.key, candidate.targets) for one in self.query.compartments
        )


def too_costly(doing: str, expression: str | None = None) -> TooCostly:
    return TooCostly(
        f"{doing} would read too many resources: narrow the search by more parameters", expression=expression
    )
