"""Writes in three steps, stage, commit, settle, so that a crash anywhere leaves the old state or the new one.

stage    Writes new index entries, and copies of the versions that will be superseded. Invisible, idempotent.
commit   Replaces the heads, on condition that each is still the one that was read: one conditional write for one head, one
                  TransactWriteItems for up to 100, `large.commit` for more.
settle   Removes entries that the new version does not need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.errors import ClaimTaken, Conflict, DoesNotFit, MultipleMatches, VersionConflict
from bulkhead.fhir import dates
from bulkhead.store import (
    account_commits,
    active_months,
    date_months,
    heads,
    identifiers,
    keys,
    large,
    staging,
    transaction_marks,
)
from bulkhead.store.bodies import OVERHEAD, Bodies, added, too_late
from bulkhead.store.heads import Claim, Grants, Head, Inherit, Receipt, Write
from bulkhead.store.identifiers import Guard
from bulkhead.store.pre_commit import Between
from bulkhead.store.table import TRANSACT_BYTES, TRANSACT_LIMIT, ConditionFailed, Item, Table, item_key
from bulkhead.store.throttling import pause

if TYPE_CHECKING:
    from bulkhead.settings import Settings

_ATTEMPTS = 5


def commit(
    table: Table,
    bodies: Bodies,
    settings: Settings,
    *,
    writes: Sequence[Write],
    claims: Sequence[Claim] = (),
    inherit: Inherit | None = None,
    receipt: Receipt | None = None,
) -> list[Head]:
    """Commits all `writes`, `claims` and the `receipt`, or none. Returns the new heads, in the order of `writes`.

    `bodies` stores the large ones. `inherit` is called between staging and committing and sets each write's `inherited`:
    a later propagation to a target finds these resources in the index; an earlier one has left its accounts to read.
    VersionConflict where a base is no longer current, ClaimTaken where another resource owns a claim's condition, JobMovedOn,
    MultipleMatches where too many resources have the identifier of a claim (`Guard.look`), DoesNotFit.
    """
    updated = dates.now()
    bodies.offload(writes, settings.body_limit)
    guard = identifiers.guard(table, writes, claims)
    owned = [claim for claim in claims if claim.unique is None]
    between = Between(table, inherit, guard)
    others = 2 * len(owned) + guard.room + len(added(writes)) + (receipt.size if receipt else 0)
    new = None
    goes_on = receipt is not None and receipt.lineage is not None and bool(receipt.lineage.former)
    try:
        active_months.note(table, {write.key.partition("/")[0] for write in writes}, updated)
        date_months.note(table, writes)
        if not goes_on and not _is_large(writes, others):
            new = _commit_at_once(
                table, bodies, writes, claims=owned, guard=guard, between=between, updated=updated, receipt=receipt
            )
        if new is None:
            new = large.commit(
                table,
                bodies,
                writes,
                lease=settings.transaction_lease,
                claims=owned,
                guard=guard,
                between=between,
                updated=updated,
                receipt=receipt,
            )
    except Exception:
        staging.afterwards(lambda: bodies.take_back(writes))
        raise
    staging.afterwards(lambda: staging.settle(table, writes), writes=len(writes))
    staging.afterwards(lambda: _inherit_again(table, writes, new, between=between), writes=len(writes))
    return new


def _is_large(writes: Sequence[Write], others: int) -> bool:
    """Whether `writes`, with `others` other items, exceed one TransactWriteItems."""
    if len(writes) + others > TRANSACT_LIMIT:
        return True
    return sum(len(write.body or b"") + OVERHEAD for write in writes) > TRANSACT_BYTES


def _inherit_again(table: Table, writes: Sequence[Write], new: list[Head], *, between: Between) -> None:
    """After a late commit: gives the new heads the current accounts of their targets, and puts the changed heads into `new`.

    Also where another writer has changed only the accounts meanwhile, and so kept what was inherited. One who wrote the content has read
    the targets since.
    """
    left = {n: new[n] for n in between.again(writes) if new[n].body is not None}
    former = {n: head.inherited_grants for n, head in left.items()}
    for attempt in range(_ATTEMPTS):
        given = [_given(head, former[n], writes[n].inherited_grants) for n, head in left.items()]
        # One whose answer was lost has been written.
        changed = [write for write in given if write.base and write.inherited_grants != write.base.inherited_grants]
        conflicts = account_commits.commit_each(table, changed)
        items = table.get_many((head.key, keys.HEAD) for head in left.values())
        now = {n: items.get((head.key, keys.HEAD)) for n, head in left.items()}
        found = {n: heads.from_item(item) for n, item in now.items() if item and heads.GRAVESTONE not in item}
        for n, head in found.items():
            new[n] = head
        left = {n: head for n, head in found.items() if head.key in conflicts and head.body == writes[n].body}
        if not left:
            return
        pause(attempt)
        between.anew(writes)


def _given(head: Head, former: Mapping[str, Grants], given: Mapping[str, Grants]) -> Write:
    """The write that gives a head what its targets pass on now, where that is not what they did."""
    moved = {root: given.get(root, {}) for root in former.keys() | given.keys() if former.get(root) != given.get(root)}
    inherited = {} if head.sealed else head.inherited_grants | moved
    return replace(heads.accounts_write(head, inherited), method=head.method)


def _commit_at_once(
    table: Table,
    bodies: Bodies,
    writes: Sequence[Write],
    *,
    claims: Sequence[Claim],
    guard: Guard,
    between: Between,
    updated: str,
    receipt: Receipt | None,
) -> list[Head] | None:
    """Commits with one request. None, and nothing is written, where that has no room: for what the resources inherit, or to watch all
    that has the identifiers of the claims.
    """
    # Reserved first, so that of several conditional writers only one stages entries that the others would wait for.
    guard.reserve()
    stored = bodies.checks(writes)
    try:
        staging.stage(table, writes)
        taken = len(writes) + 2 * len(claims) + (receipt.size if receipt else 0) + len(stored) + len(guard.partitions)
        checks = guard.look(TRANSACT_LIMIT - taken)
        if guard.unwatched:
            guard.release()
            return None
        between(writes)
        new = [write.head(updated) for write in writes]
        heads.require_fitting(new)
        if len(new) > 1 and sum(map(heads.size, new)) > TRANSACT_BYTES:
            # Nobody knew before how much they inherit.
            guard.release()
            return None
        actions = [staging.head_action(table, write, head) for write, head in zip(writes, new, strict=True)]
        actions += [staging.claim_action(table, claim) for claim in claims]
        actions += receipt.actions(table, new) if receipt else []
        actions += stored + guard.actions() + checks
        # Nothing is asked of these: they never fail.
        actions += [table.put_action(item) for item in staging.claim_pointers(claims)]
        accounts = [action for write in writes for action in staging.account_actions(table, write)]
        if len(actions) + len(accounts) <= TRANSACT_LIMIT:
            # Account entries are part of the commit: they are known only now, and a separate request would cost a round trip.
            actions += accounts
        else:
            table.write_each(accounts)
        _write(table, actions, writes, claims=claims, guard=guard, receipt=receipt)
        if guard.shared:
            staging.afterwards(guard.tidy)
    except (Conflict, MultipleMatches, DoesNotFit):
        # Nothing was written, and our fresh ids serve one attempt only: nobody else uses what was staged for them.
        staging.afterwards(guard.release)
        staging.afterwards(lambda: staging.drop(table, [write for write in writes if write.fresh]))
        raise
    return new


def _write(
    table: Table,
    actions: Sequence[Item],
    writes: Sequence[Write],
    *,
    claims: Sequence[Claim],
    guard: Guard,
    receipt: Receipt | None,
) -> None:
    """Commits up to 100 items. If a large transaction left its mark on one of them, clears it away and repeats the commit."""
    first = len(writes) + len(claims) + (receipt.size if receipt else 0)
    stored = range(first, first + len(added(writes)))
    ends = range(stored.stop, stored.stop + len(guard.partitions))
    for attempt in range(_ATTEMPTS):
        try:
            table.write(actions)
            return
        except ConditionFailed as error:
            if _done_already(table, actions):
                return
            failed = error.failed[0]
            if failed >= len(writes) + len(claims):
                # Others, from whom the caller is fenced off, may hold reservations too: these stay.
                if set(ends).issuperset(error.failed) and (shared := guard.shared_actions()):
                    actions = [*actions[: ends.start], *shared, *actions[ends.stop :]]
                    continue
                if failed in stored:
                    raise too_late() from None
                raise _overtaken(failed - len(writes) - len(claims), writes, guard, receipt=receipt) from None
            conflict = explain(failed, writes, claims)
            if not transaction_marks.clear(table, staging.blocked(conflict)):
                raise conflict from None
        pause(attempt)
    raise Conflict("a large transaction holds this resource: send the request again")


def _done_already(table: Table, actions: Sequence[Item]) -> bool:
    """Whether a single write of a head failed only because its first attempt succeeded and the answer was lost."""
    if len(actions) > 1:
        return False  # TransactWriteItems carries a token of its own against that
    ((_, written),) = actions[0].items()
    if "Item" in written:
        return _unordered(table.get(item_key(written["Item"]))) == _unordered(written["Item"])
    # A change of accounts says when it was made and by which version, so that no other writer's is equal.
    item = table.get(item_key(written["Key"])) or {}
    values = {name[1:]: value for name, value in written["ExpressionAttributeValues"].items()}
    expected = {name: value for name, value in values.items() if name not in ("base", "flagged")}
    return _unordered({name: item.get(name) for name in expected}) == _unordered(expected)


def _unordered(item: Item | None) -> Item | None:
    """An item whose sets compare as sets."""
    return item and {name: frozenset(value["SS"]) if value and "SS" in value else value for name, value in item.items()}


def explain(failed: int, writes: Sequence[Write], claims: Sequence[Claim]) -> VersionConflict | ClaimTaken:
    """The error for the failed condition of action number `failed`; `writes` come first, then `claims`."""
    if failed < len(writes):
        return VersionConflict(writes[failed].key)
    return ClaimTaken(claims[failed - len(writes)].condition, None)


def _overtaken(failed: int, writes: Sequence[Write], guard: Guard, *, receipt: Receipt | None) -> Conflict:
    """The error for a failed condition after those: of the receipt, then of the guard, then of account entries."""
    if receipt and failed < receipt.size:
        return receipt.refusal()
    return guard.overtaken() if guard.claims else VersionConflict(writes[0].key)
