"""The partitions of by-value that hold dates of a type: a search in order of a date knows from these what to read.

One item per type, parameter and partition (a month, or `2026-11+`: see `facts.date_order`). A process writes it before its first write
with a date in that month.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

from bulkhead.facts.index_facts import Facts
from bulkhead.store import keys
from bulkhead.store.heads import Write
from bulkhead.store.table import Table

_noted: WeakKeyDictionary[Table, dict[str, set[str]]] = WeakKeyDictionary()


def of_facts(resource_type: str, facts: Facts) -> set[str]:
    """The sort keys of the items that must list the dates of a resource."""
    return {
        keys.date_month_sort(resource_type, value.parameter, value.value)
        for value in facts.values
        if keys.is_date_month(value.value)
    }


def note(table: Table, writes: Sequence[Write]) -> None:
    """Makes sure that the months of all dates in `writes` are listed. The process first reads what is listed of a type."""
    needed: dict[str, set[str]] = {}
    for write in writes:
        if write.new is not None:
            name = write.key.partition("/")[0]
            needed.setdefault(name, set()).update(of_facts(name, write.new))
    noted = _noted.setdefault(table, {})
    for name in needed:
        if needed[name] and name not in noted:
            noted[name] = set(_listed(table, f"{name}|"))
    unknown = {sort for name, sorts in needed.items() for sort in sorts - noted.get(name, set())}
    if unknown:
        table.put_many([{"pk": {"S": keys.DATE_MONTHS}, "sk": {"S": sort}} for sort in sorted(unknown)])
        for sort in unknown:
            noted[sort.partition("|")[0]].add(sort)


def months(table: Table, resource_type: str, parameter: str) -> list[str]:
    """The partitions that hold, or held, dates of a parameter: `2026-10`, `2026-11`, `2026-11+`; sorted."""
    prefix = keys.date_month_sort(resource_type, parameter, "")
    return [sort.removeprefix(prefix) for sort in _listed(table, prefix)]


def _listed(table: Table, prefix: str) -> Iterable[str]:
    return (item["sk"]["S"] for item in table.query(keys.DATE_MONTHS, prefix, prefix))
