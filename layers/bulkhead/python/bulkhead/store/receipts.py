"""Receipts of jobs: the commit itself records that it was made, so that the next attempt of the job knows.

A transaction is one commit, and its receipt is the job's own state: the job is over exactly if the transaction is committed.
A batch is many commits. Each writes a receipt for each of its entries, and an entry with a receipt is never processed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bulkhead.errors import JobMovedOn
from bulkhead.store import jobs, keys, large, transactions
from bulkhead.store.heads import Head, Lineage
from bulkhead.store.jobs import RUNNING, Job
from bulkhead.store.table import Item, Table


@dataclass(frozen=True, slots=True)
class Completion:
    """Sets the job to `state`, on condition that it is running and this attempt is its last.

    `keep` gets the heads of the commit, stores the response that they make, and returns its name and size.
    """

    job: Job
    state: str
    keep: Callable[[Sequence[Head]], tuple[str, int]]
    lineage: Lineage

    @property
    def size(self) -> int:
        return 1

    def succession(self, table: Table, transaction: str) -> list[Item]:
        return [jobs.Jobs(table).change_action(self.job.id, [RUNNING], self.job.attempt, transaction=transaction)]

    def begun(self, table: Table, transaction: str) -> None:
        if not jobs.Jobs(table).change(self.job.id, [RUNNING], self.job.attempt, transaction=transaction):
            raise self.refusal()

    def actions(self, table: Table, new: Sequence[Head]) -> list[Item]:
        result, size = self.keep(new)
        values: dict[str, str | int | float] = {"state": self.state, "result": result, "size": size}
        return [jobs.Jobs(table).change_action(self.job.id, [RUNNING], self.job.attempt, **values)]

    def refusal(self) -> JobMovedOn:
        return JobMovedOn(self.job.id)


@dataclass(frozen=True, slots=True)
class Entries:
    """One receipt for each of the `size` entries of a commit. `contents` makes their responses, by entry, from the heads of the commit."""

    job: Job
    size: int
    contents: Callable[[Sequence[Head]], Mapping[int, str]]

    @property
    def lineage(self) -> None:
        """The next delivery does not know which entries were committed together."""

    def succession(self, table: Table, transaction: str) -> list[Item]:
        """There is none: see `lineage`."""
        return []

    def begun(self, table: Table, transaction: str) -> None:
        """Makes the next attempt of the job wait for this transaction, or for its lease to end."""

    def actions(self, table: Table, new: Sequence[Head]) -> list[Item]:
        return [
            table.put_action(_item(self.job, entry, content), "attribute_not_exists(#pk)")
            for entry, content in self.contents(new).items()
        ]

    def refusal(self) -> JobMovedOn:
        return JobMovedOn(self.job.id)


def _item(job: Job, entry: int, content: str) -> Item:
    return {
        "pk": {"S": keys.job_key(job.id)},
        "sk": {"S": keys.receipt_sort(entry)},
        "content": {"S": content},
        keys.TTL: {"N": str(job.expires)},
    }


def contents(table: Table, job: str) -> dict[int, str]:
    """The responses of finished entries, by entry, as `Entries` received them."""
    found = table.query(keys.job_key(job), keys.RECEIPT, keys.RECEIPT)
    return {int(item["sk"]["S"].removeprefix(keys.RECEIPT)): item["content"]["S"] for item in found}


def abandon(table: Table, job: Job) -> None:
    """Ends the large transaction of an earlier attempt of the job. Once `job` is taken up, that can be aborted or taken over, no more."""
    if job.transaction and transactions.decide(table, job.transaction, transactions.ABORTED):
        large.finish(table, job.transaction)
