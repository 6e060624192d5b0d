"""The mark (`txn`) that a large transaction sets on heads and claims until it is settled: how readers see past it, and its removal.

There are two kinds of marked heads. `made`: the item is the new resource itself, and exists only if the transaction is committed.
Otherwise the item is the old version, and the new one is beside it (`s#<transaction>`): readers take that one after the commit.
A marked claim is valid if its transaction is.
"""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.store import head_counts, heads, keys
from bulkhead.store.heads import GRAVESTONE, Head
from bulkhead.store.keys import Key
from bulkhead.store.table import Item, Table, key_of
from bulkhead.store.throttling import pause
from bulkhead.store.transactions import ABORTED, COMMITTED, PENDING, decide, state_now, states

MARKED = "#txn = :txn"
# A transaction in progress takes seconds; a caller that waits longer gets an error and tries again.
_WAITS = 12


def marked(item: Item) -> str | None:
    return item["txn"]["S"] if "txn" in item else None


def resolve(table: Table, items: Mapping[Key, Item]) -> dict[Key, Item]:
    """Head items as a reader shall see them: marked ones give way to what their transaction decided, gravestones to nothing."""
    items = {key: item for key, item in items.items() if GRAVESTONE not in item}
    open_marks = {key: item["txn"]["S"] for key, item in items.items() if "txn" in item}
    if not open_marks:
        return items
    decided = states(table, open_marks.values())
    seen = {key: item for key, item in items.items() if key not in open_marks}
    replaced: list[Key] = []
    for key, transaction in open_marks.items():
        item = items[key]
        if "made" in item:
            if decided[transaction] == COMMITTED:
                seen[key] = item
        elif decided[transaction] == COMMITTED:
            replaced.append((key[0], keys.staged_sort(transaction)))
        else:
            seen[key] = item
    staged = table.get_many(replaced)
    for pk, sort in replaced:
        # The transaction was settled between our two reads: the head itself is now the new version.
        item = staged.get((pk, sort)) or table.get((pk, keys.HEAD)) or {}
        if item and GRAVESTONE not in item:
            seen[pk, keys.HEAD] = item | {"sk": {"S": keys.HEAD}}
    return seen


def current(table: Table, items: Mapping[Key, Item]) -> dict[str, Head]:
    """The current versions, by resource, as a reader of head items must see them."""
    return {pk: heads.from_item(item) for (pk, _), item in resolve(table, items).items()}


def clear(table: Table, pk: str) -> bool:
    """Removes the mark of a finished or expired transaction from a head or claim; waits for one in progress.

    True if there was one: what was read before may be current after all. False if there is none.
    """
    for attempt in range(_WAITS):
        item = table.get((pk, keys.HEAD))
        transaction = marked(item) if item else None
        if item is None or transaction is None:
            return attempt > 0
        state, expired = state_now(table, transaction)
        if state == PENDING and expired:
            decide(table, transaction, ABORTED)
            state, _ = state_now(table, transaction)
        if state != PENDING:
            settle(table, transaction, state, items={(pk, keys.HEAD): item})
            table.put_many([], [(pk, keys.staged_sort(transaction))])
            return True
        pause(attempt + 3)
    return True


def settle(table: Table, transaction: str, state: str, *, items: Mapping[Key, Item]) -> None:
    """Rolls marked items forward or back, each on condition that it still has the mark; a faster process did the same.

    The caller deletes the staged heads when no mark can lead a reader to them any more.
    """
    values = {":txn": {"S": transaction}}
    pairs = {(key[0], keys.staged_sort(transaction)): key for key, item in items.items() if _replaces(item)}
    staged = table.get_many(pairs) if pairs else {}
    actions: list[Item] = []
    for key, item in items.items():
        if marked(item) != transaction:
            continue
        if state == COMMITTED and not _replaces(item):
            actions.append(table.update_action(key, "REMOVE #txn, #made", values, condition=MARKED))
        elif state == COMMITTED:
            new = staged.get((key[0], keys.staged_sort(transaction)))
            if new:
                actions.append(table.put_action(head_counts.settled(new, item), MARKED, values))
        elif _replaces(item):
            actions.append(table.update_action(key, "REMOVE #txn", values, condition=MARKED))
        else:
            actions.append(table.delete_action(key, MARKED, values))
    table.write_each(actions)


def made(pk: str, transaction: str) -> Item:
    """The head that a transaction has made of a resource, as far as `settle` asks."""
    return key_of((pk, keys.HEAD)) | {"txn": {"S": transaction}, "made": {"BOOL": True}}


def _replaces(item: Item) -> bool:
    """Whether the marked item is an old version with a staged one beside it."""
    return "made" not in item
