"""Which index entries all resources of the table have: those that this version of the code writes, or those of an older one.

A table that begins empty has them from its first write on. One that older code has written gets them by a full round of the
integrity check (see `rounds`), which then says so here. Until then whatever reads the newer entries does without: a search in clinical
order uses the entries that older code wrote, too, and a CompartmentDefinition over a project's own SearchParameters is refused.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from bulkhead.store import keys
from bulkhead.store.table import Item, Table

CLINICAL = 2
"""Entries in clinical order."""
DATES = 3
"""Entries in the order of every date (`facts.date_order`), and lists of their months."""
LITERALS = 4
"""An entry for every literal reference, also where no search parameter leads to it."""
DELETIONS = 5
"""By-time says which versions are deletions (`counts`)."""
CATEGORIES = 6
"""Entries in clinical order of each patient with a category."""
COUNTS = 7
"""Heads say what counts need: their by-time keys name the accounts that they carry, and other keys a Patient and a code (`head_counts`)."""
CURRENT = COUNTS
_KEY = (keys.LAYOUT, keys.HEAD)

_known: WeakKeyDictionary[Table, int] = WeakKeyDictionary()


def has(table: Table, layout: int) -> bool:
    """Whether the entries of a layout are complete. Once they are they stay so, and nobody is asked again."""
    if _known.get(table, 0) < layout:
        item = table.get(_KEY)
        if item is None or int(item["layout"]["N"]) < layout:
            return False
        _known[table] = int(item["layout"]["N"])
    return True


def begin(table: Table) -> None:
    """Called before this process first writes: a table without any resource has all its entries."""
    if not has(table, CURRENT) and next(table.query(keys.MONTHS, limit=1), None) is None:
        complete(table)


def complete(table: Table) -> None:
    """Note that every resource has its entries."""
    item: Item = {"pk": {"S": _KEY[0]}, "sk": {"S": _KEY[1]}, "layout": {"N": str(CURRENT)}}
    table.put(item)
    _known[table] = CURRENT
