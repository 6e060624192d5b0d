"""Which months of by-time hold anything of a type: so that reading by time knows where to stop.

One item for each type and month, all in one partition; a process writes it before its first write of that type in that month.
"""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.store import keys
from bulkhead.store.table import Table

_noted: set[tuple[int, str]] = set()


def note(table: Table, resource_types: Iterable[str], updated: str) -> None:
    """See to it that the month of the instant `updated` is listed for each type."""
    sorts = {(id(table), keys.month_sort(resource_type, updated[:7])) for resource_type in resource_types}
    unknown = sorts - _noted
    if unknown:
        table.put_many([{"pk": {"S": keys.MONTHS}, "sk": {"S": sort}} for _, sort in sorted(unknown)])
        _noted.update(unknown)


def months(table: Table, resource_type: str) -> list[str]:
    """The months, as `2026-11`, in which versions of the type were written; the earliest first."""
    prefix = keys.month_sort(resource_type, "")
    return [item["sk"]["S"].removeprefix(prefix) for item in table.query(keys.MONTHS, prefix, prefix)]


def types(table: Table) -> list[str]:
    """Every type that was ever written."""
    return sorted({item["sk"]["S"].partition("#")[0] for item in table.query(keys.MONTHS)})
