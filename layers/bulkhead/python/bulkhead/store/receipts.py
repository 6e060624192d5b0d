"""Receipts of jobs: that a commit was made is written in the commit itself, so that whoever takes the job up again knows.

A transaction is one commit, and its receipt is the job's own state: the job is over exactly where the transaction stands.
A batch is many commits. Each brings a receipt for each of its entries, and an entry that has one is never done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bulkhead.errors import JobMovedOn
from bulkhead.store import jobs, keys, large, transactions
from bulkhead.store.heads import Head
from bulkhead.store.jobs import RUNNING, Job
from bulkhead.store.table import Item, Table


@dataclass(frozen=True, slots=True)
class Completion:
    """The job comes to `state`, on condition that it is running and this attempt is its last.

    `keep` is given the heads of the commit, stores the answer that they make, and tells its name and size.
    """

    job: Job
    state: str
    keep: Callable[[Sequence[Head]], tuple[str, int]]

    @property
    def size(self) -> int:
        return 1

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
    """One receipt for each of the `size` entries of a commit. `contents` makes, of the heads of the commit, their answers by entry."""

    job: Job
    size: int
    contents: Callable[[Sequence[Head]], Mapping[int, str]]

    def begun(self, table: Table, transaction: str) -> None:
        """Whoever takes the job up again waits for this transaction, or for its lease to end."""

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
    """The answers of the entries that are done, by entry, as they were given to `Entries`."""
    found = table.query(keys.job_key(job), keys.RECEIPT, keys.RECEIPT)
    return {int(item["sk"]["S"].removeprefix(keys.RECEIPT)): item["content"]["S"] for item in found}


def abandon(table: Table, job: Job) -> None:
    """End the large transaction that an earlier attempt of the job left behind. Once `job` is taken up, it can only be aborted."""
    if job.transaction and transactions.decide(table, job.transaction, transactions.ABORTED):
        large.finish(table, job.transaction)
