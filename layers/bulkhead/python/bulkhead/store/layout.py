"""Whether all resources of the table have the index entries that this version of the code writes.

A table that begins empty has them from its first write on. One that older code has written gets them by a full round of the
integrity check (see `rounds`), which then says so here. Until then a search uses only the entries that older code wrote, too.
"""

from __future__ import annotations

from weakref import WeakSet

from bulkhead.store import keys
from bulkhead.store.table import Item, Table

CURRENT = 2
"""2: entries in clinical order."""
_KEY = (keys.LAYOUT, keys.HEAD)

_known: WeakSet[Table] = WeakSet()


def is_current(table: Table) -> bool:
    """Whether the entries are complete. Once they are they stay so, and nobody is asked again."""
    if table not in _known:
        item = table.get(_KEY)
        if item is None or int(item["layout"]["N"]) < CURRENT:
            return False
        _known.add(table)
    return True


def begin(table: Table) -> None:
    """Called before this process first writes: a table without any resource has all its entries."""
    if not is_current(table) and next(table.query(keys.MONTHS, limit=1), None) is None:
        complete(table)


def complete(table: Table) -> None:
    """Note that every resource has its entries."""
    item: Item = {"pk": {"S": _KEY[0]}, "sk": {"S": _KEY[1]}, "layout": {"N": str(CURRENT)}}
    table.put(item)
    _known.add(table)
