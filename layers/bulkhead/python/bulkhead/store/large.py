"""Commits more heads than one TransactWriteItems takes: thousands of marked heads, and one write that decides them all."""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.errors import ClaimTaken, Conflict, VersionConflict
from bulkhead.store import (
    builtin,
    head_counts,
    heads,
    keys,
    reservations,
    staging,
    takeover,
    transaction_marks,
    transactions,
)
from bulkhead.store.bodies import Bodies
from bulkhead.store.heads import Claim, Head, Receipt, Write
from bulkhead.store.identifiers import Guard
from bulkhead.store.keys import Key
from bulkhead.store.pre_commit import Between
from bulkhead.store.table import TRANSACT_BYTES, TRANSACT_LIMIT, ConditionFailed, Item, Table, pieces, weight
from bulkhead.store.takeover import FreshIds
from bulkhead.store.throttling import pause
from bulkhead.store.transactions import FRESH

_ATTEMPTS = 5
# Seconds of lease per write, added to the setting's: the slowest import so far made 100 resources per second.
_LEASE_PER_WRITE = 0.01


def commit(
    table: Table,
    bodies: Bodies,
    writes: Sequence[Write],
    *,
    lease: int,
    claims: Sequence[Claim],
    guard: Guard,
    between: Between,
    updated: str,
    receipt: Receipt | None = None,
) -> list[Head]:
    """Stages and commits any number of `writes` and `claims` and the `receipt`, all or nothing; returns the new heads.

    VersionConflict, ClaimTaken, JobMovedOn, DoesNotFit as `commits.commit`; Conflict if staging outlived the lease and another writer aborted it.
    """
    members = [(FRESH if write.fresh else "") + write.key for write in writes]
    members += [keys.claim_key(claim.condition) for claim in claims] + guard.partitions
    fresh = [key for write in writes if write.fresh for key in staging.added(write) if keys.is_identifier(key)]
    seconds = lease + int(len(writes) * _LEASE_PER_WRITE)
    transaction, ids = takeover.begin(table, members, seconds, entries=fresh, receipt=receipt)
    guard.transaction = transaction
    try:
        with transactions.renewed(table, transaction, seconds):
            for former in ids.former:
                _let_go(table, former, transactions.members(table, former)[0])
            if receipt and not ids.former:
                receipt.begun(table, transaction)
            ids.read(writes)
            staging.stage(table, writes, ids)
            table.put_many(staging.claim_pointers(claims))
            guard.reserve()
            room = TRANSACT_LIMIT - 1 - (receipt.size if receipt else 0)
            checks = guard.look(room)
            between(writes)
            new = [write.head(updated) for write in writes]
            heads.require_fitting(new)
            _mark(table, transaction, writes, new=new, claims=claims, ids=ids)
            _mark_again(table, transaction, writes, new=new, between=between, ids=ids)
            bodies.require_standing(transaction, writes)
            if guard.unwatched:
                checks = guard.look(room)
            receipts = receipt.actions(table, new) if receipt else []
            if not transactions.decide(table, transaction, transactions.COMMITTED, checks=[*checks, *receipts]):
                raise _undone(table, transaction, guard, receipt=receipt)
    except Exception:
        # Neither: the commit succeeded, but its answer was lost.
        if transactions.decide(table, transaction, transactions.ABORTED):
            staging.afterwards(lambda: finish(table, transaction), transaction=transaction)
            raise
        if receipt and transactions.state_now(table, transaction)[0] == transactions.TAKEN_OVER:
            raise receipt.refusal() from None
    made = [write.key for write in writes if write.fresh]
    staging.afterwards(lambda: finish(table, transaction, made), transaction=transaction)
    staging.afterwards(lambda: ids.settle(writes), transaction=transaction)
    return new


def _mark_again(
    table: Table, transaction: str, writes: Sequence[Write], *, new: list[Head], between: Between, ids: FreshIds
) -> None:
    """Marking takes its time: what the targets pass on may be something else by now."""
    for _ in range(_ATTEMPTS):
        changed = between.again(writes)
        if not changed:
            break
        for n in changed:
            new[n] = writes[n].head(new[n].updated)
        heads.require_fitting(new[n] for n in changed)
        _mark(table, transaction, [writes[n] for n in changed], new=[new[n] for n in changed], claims=(), ids=ids)


def _undone(table: Table, transaction: str, guard: Guard, *, receipt: Receipt | None) -> Conflict:
    """The reason why a transaction could not be committed. If there may be two, the next attempt finds a job that moved on."""
    if transactions.state_now(table, transaction)[0] == transactions.PENDING:
        if guard.claims:
            return guard.overtaken()
        if receipt:
            return receipt.refusal()
    return Conflict("the transaction took too long and another writer aborted it: send it again")


def _mark(
    table: Table,
    transaction: str,
    writes: Sequence[Write],
    *,
    new: Sequence[Head],
    claims: Sequence[Claim],
    ids: FreshIds,
) -> None:
    """Writes the new heads under the mark: beside the old ones, or as `made` if there was none. Entries of their accounts come first."""
    gained = [(write, key, entry) for write in writes for key, entry in staging.gained_accounts(write)]
    missing = [given for given in gained if not ids.has_account(*given)]
    table.write_each([staging.stage_action(table, write, key, entry=entry) for write, key, entry in missing])
    mark: Item = {"txn": {"S": transaction}}
    made = mark | {"made": {"BOOL": True}}
    beside: list[Item] = []
    fresh: list[Item] = []
    shared: list[tuple[Item, VersionConflict | ClaimTaken]] = []
    for write, head in zip(writes, new, strict=True):
        if write.base is not None and not builtin.is_unwritten(write.base):
            beside.append(heads.to_item(head, keys.staged_sort(transaction)) | head_counts.aside(write))
            condition, values = staging.unchanged(write.base, _CURRENT_OR_MINE)
            values |= {":txn": mark["txn"]}
            action = table.update_action((write.key, keys.HEAD), "SET #txn = :txn", values, condition=condition)
            shared.append((action, VersionConflict(write.key)))
        elif write.fresh:
            fresh.append(heads.to_item(head) | head_counts.of_write(write) | made)
        else:
            item = heads.to_item(head) | head_counts.of_write(write) | made
            action = table.put_action(item, f"{staging.NEW} OR {transaction_marks.MARKED}", {":txn": mark["txn"]})
            shared.append((action, VersionConflict(write.key)))
    ids.put_heads(beside, fresh)
    shared += [(staging.claim_action(table, claim, made), ClaimTaken(claim.condition, None)) for claim in claims]
    for batch in pieces(shared, lambda each: weight(each[0]), TRANSACT_LIMIT, room=TRANSACT_BYTES):
        _mark_batch(table, batch)


# `OR mine`: a retry after a lost answer finds its own mark.
_CURRENT_OR_MINE = "#v = :base AND (attribute_not_exists(#txn) OR #txn = :txn)"


def _mark_batch(table: Table, batch: Sequence[tuple[Item, VersionConflict | ClaimTaken]]) -> None:
    """Marks up to 100 items on their conditions. Clears away the marks of dead transactions first."""
    for attempt in range(_ATTEMPTS):
        try:
            table.write([action for action, _ in batch])
            return
        except ConditionFailed as error:
            conflict = batch[error.failed[0]][1]
            if not transaction_marks.clear(table, staging.blocked(conflict)):
                raise conflict from None
        pause(attempt)
    raise Conflict("another large transaction holds one of these resources: send the request again")


def finish(table: Table, transaction: str, made: Sequence[str] = ()) -> None:
    """Rolls everything of a decided transaction forward or back, and closes it. Idempotent: any process may, at any time.

    `made`: those of its members that it has made for certain, and that need not be read.
    Of one that was taken over, the fresh ids are another one's now. That one rolls back what it has no use for.
    """
    state, lineage = transactions.lineage(table, transaction)
    members, entries = transactions.members(table, transaction)
    if state == transactions.TAKEN_OVER:
        _let_go(table, transaction, members)
        return
    own = {*members, *entries}
    for former in lineage.former if lineage else ():
        its_members, its_entries = transactions.members(table, former)
        left = [one for one in its_members if one not in own]
        marked = its_members if state == transactions.ABORTED else left
        staged = [*(key for key in its_entries if key not in own), *_staged(table, left)]
        _roll(table, former, transactions.ABORTED, members=marked, staged=staged)
        transactions.forget_members(table, former)
    staged = [*entries, *_staged(table, members)] if state == transactions.ABORTED else []
    _roll(table, transaction, state, members=members, staged=staged, made=made)
    transactions.forget_members(table, transaction)
    transactions.close(table, transaction)


def _let_go(table: Table, transaction: str, members: Sequence[str]) -> None:
    """Rolls a transaction back that was taken over, and closes it: all but its fresh ids."""
    others = [one for one in members if not one.startswith(FRESH)]
    _roll(table, transaction, transactions.TAKEN_OVER, members=others, staged=())
    transactions.close(table, transaction)


def _roll(
    table: Table,
    transaction: str,
    state: str,
    *,
    members: Sequence[str],
    staged: Sequence[Key],
    made: Sequence[str] = (),
) -> None:
    """Removes what was `staged`, settles the marks on `members`, ends the reservations among these, removes the heads beside them."""
    items = {(member, keys.HEAD): transaction_marks.made(member, transaction) for member in made}
    left = [(member.removeprefix(FRESH), keys.HEAD) for member in members]
    items |= table.get_many(key for key in left if key not in items)
    held = {key: item for key, item in items.items() if transaction_marks.marked(item) == transaction}
    table.put_many([], staged)
    transaction_marks.settle(table, transaction, state, items=held)
    reservations.end_of_transaction(table, transaction, items.values())
    table.put_many([], [(member, keys.staged_sort(transaction)) for member in members if not member.startswith(FRESH)])


def finish_forgotten(table: Table, transaction: str) -> None:
    """Finishes a committed transaction that outlived its lease, for a request that it is in the way of.

    A larger one (`transactions.is_forgotten`) is left to the sweeper, as is one that cannot be finished now: the request goes on.
    """
    if transactions.is_forgotten(table, transaction):
        staging.afterwards(lambda: finish(table, transaction), transaction=transaction)


def _staged(table: Table, members: Sequence[str]) -> list[Key]:
    """The index entries that an aborted transaction staged for ids that nobody else has."""

    def entries(pk: str) -> list[Key]:
        return [(pk, item["sk"]["S"]) for item in table.query(pk, keys.ACCOUNT, keys.ENTRY)]

    fresh = [member.removeprefix(FRESH) for member in members if member.startswith(FRESH)]
    return [key for found in table.parallel(entries, fresh) for key in found]
