"""Computes the position at which a driver gives a resource from the resource itself, so that another listing can keep the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.facts import index_facts
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.date_order import DateOrder
from bulkhead.search.dated import Dated, Place
from bulkhead.search.drivers import Driver, Each, Position, Targets, Updated, Values
from bulkhead.store import keys
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import ReadStore


def has_places(driver: Driver) -> bool:
    """Whether `place` can compute the positions of a driver."""
    if isinstance(driver, Each):
        return all(has_places(one) for one in driver.drivers)
    return isinstance(driver, (DateOrder, Dated, Values, Targets, Updated))


def place(driver: Driver, store: ReadStore, candidate: Version) -> Position | None:
    """The position at which a driver gives a resource; None if it does not give it."""
    match driver:
        case Dated():
            return [driver.text(candidate), candidate.head.id] if candidate.head.type == driver.resource_type else None
        case DateOrder():
            return driver.place(store, candidate)
        case Values():
            return _among_values(driver, candidate)
        case Targets():
            targets = frozenset(driver.targets)
            if candidate.head.type != driver.resource_type:
                return None
            own = [key for key, via in candidate.targets.items() if driver.code in via and key in targets]
            return [min(own), candidate.key] if own else None
        case Updated():
            return _in_time(driver, store, candidate)
        case Each():
            for number, one in enumerate(driver.drivers):
                position = place(one, store, candidate)
                if position is not None:
                    return [number, position]
    return None


def _among_values(driver: Values, candidate: Version) -> Position | None:
    known = search_parameters(candidate.head.type)
    if driver.resource_type not in (index_facts.ANY_TYPE, candidate.head.type):
        return None
    codes = {branch.parameter for branch in driver.branches}
    entries = [
        entry for code in codes for entry in index_facts.index_values(candidate.body, known[code], candidate.targets)
    ]
    positions = [
        [number, keys.value_sort(entry.sort, candidate.head.id)]
        for number, branch in enumerate(driver.branches)
        for entry in entries
        if branch.covers(entry)
    ]
    return min(positions, default=None)


def _in_time(driver: Updated, store: ReadStore, candidate: Version) -> Position | None:
    """The place of the version that was current at the time of the first page."""
    if candidate.head.type not in driver.types:
        return None
    head = candidate.head
    while head.updated > driver.until:
        earlier = store.read_version(head.key, head.version - 1) if head.version > 1 else None
        if earlier is None:
            return None
        head = earlier
    if driver.since is not None and head.updated < driver.since:
        return None
    return [
        driver.types.index(head.type),
        driver.until,
        keys.time_place(head.key, head.version, head.updated),
    ]


def compare(driver: Driver, one: Position, other: Position) -> int:
    """Less than 0 if the driver gives `one` before `other`."""
    if isinstance(driver, Each) and one[0] == other[0] and None not in (one[1], other[1]):
        return compare(driver.drivers[one[0]], one[1], other[1])
    if isinstance(driver, Dated):
        return driver.comes_before(Place(*other), Place(*one)) - driver.comes_before(Place(*one), Place(*other))
    if isinstance(driver, DateOrder):
        return driver.compare(one, other)
    # A position without its last part is the beginning of its range.
    left, right = ((position[0], position[-1] or "") for position in (one, other))
    if left == right:
        return 0
    ahead = left < right
    if isinstance(driver, Updated) and driver.newest_first and left[0] == right[0] and "" not in (left[1], right[1]):
        ahead = not ahead
    return -1 if ahead else 1
