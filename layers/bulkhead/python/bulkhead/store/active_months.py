"""Which months of by-time hold anything of a type: so that reading by time knows where to stop.

One item for each type and month, all in one partition; a process writes it before its first write of that type in that month.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from bulkhead.store import keys, layout
from bulkhead.store.table import Table

_noted: WeakKeyDictionary[Table, set[str]] = WeakKeyDictionary()
_kept: WeakKeyDictionary[Table, dict[str, list[str]]] = WeakKeyDictionary()


def note(table: Table, resource_types: Iterable[str], updated: str) -> None:
    """See to it that the month of the instant `updated` is listed for each type."""
    noted = _noted.setdefault(table, set())
    unknown = {keys.month_sort(resource_type, updated[:7]) for resource_type in resource_types} - noted
    if unknown:
        if not noted:
            layout.begin(table)
        table.put_many([{"pk": {"S": keys.MONTHS}, "sk": {"S": sort}} for sort in sorted(unknown)])
        noted.update(unknown)


def months(table: Table, resource_type: str) -> list[str]:
    """The months, as `2026-11`, in which versions of the type were written; the earliest first.

    A list that has the current month is kept: nothing is added to it before the next month. Not in the first hour of a month,
    when a writer with a slow clock may still add the one before.
    """
    now = datetime.now(UTC)
    current = now.strftime("%Y-%m")
    kept = _kept.setdefault(table, {})
    if current in kept.get(resource_type, ()):
        return kept[resource_type]
    prefix = keys.month_sort(resource_type, "")
    found = [item["sk"]["S"].removeprefix(prefix) for item in table.query(keys.MONTHS, prefix, prefix)]
    if current in found and (now.day, now.hour) > (1, 0):
        kept[resource_type] = found
    return found


def types(table: Table) -> list[str]:
    """Every type that was ever written."""
    return sorted({item["sk"]["S"].partition("#")[0] for item in table.query(keys.MONTHS)})
