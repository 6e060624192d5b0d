"""Whether all resources of the table have the index entries that this version of the code writes.

A table that begins empty has them from its first write on. One that older code has written gets them by a full round of the
integrity check (see `rounds`), which then says so here. Until then a search uses only the entries that older code wrote, too.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from bulkhead.store import keys
from bulkhead.store.table import Item, Table

CLINICAL_ORDER = 2
"""The first layout with entries in clinical order."""
DELETIONS = 3
"""The first in which by-time says which versions are deletions."""
CURRENT = 3
_KEY = (keys.LAYOUT, keys.HEAD)

_known: WeakKeyDictionary[Table, int] = WeakKeyDictionary()


def is_current(table: Table, wanted: int = CURRENT) -> bool:
    """Whether all resources have the entries of the layout `wanted`. Once they do so they always will, and nobody is asked again."""
    if _known.get(table, 0) < wanted:
        item = table.get(_KEY)
        _known[table] = int(item["layout"]["N"]) if item else 0
    return _known[table] >= wanted


def begin(table: Table) -> None:
    """Called before this process first writes: a table without any resource has all its entries."""
    if not is_current(table) and next(table.query(keys.MONTHS, limit=1), None) is None:
        complete(table)


def complete(table: Table) -> None:
    """Note that every resource has its entries."""
    item: Item = {"pk": {"S": _KEY[0]}, "sk": {"S": _KEY[1]}, "layout": {"N": str(CURRENT)}}
    table.put(item)
    _known[table] = CURRENT
