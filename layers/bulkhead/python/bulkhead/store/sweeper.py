"""Finishes the work of processes that died: it catches what stage, commit and settle left."""

from __future__ import annotations

import logging

from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.errors import Unavailable
from bulkhead.store import large, transactions
from bulkhead.store.table import Table

logger = logging.getLogger(__name__)


def abort(table: Table, *, everything: bool = False) -> list[str]:
    """Aborts the open transactions that outlived their lease; returns all decided ones that wait to be finished.

    `everything` aborts all undecided ones, but those that the next delivery of a job may take over: for the only process on the table (the
    local server, when it starts).
    """
    decided = []
    for _, transaction in list(transactions.open_transactions(table)):
        if everything and transactions.lineage(table, transaction)[1] is None:
            transactions.decide(table, transaction, transactions.ABORTED)
        else:
            transactions.abort_expired(table, transaction)
        if transactions.state_now(table, transaction)[0] != transactions.PENDING:
            decided.append(transaction)
    return decided


def sweep(table: Table) -> int:
    """Aborts transactions that outlived their lease, and finishes all decided ones. Returns how many it finished.

    One that cannot be finished does not keep the others from it: its error is raised once they are.
    """
    finished, failed = 0, None
    for transaction in abort(table):
        try:
            large.finish(table, transaction)
        except (BotoCoreError, ClientError, Unavailable) as error:
            logger.error(
                "a transaction cannot be finished", extra={"transaction": transaction, "error": type(error).__name__}
            )
            failed = failed or error
        else:
            finished += 1
    if failed:
        raise failed
    return finished
