"""What leads a search: what its plan chose, a chain, or the listing of the caller's fence, whichever has less to read.

A page link continues with what led the page before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from bulkhead.compartments import membership
from bulkhead.fhir import dates
from bulkhead.search import chains, cursor
from bulkhead.search.drivers import Among, Created, Driver, Each, Keys, Merged, Position, Updated, size
from bulkhead.search.plan import Complete, Plan, plan
from bulkhead.search.query import Query
from bulkhead.search.race import fence_driver, followers_driver, has_followers
from bulkhead.search.scan import LISTED, SEARCHED
from bulkhead.store.version import within

if TYPE_CHECKING:
    from bulkhead.search.run import Scanner
    from bulkhead.store import ReadStore

FEW = 100
"""Of so few resources nobody asks whether a chain leads to fewer: they are one batch of heads."""


def planned(store: ReadStore, query: Query, definition: membership.Definition | None) -> Plan:
    """The plan of a query, as of now and as far as the entries of the table go."""
    has = Complete(store.is_in_clinical_order(), store.has_categories(), store.is_in_date_order())
    return plan(query, definition, dates.now(), has=has)


def chained(scanner: Scanner) -> Scanner:
    """The same search, led by one of its chains if it would otherwise read everything, or more than what the chain leads to."""
    if not scanner.query.chains or len(scanner.query.types) > 1:
        return scanner
    asked = scanner.query
    scanner = narrowed(scanner) if asked.types else scanner
    query, chosen = scanner.query, scanner.plan
    begun = None if query.results.cursor is None else cursor.peek(query.results.cursor)
    if is_by_time(query):
        # The pages before read everything: so does this one, whatever the inner search would find now.
        return scanner
    if isinstance(chosen.driver, (Created, Updated)):
        # The fence's listing, by type and id, may have led the pages before: then it leads this one.
        driver = led_by_chain(scanner, begun)
    elif query is not asked or (query.results.sort and chosen.ordered):
        # What is near one resource is little already; and an index that has the order asked for reads one page.
        driver = None
    elif begun is None:
        driver = smaller_by_chain(scanner)
    else:
        driver = chain_driver(scanner, scanner.limits.counted) if chains.has_led(begun, chosen.driver) else None
    if driver is None or (isinstance(begun, str) and driver.shape is not str):
        return scanner
    return replace(scanner, plan=replace(chosen, driver=driver, ordered=not query.results.sort))


def chain_driver(scanner: Scanner, limit: int) -> Driver | None:
    """What leads by the first chain that can, where its inner search reads at most `limit` heads."""
    types = scanner.query.types
    drivers = (
        chains.driver(one, types[0] if types else None, scanner.found, limit=limit) for one in scanner.query.chains
    )
    return next((driver for driver in drivers if driver is not None), None)


def led_by_chain(scanner: Scanner, begun: Position | None) -> Driver | None:
    """What leads by a chain instead of everything; None where the inner search reads more than checking everything would."""
    limits = scanner.limits
    if begun is not None or not scanner.query.types:
        # For the whole system there is no other driver.
        return chain_driver(scanner, limits.counted)
    driver = chain_driver(scanner, min(FEW, limits.inner))
    if driver is not None or limits.inner <= FEW:
        return driver
    others = size(scanner.plan.driver, scanner.store, FEW)
    if others is not None and others * SEARCHED <= limits.inner:
        return None
    return chain_driver(scanner, limits.inner)


def smaller_by_chain(scanner: Scanner) -> Driver | None:
    """What leads by a chain instead of an index, if it leads to fewer resources, as far as a page of keys of each tells."""
    others = size(scanner.plan.driver, scanner.store, LISTED)
    if others is not None and others <= FEW:
        return None
    driver = chain_driver(scanner, min(FEW, scanner.limits.inner))
    if driver is None or chains.is_confusable(driver, scanner.plan.driver):
        return None
    own = size(driver, scanner.store, LISTED)
    return driver if own is not None and (others is None or own < others) else None


def narrowed(scanner: Scanner) -> Scanner:
    """The same search with each chain that leads to one resource only replaced by a reference."""
    query = scanner.query
    found = [chains.reference(chain, query.types[0], scanner.indexed, store=scanner.store) for chain in query.chains]
    clauses = tuple(clause for clause in found if clause is not None)
    if not clauses:
        return scanner
    query = structs.replace(query, clauses=(*query.clauses, *clauses))
    return replace(scanner, query=query, plan=planned(scanner.store, query, scanner.plan.membership))


def led_by_fence(scanner: Scanner) -> Scanner:
    """The same search, led by the fence's listing if it would otherwise read everything of its types."""
    query, chosen = scanner.query, scanner.plan
    # In a search of one type by time, the fence's listing races; in one of all types it leads.
    by_time = isinstance(chosen.driver, Created) or (isinstance(chosen.driver, Updated) and not query.types)
    if not by_time or is_by_time(query) or any(has_followers(within(scanner.fence), name) for name in query.types):
        return scanner
    driver = fence_driver(within(scanner.fence), query.types) if query.types else fence_driver_of_all(scanner)
    if driver is None:
        return scanner
    return replace(scanner, plan=replace(chosen, driver=driver, ordered=not query.results.sort))


def fence_driver_of_all(scanner: Scanner) -> Driver | None:
    """A driver that lists all that the caller may see of any type: the fence's listing, what follows others, what no listing covers."""
    listed = within(scanner.fence)
    driver, by_time = fence_driver(listed, (None,)), scanner.plan.driver
    if not isinstance(driver, Merged) or not isinstance(by_time, (Created, Updated)):
        return None
    unlisted = tuple(name for name in by_time.types if listed(name) is None)
    followers = followers_driver(listed)
    following = tuple(name for name in by_time.types if followers and has_followers(listed, name))
    unlisted += tuple(name for name in by_time.types if not followers and has_followers(listed, name))
    first = Merged(driver.streams, (*unlisted, *following))
    return Each((first, *([followers] if followers else []), Created(unlisted, by_time.until)))


def by_names(scanner: Scanner) -> Scanner:
    """The same search, sorted by `_id` or `_lastUpdated` without reading resources that the page does not show: it first lists all keys."""
    query, chosen = scanner.query, scanner.plan
    if chosen.ordered or query.results.count_only or len(query.results.sort) != 1 or len(query.types) != 1:
        return scanner
    sort = query.results.sort[0]
    if sort.code == "_id":
        names = Keys(tuple(scanner.names()), sort.descending)
        return replace(scanner, plan=replace(chosen, driver=names, ordered=True))
    if sort.code == "_lastUpdated":
        keys = scanner.names()
        if len(keys) <= scanner.limits.gathered and not is_by_time(query):
            return replace(scanner, plan=replace(chosen, driver=Keys(tuple(keys))))
        by_time = Updated(query.types, None, dates.now(), sort.descending)
        return replace(scanner, plan=replace(chosen, driver=Among(by_time, frozenset(keys)), ordered=True))
    return scanner


def is_by_time(query: Query) -> bool:
    """Whether a page link belongs to a search in order of creation: it continues so, whatever else could lead."""
    begun = None if query.results.cursor is None else cursor.peek(query.results.cursor)
    return isinstance(begun, list) and len(begun) == 3
