"""Finishing what a process left behind when it died: the net below stage, commit and settle."""

from __future__ import annotations

from bulkhead.store import large, transactions
from bulkhead.store.table import Table


def abort(table: Table, everything: bool = False) -> list[str]:
    """Abort the open transactions that outlived their lease; returns all that are decided and wait to be finished.

    `everything` aborts all that are not decided: for a process that knows itself the only one (the local server, as it starts).
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
    """Abort what outlived its lease, and finish all that is decided. Returns how many transactions were finished."""
    decided = abort(table)
    for transaction in decided:
        large.finish(table, transaction)
    return len(decided)
