"""Finishing what a process left behind when it died: the net below stage, commit and settle."""

from __future__ import annotations

from bulkhead.store import large, transactions
from bulkhead.store.table import Table


def sweep(table: Table, everything: bool = False) -> int:
    """Abort the transactions that outlived their lease, and finish all that are decided. Returns how many were finished.

    `everything` aborts all that are not decided: for a process that knows itself the only one (the local server, as it starts).
    """
    finished = 0
    for transaction in transactions.open_transactions(table):
        state, expired = transactions.state_now(table, transaction)
        if state == transactions.PENDING and (expired or everything):
            transactions.decide(table, transaction, transactions.ABORTED)
            state, _ = transactions.state_now(table, transaction)
        if state != transactions.PENDING:
            large.finish(table, transaction)
            finished += 1
    return finished
