"""Writing: stage, commit, settle, so that a crash anywhere leaves the old state or the new one.

stage    New index entries, and a copy of the version about to be superseded. Invisible, idempotent.
commit   The heads flip on condition that each is still the one that was read: one conditional write for one head, one
         TransactWriteItems for up to 100, `large.commit` for more.
settle   Entries that the new version has no use for go away.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bulkhead.errors import ClaimTaken, Conflict, VersionConflict
from bulkhead.model import dates
from bulkhead.store import each, heads, identifiers, keys, large, marks, months, staging
from bulkhead.store.heads import Claim, Head, Inherit, Write
from bulkhead.store.identifiers import Guard
from bulkhead.store.table import TRANSACT_BYTES, TRANSACT_LIMIT, ConditionFailed, Item, Table, pause

if TYPE_CHECKING:
    from bulkhead.settings import Settings

Bodies = Callable[[str, bytes], None]

_ATTEMPTS = 5
# Less than the second for which a propagation looks for writers that have staged and not committed.
_LATE = 0.8
# What a head's item has beside its body, generously.
_OVERHEAD = 1000


def commit(
    table: Table,
    put_body: Bodies,
    settings: Settings,
    writes: Sequence[Write],
    claims: Sequence[Claim] = (),
    inherit: Inherit | None = None,
) -> list[Head]:
    """Make all `writes` and `claims` true, or none. Returns the new heads, in the order of `writes`.

    `put_body(key, data)` stores a large body. `inherit` is called between staging and committing and sets each write's `inherited`:
    whoever propagates to a target later finds these resources in the index; whoever did before has left its accounts to read.
    VersionConflict where a base is no longer current, ClaimTaken where another resource owns a claim's condition.
    """
    updated = dates.now()
    offload(writes, put_body, settings.body_limit)
    months.note(table, {write.key.partition("/")[0] for write in writes}, updated)
    guard = identifiers.guard(table, writes, claims)
    owned = [claim for claim in claims if claim.unique is None]
    between = _Between(table, inherit, guard)
    if _is_large(writes, len(owned) + guard.room):
        new = large.commit(table, settings.transaction_lease, writes, owned, guard, between, updated)
    else:
        new = _commit_at_once(table, writes, owned, guard, between, updated)
    staging.afterwards(lambda: staging.settle(table, writes), writes=len(writes))
    if inherit and between.late:
        staging.afterwards(lambda: _inherit_again(table, writes, new, inherit), writes=len(writes))
    return new


def _is_large(writes: Sequence[Write], others: int) -> bool:
    """Whether `writes`, together with so many other items, are more than one TransactWriteItems takes."""
    if len(writes) + others > TRANSACT_LIMIT:
        return True
    return sum(len(write.body or b"") + _OVERHEAD for write in writes) > TRANSACT_BYTES


class _Between:
    """What is read between staging and committing, in one request: the accounts of targets, and reservations of identifiers."""

    def __init__(self, table: Table, inherit: Inherit | None, guard: Guard) -> None:
        self._table, self._inherit, self._guard = table, inherit, guard
        self._asked = time.monotonic()
        self._unread: list[str] = []
        self._reservations: list[Item] = []

    def __call__(self, writes: Sequence[Write]) -> None:
        """Set what `writes` inherit, and take away the reservations of others on what they identify themselves by."""
        self._asked = time.monotonic()
        own = set(self._guard.partitions)
        self._unread = [partition for partition in identifiers.reservable(writes) if partition not in own]
        if self._inherit:
            self._inherit(writes, self._read)
        if self._unread:
            self._read(())
        identifiers.take_away(self._table, self._reservations)

    def _read(self, wanted: Iterable[str]) -> dict[str, Head]:
        partitions, self._unread = set(self._unread), []
        items = self._table.get_many((key, keys.HEAD) for key in (*wanted, *partitions))
        self._reservations += [item for key, item in items.items() if key[0] in partitions]
        return marks.current(self._table, {key: item for key, item in items.items() if key[0] not in partitions})

    @property
    def late(self) -> bool:
        """Whether a propagation may have come and gone since: it looks for unfinished writers for a second."""
        return time.monotonic() - self._asked > _LATE


def _inherit_again(table: Table, writes: Sequence[Write], new: list[Head], inherit: Inherit) -> None:
    """After a commit that came late: give the new heads what their targets have now, and put the changed ones into `new`."""
    former = [dict(write.inherited) for write in writes]
    inherit(writes, lambda wanted: marks.current(table, table.get_many((key, keys.HEAD) for key in wanted)))
    changed = {
        head.key: Write(
            head.key,
            head,
            head.body,
            explicit=head.explicit,
            inherited=dict(write.inherited),
            propagate=head.propagate,
            method=head.method,
        )
        for write, head, before in zip(writes, new, former, strict=True)
        if head.body is not None and dict(write.inherited) != before
    }
    each.commit_each(table, list(changed.values()))
    items = table.get_many((key, keys.HEAD) for key in changed)
    for n, head in enumerate(new):
        if item := items.get((head.key, keys.HEAD)):
            new[n] = heads.from_item(item)


def _commit_at_once(
    table: Table,
    writes: Sequence[Write],
    claims: Sequence[Claim],
    guard: Guard,
    between: Callable[[Sequence[Write]], None],
    updated: str,
) -> list[Head]:
    staging.stage(table, writes)
    guard.reserve()
    try:
        between(writes)
        checks = guard.look()
        new = [write.head(updated) for write in writes]
        actions = [staging.head_action(table, write, head) for write, head in zip(writes, new, strict=True)]
        actions += [staging.claim_action(table, claim) for claim in claims]
        actions += guard.actions() + checks
        accounts = [action for write in writes for action in staging.account_actions(table, write)]
        if len(actions) + len(accounts) <= TRANSACT_LIMIT:
            # Account entries ride along: they are known only now, and a request of their own would cost a round trip.
            actions += accounts
        else:
            table.write_each(accounts)
        _write(table, actions, writes, claims, guard)
    except Conflict:
        # Nothing was written, and an id of our own is used for one attempt only: what was staged for it is nobody's.
        staging.afterwards(guard.release)
        staging.afterwards(lambda: staging.drop(table, [write for write in writes if write.fresh]))
        raise
    return new


def _write(
    table: Table, actions: Sequence[Item], writes: Sequence[Write], claims: Sequence[Claim], guard: Guard
) -> None:
    """The commit of up to 100 items. A mark that a large transaction left on one of them is cleared away, and the commit tried again."""
    for attempt in range(_ATTEMPTS):
        try:
            table.write(actions)
            return
        except ConditionFailed as error:
            if _done_already(table, actions):
                return
            failed = error.failed[0]
            if len(writes) + len(claims) <= failed and guard.claims:
                raise guard.overtaken() from None
            conflict = explain(failed, writes, claims)
            if not marks.clear(table, staging.blocked(conflict)):
                raise conflict from None
        pause(attempt)
    raise Conflict("a large transaction holds this resource; try again")


def _done_already(table: Table, actions: Sequence[Item]) -> bool:
    """Whether a single put failed only because its first try had come through and the answer was lost."""
    if len(actions) > 1:
        return False  # TransactWriteItems carries a token of its own against that
    item: Item = actions[0]["Put"]["Item"]
    return table.get((item["pk"]["S"], item["sk"]["S"])) == item


def explain(failed: int, writes: Sequence[Write], claims: Sequence[Claim]) -> VersionConflict | ClaimTaken:
    """What the failed condition of action number `failed` means, where `writes` come first, then `claims`, then account entries."""
    if failed < len(writes):
        return VersionConflict(writes[failed].key)
    if failed < len(writes) + len(claims):
        return ClaimTaken(claims[failed - len(writes)].condition, None)
    return VersionConflict(writes[0].key)


def offload(writes: Sequence[Write], put_body: Bodies, limit: int) -> None:
    """Move bodies over `limit` bytes to S3, under the hash of their content, so that an item never outgrows DynamoDB's."""
    for write in writes:
        if write.body is not None and len(write.body) > limit and write.body[:1] != heads.IN_S3:
            name = hashlib.sha256(write.body).hexdigest()
            put_body(name, write.body)
            write.body = heads.IN_S3 + name.encode()
