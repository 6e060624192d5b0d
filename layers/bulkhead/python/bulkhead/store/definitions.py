"""Which CompartmentDefinitions were ever written: so that those in force are found by one Query, and strongly consistent.

One item for each, in one partition, put there before its first commit and never taken away: a hint, as all entries are.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from bulkhead.store import keys
from bulkhead.store.table import Table

TYPE = "CompartmentDefinition"

_noted: WeakKeyDictionary[Table, set[str]] = WeakKeyDictionary()


def note(table: Table, written: Iterable[str]) -> None:
    """See to it that the CompartmentDefinitions with these keys are listed."""
    noted = _noted.setdefault(table, set())
    unknown = set(written) - noted
    if unknown:
        table.put_many([{"pk": {"S": keys.DEFINITIONS}, "sk": {"S": key}} for key in sorted(unknown)])
        noted.update(unknown)


def written(table: Table) -> list[str]:
    """Keys of those that were ever written, or were about to be, sorted."""
    return [item["sk"]["S"] for item in table.query(keys.DEFINITIONS)]
