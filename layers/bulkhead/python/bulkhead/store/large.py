"""Commits more heads than one TransactWriteItems takes: thousands of marked heads, and one write that decides them all."""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.errors import ClaimTaken, Conflict, VersionConflict
from bulkhead.store import builtin, heads, keys, reservations, staging, transaction_marks, transactions
from bulkhead.store.bodies import Bodies
from bulkhead.store.heads import Claim, Head, Receipt, Write
from bulkhead.store.identifiers import Guard
from bulkhead.store.keys import Key
from bulkhead.store.pre_commit import Between
from bulkhead.store.table import TRANSACT_BYTES, TRANSACT_LIMIT, ConditionFailed, Item, Table, pieces, weight
from bulkhead.store.throttling import pause

_ATTEMPTS = 5
_FRESH = "+"
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
    members = [(_FRESH if write.fresh else "") + write.key for write in writes]
    members += [keys.claim_key(claim.condition) for claim in claims] + guard.partitions
    fresh = [key for write in writes if write.fresh for key in staging.added(write) if keys.is_identifier(key)]
    seconds = lease + int(len(writes) * _LEASE_PER_WRITE)
    transaction = transactions.begin(table, members, seconds, entries=fresh)
    guard.transaction = transaction
    try:
        with transactions.renewed(table, transaction, seconds):
            if receipt:
                receipt.begun(table, transaction)
            staging.stage(table, writes)
            table.put_many(staging.claim_pointers(claims))
            guard.reserve()
            room = TRANSACT_LIMIT - 1 - (receipt.size if receipt else 0)
            checks = guard.look(room)
            between(writes)
            new = [write.head(updated) for write in writes]
            heads.require_fitting(new)
            _mark(table, transaction, writes, new=new, claims=claims)
            _mark_again(table, transaction, writes, new=new, between=between)
            bodies.require_standing(transaction, writes)
            if guard.unwatched:
                checks = guard.look(room)
            receipts = receipt.actions(table, new) if receipt else []
            if not transactions.decide(table, transaction, transactions.COMMITTED, checks=[*checks, *receipts]):
                raise _undone(table, transaction, guard, receipt=receipt)
    except Exception:
        # Not aborted: the commit succeeded, but its answer was lost.
        if transactions.decide(table, transaction, transactions.ABORTED):
            staging.afterwards(lambda: finish(table, transaction), transaction=transaction)
            raise
    staging.afterwards(lambda: finish(table, transaction), transaction=transaction)
    return new


def _mark_again(table: Table, transaction: str, writes: Sequence[Write], *, new: list[Head], between: Between) -> None:
    """Marking takes its time: what the targets pass on may be something else by now."""
    for _ in range(_ATTEMPTS):
        changed = between.again(writes)
        if not changed:
            break
        for n in changed:
            new[n] = writes[n].head(new[n].updated)
        heads.require_fitting(new[n] for n in changed)
        _mark(table, transaction, [writes[n] for n in changed], new=[new[n] for n in changed], claims=())


def _undone(table: Table, transaction: str, guard: Guard, *, receipt: Receipt | None) -> Conflict:
    """The reason why a transaction could not be committed. If there may be two, the next attempt finds a job that moved on."""
    if transactions.state_now(table, transaction)[0] == transactions.PENDING:
        if guard.claims:
            return guard.overtaken()
        if receipt:
            return receipt.refusal()
    return Conflict("the transaction took too long and another writer aborted it: send it again")


def _mark(
    table: Table, transaction: str, writes: Sequence[Write], *, new: Sequence[Head], claims: Sequence[Claim]
) -> None:
    """Writes the new heads under the mark: beside the old ones, or as `made` if there was none. Entries of their accounts come first."""
    table.write_each([action for write in writes for action in staging.account_actions(table, write)])
    mark: Item = {"txn": {"S": transaction}}
    made = mark | {"made": {"BOOL": True}}
    unshared: list[Item] = []
    shared: list[tuple[Item, VersionConflict | ClaimTaken]] = []
    for write, head in zip(writes, new, strict=True):
        if write.base is not None and not builtin.is_unwritten(write.base):
            unshared.append(heads.to_item(head, keys.staged_sort(transaction)))
            condition, values = staging.unchanged(write.base, _CURRENT_OR_MINE)
            values |= {":txn": mark["txn"]}
            action = table.update_action((write.key, keys.HEAD), "SET #txn = :txn", values, condition=condition)
            shared.append((action, VersionConflict(write.key)))
        elif write.fresh:
            unshared.append(heads.to_item(head) | made)
        else:
            action = table.put_action(
                heads.to_item(head) | made, f"{staging.NEW} OR {transaction_marks.MARKED}", {":txn": mark["txn"]}
            )
            shared.append((action, VersionConflict(write.key)))
    table.put_many(unshared)
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


def finish(table: Table, transaction: str) -> None:
    """Rolls everything of a decided transaction forward or back, and closes it. Idempotent: any process may, at any time."""
    state, _ = transactions.state_now(table, transaction)
    members, entries = transactions.members(table, transaction)
    items = table.get_many((member.removeprefix(_FRESH), keys.HEAD) for member in members)
    held = {key: item for key, item in items.items() if transaction_marks.marked(item) == transaction}
    if state == transactions.ABORTED:
        fresh = [member.removeprefix(_FRESH) for member in members if member.startswith(_FRESH)]
        table.put_many([], [*entries, *_staged(table, fresh)])
    transaction_marks.settle(table, transaction, state, items=held)
    reservations.end_of_transaction(table, transaction, items.values())
    staged = [(member, keys.staged_sort(transaction)) for member in members if not member.startswith(_FRESH)]
    table.put_many([], staged)
    transactions.close(table, transaction)


def finish_forgotten(table: Table, transaction: str) -> None:
    """Finishes a committed transaction that outlived its lease, for a request that it is in the way of.

    A larger one (`transactions.is_forgotten`) is left to the sweeper, as is one that cannot be finished now: the request goes on.
    """
    if transactions.is_forgotten(table, transaction):
        staging.afterwards(lambda: finish(table, transaction), transaction=transaction)


def _staged(table: Table, fresh: Sequence[str]) -> list[Key]:
    """The index entries that an aborted transaction staged for ids that nobody else has."""

    def entries(pk: str) -> list[Key]:
        return [(pk, item["sk"]["S"]) for item in table.query(pk, keys.ACCOUNT, keys.ENTRY)]

    return [key for found in table.parallel(entries, fresh) for key in found]
