"""Heads that large transactions hold, for propagation: it meets many at once, and does not wait for each."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.store import keys, transaction_marks, transactions
from bulkhead.store.keys import Key
from bulkhead.store.table import Item, Table
from bulkhead.store.transactions import ABORTED, PENDING


def held(table: Table, resources: Iterable[str]) -> bool:
    """Whether a transaction in progress holds any of `resources`, including new ones that it makes."""
    states = (transactions.state_now(table, transaction) for transaction in _held(table, resources))
    return any(state == PENDING and not expired for state, expired in states)


def release(table: Table, resources: Iterable[str]) -> None:
    """Removes the marks of transactions that are decided, or have outlived their lease, from `resources`. Idempotent."""
    for transaction, items in _held(table, resources).items():
        state, expired = transactions.state_now(table, transaction)
        if state == PENDING and expired:
            transactions.decide(table, transaction, ABORTED)
            state, _ = transactions.state_now(table, transaction)
        if state != PENDING:
            transaction_marks.settle(table, transaction, state, items=items)


def _held(table: Table, resources: Iterable[str]) -> dict[str, dict[Key, Item]]:
    found: dict[str, dict[Key, Item]] = {}
    for key, item in table.get_many((resource, keys.HEAD) for resource in resources).items():
        transaction = transaction_marks.marked(item)
        if transaction:
            found.setdefault(transaction, {})[key] = item
    return found
