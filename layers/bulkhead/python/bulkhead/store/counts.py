"""Counts the resources of a type from keys: by-time lists the head of each, and says of it whether it is a deletion. No head is read.

A head that moves while it is counted moves to a later place, so whoever reads a partition from its beginning, and the months in their
order, meets it at one of its places or at both, and knows it again. What an open transaction holds is not what it seems: a new head may
never be committed, and a deletion is not one yet. So the members of these are read, as a search reads them.

The index lags behind the heads by moments, and by no more: nothing but a head is counted, and only as it is. (Entries of targets and values
are hints, which a writer that lost a race or died may leave behind. What these lead to is never counted unread.)
"""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.store import active_months, keys, transaction_marks, transactions
from bulkhead.store.table import Table

_INDEX = keys.BY_TIME, keys.INDEXES[keys.BY_TIME]


def of_type(table: Table, resource_type: str, *, most: int) -> int | None:
    """How many resources of a type there are; None if that takes more than about `most` keys. The `layout` must mark deletions."""
    listed = active_months.months(table, resource_type)
    months = [keys.time_partitions(resource_type, month) for month in listed]
    each = most // keys.TIME_SHARDS
    found = table.parallel(
        lambda shard: _of_shard(table, [partitions[shard] for partitions in months], most=each), range(keys.TIME_SHARDS)
    )
    alive: set[str] = set()
    for part in found:
        if part is None:
            return None
        alive |= part
    held = _held(table, resource_type)
    alive.difference_update(held)
    heads = table.get_many((key, keys.HEAD) for key in held)
    current = transaction_marks.current(table, heads)
    return len(alive) + sum(1 for head in current.values() if not head.deleted)


def _of_shard(table: Table, partitions: Sequence[str], *, most: int) -> set[str] | None:
    """The resources whose heads are in some partitions, those of one shard in the order of their months."""
    alive: set[str] = set()
    read = 0
    for partition in partitions:
        for item in table.query(partition, index=_INDEX):
            read += 1
            if read > most:
                return None
            if item["sk"]["S"] != keys.HEAD:
                continue
            _, _, deleted = keys.time_of(item["msk"]["S"])
            (alive.discard if deleted else alive.add)(item["pk"]["S"])
    return alive


def _held(table: Table, resource_type: str) -> set[str]:
    """The resources of a type that open transactions hold or make. Asked after the heads were listed, which come after a transaction's item."""
    found: set[str] = set()
    for _, transaction in transactions.open_transactions(table):
        members, _ = transactions.members(table, transaction)
        found.update(name for member in members if (name := member.removeprefix("+")).startswith(f"{resource_type}/"))
    return found
