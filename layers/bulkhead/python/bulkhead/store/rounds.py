"""Rounds of the integrity check over the whole table: at once, or so many pages a time.

A round that has compared every resource, and mended what it found, has given each of them all of its index entries. It then notes
that the table has the present layout (see `layout`): so the check also brings a table up to date that older code has written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby

from bulkhead.parallel import in_parallel
from bulkhead.store import keys, layout
from bulkhead.store.bodies import Bodies
from bulkhead.store.integrity import Check, FactsOf, Report
from bulkhead.store.table import Item, Table, key_of

# Segments of the table: each has its own place where the next round continues.
_SEGMENTS = 4
_DAY = 86_400.0


def check(
    table: Table, facts_of: FactsOf, bodies: Bodies, *, repair: bool = True, patience: float | None = _DAY
) -> Report:
    """Compares the whole table with its index, and repairs faults unless `repair` is False. `patience`: see `integrity.Check`."""
    examined = Check(table, facts_of, bodies, now=time.time(), patience=patience, repair=repair)

    def segment(number: int) -> Report:
        report, _, _ = _scanned(table, examined, number, of=_SEGMENTS, after=None, go_on=lambda: True)
        return report

    report = sum(in_parallel(segment, range(_SEGMENTS), _SEGMENTS), Report())
    if repair and not report.held:
        layout.complete(table)
    return report


def check_segment(
    table: Table,
    facts_of: FactsOf,
    bodies: Bodies,
    *,
    number: int,
    of: int,
    after: Item | None,
    time_left: Callable[[], bool],
) -> tuple[Report, Item | None]:
    """Compares one of `of` equal segments of the table, from a place on (None: its beginning), while there is time: one page at least.

    Returns the place where to go on; None at the segment's end.
    """
    examined = Check(table, facts_of, bodies, now=time.time(), patience=_DAY, repair=True)
    first = iter([True])
    report, after, ended = _scanned(
        table, examined, number, of=of, after=after, go_on=lambda: next(first, False) or time_left()
    )
    return report, None if ended else after


def check_on(table: Table, facts_of: FactsOf, bodies: Bodies, *, pages: int, time_left: Callable[[], bool]) -> Report:
    """Continues the integrity check where the last round ended: for `pages` pages of 1 MB, while there is time."""
    examined = Check(table, facts_of, bodies, now=time.time(), patience=_DAY, repair=True)

    def segment(number: int) -> tuple[Report, bool]:
        left = iter(range(-(-pages // _SEGMENTS)))
        place = keys.INTEGRITY, f"{number:04d}"
        kept = table.get(place) or {}
        after = kept["after"]["M"] if "after" in kept else None
        # A pass that older code began has not given all entries to what it has gone through.
        is_whole = after is None or _is_present(kept, "whole")
        report, after, ended = _scanned(
            table,
            examined,
            number,
            of=_SEGMENTS,
            after=after,
            go_on=lambda: next(left, None) is not None and time_left(),
        )
        is_whole = is_whole and not report.held
        passed = (ended and is_whole) or _is_present(kept, "layout")
        present: Item = {"N": str(layout.CURRENT)}
        item: Item = {"pk": {"S": place[0]}, "sk": {"S": place[1]}}
        if after:
            item |= {"after": {"M": after}} | ({"whole": present} if is_whole else {})
        table.put(item | ({"layout": present} if passed else {}))
        return report, passed

    done = in_parallel(segment, range(_SEGMENTS), _SEGMENTS)
    if all(passed for _, passed in done) and not layout.has(table, layout.CURRENT):
        layout.complete(table)
    return sum((report for report, _ in done), Report())


def _scanned(
    table: Table, examined: Check, segment: int, *, of: int, after: Item | None, go_on: Callable[[], bool]
) -> tuple[Report, Item | None, bool]:
    """What the pages of a segment after a place come to, where to go on, and whether its end was reached."""
    report, ended = Report(), False
    carried: list[Item] = []
    while go_on():
        items, after = table.scan(segment, of, after)
        groups = [list(group) for _, group in groupby([*carried, *items], key=lambda item: item["pk"]["S"])]
        # The last group may continue on the next page.
        carried = groups.pop() if after and groups else []
        report += examined.look([item for group in groups for item in group])
        if after is None:
            ended = True
            break
    if after and carried and carried[0]["sk"]["S"] == keys.HEAD:
        # From the head: an entry that is the last of a page may be gone by the next round.
        after = key_of((carried[0]["pk"]["S"], keys.HEAD))
    return report + examined.look(carried), after, ended


def _is_present(kept: Item, name: str) -> bool:
    """Whether a segment was gone through for the present layout: all of it (`layout`), or up to its place (`whole`)."""
    return name in kept and kept[name].get("N") == str(layout.CURRENT)
