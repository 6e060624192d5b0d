"""How the next delivery of a job goes on with what a dead one staged: its large transaction takes over the fresh ids of the dead one's.

Nearly all that a large transaction stages lies under ids that the server has just made. The ids of a job's transaction derive from a seed
that its item keeps. The next delivery prepares the bundle again with the same seed, from the store as it is now: conditions, bases,
accounts, references. One write begins its transaction, has the job name it, and takes over the former one (PENDING -> TAKEN_OVER),
or does none of the three. Then it stages what is not there yet, or is there with other content.

The former worker may be alive, and as late as it likes. None of its writes does harm:

- It cannot commit: its transaction is decided. What it marks means nothing (`transaction_marks`), whoever meets it.
- It writes items under fresh ids only where there are none (`Table.put_new`). So it replaces no head, lowers no version of an entry, and
  narrows no `via`. Where it comes after a later version that has removed an entry, it leaves a stale hint, as any slow writer may.
- It removes nothing. What a transaction staged is removed once it is ABORTED, and nobody takes over one that is; or, of what the
  heir has no use for, once the heir is decided, and nobody takes over such a one either (`large.finish`).

If others have aborted the former one, because its lease ended, the delivery starts again, under a new seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from bulkhead.errors import Conflict, VersionConflict
from bulkhead.store import keys, staging, transactions
from bulkhead.store.heads import Lineage, Write
from bulkhead.store.keys import Entry, Key
from bulkhead.store.table import ConditionFailed, Item, Table, item_key
from bulkhead.store.transactions import FRESH

if TYPE_CHECKING:
    from bulkhead.store.heads import Receipt
    from bulkhead.store.jobs import Job


def fresh_id(seed: str, entry: int) -> str:
    """The id of the resource that entry number `entry` of a bundle creates."""
    return str(uuid5(UUID(seed), str(entry)))


def lineage(table: Table, job: Job, lease: float) -> Lineage | None:
    """The lineage by which an attempt of `job` goes on with the large transaction of the last one; None where it has to start anew.

    The transaction is not to be aborted for another `lease` seconds.
    """
    if not job.transaction:
        return None
    state, found = transactions.lineage(table, job.transaction)
    if state != transactions.PENDING or found is None:
        return None
    try:
        transactions.renew(table, job.transaction, lease)
    except ConditionFailed:
        return None
    return Lineage(found.seed, (*found.former, job.transaction))


def begin(
    table: Table, members: Sequence[str], lease: int, *, entries: Sequence[Key], receipt: Receipt | None
) -> tuple[str, FreshIds]:
    """Begins a large transaction (`transactions.begin`), which takes over the last one of its lineage, if there is one.

    VersionConflict where that was aborted meanwhile, JobMovedOn where yet another delivery has taken up the job; then nothing was begun.
    """
    its = receipt.lineage if receipt else None
    if receipt is None or its is None or not its.former:
        transaction = transactions.begin(table, members, lease, entries=entries, lineage=its)
        return transaction, FreshIds(table, transaction, its)
    last = its.former[-1]
    try:
        transaction = transactions.begin(
            table,
            members,
            lease,
            entries=entries,
            lineage=its,
            together=lambda transaction: [
                transactions.take_over(table, last),
                *receipt.succession(table, transaction),
            ],
        )
    except ConditionFailed as error:
        if error.failed == (1,):
            raise VersionConflict(keys.transaction_key(last)) from None
        raise receipt.refusal() from None
    return transaction, FreshIds(table, transaction, its)


class FreshIds:
    """The items of one large transaction under fresh ids: all its own, unless it has a `lineage`."""

    def __init__(self, table: Table, transaction: str, lineage: Lineage | None) -> None:
        self._table, self._transaction, self._lineage = table, transaction, lineage
        self._there: dict[Key, bool] = {}
        """The items that earlier transactions of the lineage have there, and of an entry whether it is as it would be staged now."""
        self._accounts: dict[Key, Item] = {}
        """Entries of accounts among them: what the resources inherit is known later."""

    @property
    def former(self) -> tuple[str, ...]:
        """The transactions that it has taken over."""
        return self._lineage.former if self._lineage else ()

    def read(self, writes: Sequence[Write]) -> None:
        """Reads what earlier transactions of the lineage have under the fresh ids of `writes`."""
        used = {member for one in self.former for member in transactions.members(self._table, one)[0]}
        again = [write for write in writes if write.fresh and FRESH + write.key in used]
        for there, accounts in self._table.parallel(self._read, again):
            self._there |= there
            self._accounts |= accounts
        wanted = {key: write for write in again for key in staging.added(write) if keys.is_identifier(key)}
        for key, item in self._table.get_many(wanted).items():
            self._there[key] = _is_staged(item, wanted[key], ({}, frozenset()))

    def _read(self, write: Write) -> tuple[dict[Key, bool], dict[Key, Item]]:
        """Reads the partition of one resource. Keeps no items that need not be kept: there may be a million."""
        wanted = staging.added(write)
        there, accounts = {}, {}
        for item in self._table.query(write.key, keys.HEAD, keys.ENTRY):
            key = item_key(item)
            there[key] = key in wanted and _is_staged(item, write, wanted[key])
            if key[1].startswith(keys.ACCOUNT):
                accounts[key] = item
        return there, accounts

    def has_account(self, write: Write, key: Key, entry: Entry) -> bool:
        """Whether the entry of an account for the new version of `write` was staged, just as it would be now."""
        return key in self._accounts and _is_staged(self._accounts[key], write, entry)

    def stage(self, others: Sequence[Item], entries: Sequence[tuple[Write, Key, Entry]]) -> None:
        """Puts index entries under fresh ids, and `others`, which only this transaction writes."""
        amiss = [given for given in entries if not self._there.get(given[1], True)]
        missing = [given for given in entries if given[1] not in self._there]
        amiss += [missing[n] for n in self._put(others, [staging.entry_item(*given) for given in missing])]
        actions = [staging.stage_action(self._table, write, key, entry=entry) for write, key, entry in amiss]
        if lost := self._table.write_each(actions):
            raise VersionConflict(amiss[min(lost)][0].key)

    def put_heads(self, others: Sequence[Item], made: Sequence[Item]) -> None:
        """Puts the marked heads of resources under fresh ids, and `others`, which only this transaction writes. Conflict."""
        missing = [item for item in made if item_key(item) not in self._there]
        again = [item for item in made if item_key(item) in self._there]
        again += [missing[n] for n in self._put(others, missing)]
        marks = {f":txn{n}": {"S": one} for n, one in enumerate((self._transaction, *self.former))}
        condition = f"{staging.NEW} OR #txn IN ({', '.join(marks)})"
        try:
            # A plain request for each, at half the units: only a delivery that takes over has many.
            self._table.parallel(lambda item: self._table.put(item, condition, marks), again)
        except ConditionFailed:
            raise Conflict("another delivery has taken over this transaction") from None

    def _put(self, others: Sequence[Item], own: Sequence[Item]) -> list[int]:
        """Puts `others`, and of `own` those that are not there yet; the positions of the rest."""
        if self._lineage is None:
            self._table.put_many([*others, *own])
            return []
        there = self._table.put_new([*others, *own])
        # Only this transaction writes these: an earlier attempt of its own may have had others.
        self._table.put_many([others[n] for n in there if n < len(others)])
        return [n - len(others) for n in sorted(there) if n >= len(others)]

    def settle(self, writes: Sequence[Write]) -> None:
        """Removes entries that earlier transactions of the lineage staged, and the committed `writes` do not need."""
        if not self._there:
            return
        needed: set[Key] = set()
        for write in writes:
            needed |= staging.added(write).keys()
            needed |= {keys.account_entry(write.key, one)[0] for one in staging.listed_accounts(write.head(""))}
        left = [key for key in self._there if key[1].startswith((keys.ENTRY, keys.ACCOUNT)) and key not in needed]
        version = {":v": {"N": "1"}}
        self._table.write_each([self._table.delete_action(key, staging.NOT_LATER, version) for key in left])


def _is_staged(item: Item, write: Write, entry: Entry) -> bool:
    """Whether an item is what `entry` would be for the new version of `write`."""
    attributes, via = entry
    return (
        # One that is noted the integrity check is about to remove.
        "noted" not in item
        and item["v"] == {"N": str(write.version)}
        and all(item.get(name) == {"S": text} for name, text in attributes.items())
        and via <= frozenset(item["via"]["SS"] if "via" in item else ())
    )
