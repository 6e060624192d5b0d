"""Rounds of the integrity check over the whole table: all at once, or a number of pages at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby

from bulkhead.parallel import in_parallel
from bulkhead.store import keys
from bulkhead.store.integrity import Check, FactsOf, Report
from bulkhead.store.table import Item, Table

# Segments of the table: each has its own place where the next round continues.
_SEGMENTS = 4
_DAY = 86_400.0


def check(table: Table, facts_of: FactsOf, repair: bool = True, patience: float | None = _DAY) -> Report:
    """Compares the whole table with its index, and repairs faults unless `repair` is False. `patience`: see `integrity.Check`."""
    examined = Check(table, facts_of, time.time(), patience, repair)

    def segment(number: int) -> Report:
        report, _ = _scanned(table, examined, number, None, lambda: True)
        return report

    return sum(in_parallel(segment, range(_SEGMENTS), _SEGMENTS), Report())


def check_on(table: Table, facts_of: FactsOf, pages: int, time_left: Callable[[], bool]) -> Report:
    """Continues the integrity check where the last round ended: for `pages` pages of 1 MB, while there is time."""
    examined = Check(table, facts_of, time.time(), _DAY, True)

    def segment(number: int) -> Report:
        left = iter(range(-(-pages // _SEGMENTS)))
        place = keys.INTEGRITY, f"{number:04d}"
        kept = table.get(place) or {}
        after = kept["after"]["M"] if "after" in kept else None
        report, after = _scanned(table, examined, number, after, lambda: next(left, None) is not None and time_left())
        item: Item = {"pk": {"S": place[0]}, "sk": {"S": place[1]}}
        table.put(item | ({"after": {"M": after}} if after else {}))
        return report

    return sum(in_parallel(segment, range(_SEGMENTS), _SEGMENTS), Report())


def _scanned(
    table: Table, examined: Check, segment: int, after: Item | None, go_on: Callable[[], bool]
) -> tuple[Report, Item | None]:
    """The report on the pages of a segment after a place, and the place to continue: None at its end."""
    report = Report()
    carried: list[Item] = []
    while go_on():
        items, after = table.scan(segment, _SEGMENTS, after)
        groups = [list(group) for _, group in groupby([*carried, *items], key=lambda item: item["pk"]["S"])]
        # The last group may continue on the next page.
        carried = groups.pop() if after and groups else []
        report += examined.look([item for group in groups for item in group])
        if after is None:
            break
    return report + examined.look(carried), after
