"""Writing: stage, commit, settle, so that a crash anywhere leaves the old state or the new one.

stage    New index entries, and a copy of the version about to be superseded. Invisible, idempotent.
commit   The heads flip on condition that each is still the one that was read: one conditional write for one head, one
         TransactWriteItems for up to 100, `large.commit` for more.
settle   Entries that the new version has no use for go away.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bulkhead.errors import ClaimTaken, Conflict, JobMovedOn, VersionConflict
from bulkhead.model import dates
from bulkhead.store import each, heads, keys, large, marks, months, staging
from bulkhead.store.heads import Claim, Head, Inherit, Receipt, Write
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
    receipt: Receipt | None = None,
) -> list[Head]:
    """Make all `writes`, `claims` and the `receipt` true, or none. Returns the new heads, in the order of `writes`.

    `put_body(key, data)` stores a large body. `inherit` is called between staging and committing and sets each write's `inherited`:
    whoever propagates to a target later finds these resources in the index; whoever did before has left its accounts to read.
    VersionConflict where a base is no longer current, ClaimTaken where another resource owns a claim's condition, JobMovedOn.
    """
    updated = dates.now()
    offload(writes, put_body, settings.body_limit)
    months.note(table, {write.key.partition("/")[0] for write in writes}, updated)
    clock = _Clock(inherit)
    too_many = len(writes) + len(claims) + (receipt.size if receipt else 0) > TRANSACT_LIMIT
    if too_many or sum(len(write.body or b"") + _OVERHEAD for write in writes) > TRANSACT_BYTES:
        new = large.commit(table, settings.transaction_lease, writes, claims, clock.inherit, updated, receipt)
    else:
        new = _commit_at_once(table, writes, claims, clock.inherit, updated, receipt)
    staging.afterwards(lambda: staging.settle(table, writes), writes=len(writes))
    if inherit and clock.late:
        staging.afterwards(lambda: _inherit_again(table, writes, new, inherit), writes=len(writes))
    return new


class _Clock:
    """When the accounts of the targets were read."""

    def __init__(self, inherit: Inherit | None) -> None:
        self._inherit = inherit
        self._asked = time.monotonic()

    def inherit(self, writes: Sequence[Write]) -> None:
        self._asked = time.monotonic()
        if self._inherit:
            self._inherit(writes)

    @property
    def late(self) -> bool:
        """Whether a propagation may have come and gone since: it looks for unfinished writers for a second."""
        return time.monotonic() - self._asked > _LATE


def _inherit_again(table: Table, writes: Sequence[Write], new: list[Head], inherit: Inherit) -> None:
    """After a commit that came late: give the new heads what their targets have now, and put the changed ones into `new`."""
    former = [dict(write.inherited) for write in writes]
    inherit(writes)
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
    inherit: Inherit | None,
    updated: str,
    receipt: Receipt | None,
) -> list[Head]:
    staging.stage(table, writes)
    if inherit:
        inherit(writes)
    new = [write.head(updated) for write in writes]
    actions = [staging.head_action(table, write, head) for write, head in zip(writes, new, strict=True)]
    actions += [staging.claim_action(table, claim) for claim in claims]
    actions += receipt.actions(table, new) if receipt else []
    accounts = [action for write in writes for action in staging.account_actions(table, write)]
    if len(actions) + len(accounts) <= TRANSACT_LIMIT:
        # Account entries ride along: they are known only now, and a request of their own would cost a round trip.
        actions += accounts
    else:
        table.write_each(accounts)
    _write(table, actions, writes, claims, receipt)
    return new


def _write(
    table: Table,
    actions: Sequence[Item],
    writes: Sequence[Write],
    claims: Sequence[Claim],
    receipt: Receipt | None,
) -> None:
    """The commit of up to 100 items. A mark that a large transaction left on one of them is cleared away, and the commit tried again."""
    for attempt in range(_ATTEMPTS):
        try:
            table.write(actions)
            return
        except ConditionFailed as error:
            if _done_already(table, actions):
                return
            conflict = explain(error, writes, claims, receipt)
            if isinstance(conflict, JobMovedOn):
                raise conflict from None
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


def explain(
    error: ConditionFailed, writes: Sequence[Write], claims: Sequence[Claim], receipt: Receipt | None
) -> VersionConflict | ClaimTaken | JobMovedOn:
    """What a failed condition means, for actions that are `writes`, then `claims`, then the receipt's, then account entries."""
    n = error.failed[0]
    if n < len(writes):
        return VersionConflict(writes[n].key)
    if n < len(writes) + len(claims):
        claim = claims[n - len(writes)]
        return ClaimTaken(claim.condition, None)
    if receipt and n < len(writes) + len(claims) + receipt.size:
        return receipt.refusal()
    return VersionConflict(writes[0].key)


def offload(writes: Sequence[Write], put_body: Bodies, limit: int) -> None:
    """Move bodies over `limit` bytes to S3, under the hash of their content, so that an item never outgrows DynamoDB's."""
    for write in writes:
        if write.body is not None and len(write.body) > limit and write.body[:1] != heads.IN_S3:
            name = hashlib.sha256(write.body).hexdigest()
            put_body(name, write.body)
            write.body = heads.IN_S3 + name.encode()
