"""Counts the resources of a type from keys: by-time lists the head of each, and says of it whether it is a deletion, and which accounts
it carries. Only where a key does not tell is the head read.

A head that moves while it is counted moves to a later place, so whoever reads a partition from its beginning, and the months in their
order, meets it at one of its places or at both, and knows it again. What an open transaction holds is not what it seems: a new head may
never be committed, and a deletion is not one yet. So the members of these are read, as a search reads them.

The index lags behind the heads by moments, and by no more: nothing but a head is counted, and only as it is. (Entries of targets, values
and accounts are hints, which a writer that lost a race or died may leave behind. What these lead to is never counted unread.)

Listing a type costs what the whole type has, whoever it belongs to. So what accounts have of it is counted so only where that costs less
than to read the heads to which their entries lead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from bulkhead.parallel import chunks
from bulkhead.store import active_months, heads, keys, transaction_marks, transactions
from bulkhead.store.table import Table

KEYS_FOR_A_HEAD = 50
"""So many keys of by-time cost as much as one head."""
FEW = 100
"""So many heads are read at once: they come in one request."""
MANY = 50
"""Of more accounts the entries are not listed: each takes four requests, however few there are."""

_BY_TIME = keys.BY_TIME, keys.INDEXES[keys.BY_TIME]
_BY_TARGET = keys.BY_TARGET, keys.INDEXES[keys.BY_TARGET]
# Heads that are held in memory together.
_AT_ONCE = 1000

IsCounted = Callable[[heads.Head], bool]
"""Whether a head that was read is one of those that are counted. It may be a deletion."""


@dataclass(slots=True)
class _Named:
    """Resources whose heads a listing has met: those that count, and those of which their keys do not tell."""

    counted: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)


def of_type(table: Table, resource_type: str, *, most: int) -> int | None:
    """How many resources of a type there are; None if that takes more than about `most` keys. The `layout` must mark deletions."""
    named = _of_keys(table, resource_type, None, most=most)
    if named is None:
        return None
    held = _held(table, resource_type)
    return len(named.counted - held) + _of_heads(table, held, lambda head: not head.deleted)


def of_accounts(
    table: Table, resource_type: str, accounts: Collection[str], *, is_counted: IsCounted, most: int
) -> int | None:
    """How many resources of a type carry one of some accounts; None if that takes more than about `most` keys.

    `is_counted` must say the same of a head. The `layout` must have COUNTS.
    """
    entries = None
    if len(accounts) <= MANY:
        entries = _entries(table, resource_type, accounts, most=most // KEYS_FOR_A_HEAD)
    if entries is not None and len(entries) <= FEW:
        return _of_heads(table, entries, is_counted)
    least = most if entries is None else min(most, KEYS_FOR_A_HEAD * len(entries))
    named = _of_keys(table, resource_type, frozenset(map(keys.carried, accounts)), most=least)
    if named is None:
        return None if entries is None else _of_heads(table, entries, is_counted)
    if entries is not None:
        # An entry is never missing: what has none belongs to other accounts, and nobody reads its head for this count.
        named.untold &= entries
    elif KEYS_FOR_A_HEAD * len(named.untold) > most:
        return None
    held = _held(table, resource_type)
    if entries is not None:
        held &= entries | named.counted
    return len(named.counted - held) + _of_heads(table, held | named.untold, is_counted)


def _entries(table: Table, resource_type: str, accounts: Collection[str], *, most: int) -> set[str] | None:
    """The resources to which the entries of some accounts lead; None if these are more than about `most`."""
    prefix = keys.source_sort(f"{resource_type}/")
    partitions = [partition for account in accounts for partition in keys.account_partitions(account)]

    def sources(partition: str) -> set[str] | None:
        found: set[str] = set()
        for item in table.query(partition, prefix, prefix, index=_BY_TARGET):
            found.add(item["pk"]["S"])
            if len(found) > most:
                return None
        return found

    entries: set[str] = set()
    for found in table.parallel(sources, partitions):
        if found is None or len(entries) + len(found) > most:
            return None
        entries |= found
    return entries


def _of_keys(table: Table, resource_type: str, accounts: frozenset[str] | None, *, most: int) -> _Named | None:
    """The resources of a type that count by their keys, under one of some `carried` accounts (None: all); None beyond `most` keys."""
    listed = active_months.months(table, resource_type)
    months = [keys.time_partitions(resource_type, month) for month in listed]
    found = table.parallel(
        lambda shard: _of_shard(
            table, [partitions[shard] for partitions in months], accounts, most=most // keys.TIME_SHARDS
        ),
        range(keys.TIME_SHARDS),
    )
    named = _Named()
    for part in found:
        if part is None:
            return None
        named.counted |= part.counted
        named.untold |= part.untold
    return named


def _of_shard(table: Table, partitions: Sequence[str], accounts: frozenset[str] | None, *, most: int) -> _Named | None:
    """Of the heads in some partitions, those of one shard in the order of their months."""
    named = _Named()
    read = 0
    for partition in partitions:
        for item in table.query(partition, index=_BY_TIME):
            read += 1
            if read > most:
                return None
            if item["sk"]["S"] != keys.HEAD:
                continue
            _, _, end = keys.time_of(item["msk"]["S"])
            _note(named, item["pk"]["S"], end=end, accounts=accounts)
    return named


def _note(named: _Named, key: str, *, end: str, accounts: frozenset[str] | None) -> None:
    """Take up what a head's key says, in place of what its key said at an earlier place."""
    named.counted.discard(key)
    named.untold.discard(key)
    if end == keys.DELETED:
        return
    if accounts is None:
        named.counted.add(key)
        return
    told, is_all = keys.accounts_of(end)
    if not told.isdisjoint(accounts):
        named.counted.add(key)
    elif not is_all:
        named.untold.add(key)


def _of_heads(table: Table, wanted: Collection[str], is_counted: IsCounted) -> int:
    """How many of some resources count, by their heads."""
    number = 0
    for batch in chunks(sorted(wanted), _AT_ONCE):
        current = transaction_marks.current(table, table.get_many((key, keys.HEAD) for key in batch))
        number += sum(map(is_counted, current.values()))
    return number


def _held(table: Table, resource_type: str) -> set[str]:
    """Those of a type among what open transactions hold. Asked after the heads were listed, which come after a transaction's item."""
    return {name for name in transactions.held(table) if name.startswith(f"{resource_type}/")}
