"""Finishes the work of processes that died: it catches what stage, commit and settle left."""

from __future__ import annotations

from bulkhead.store import large, transactions
from bulkhead.store.table import Table


def abort(table: Table, *, everything: bool = False) -> list[str]:
    """Aborts the open transactions that outlived their lease; returns all decided ones that wait to be finished.

    `everything` aborts all undecided ones: for the only process on the table (the local server, when it starts).
    """
    decided = []
    for _, transaction in list(transactions.open_transactions(table)):
        if everything:
            transactions.decide(table, transaction, transactions.ABORTED)
        else:
            transactions.abort_expired(table, transaction)
        if transactions.state_now(table, transaction)[0] != transactions.PENDING:
            decided.append(transaction)
    return decided


def sweep(table: Table) -> int:
    """Aborts transactions that outlived their lease, and finishes all decided ones. Returns how many it finished."""
    decided = abort(table)
    for transaction in decided:
        large.finish(table, transaction)
    return len(decided)
