"""Prepares and commits; repeats both a bounded number of times where another writer was faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bulkhead import resources
from bulkhead.bundles.changes import Change, faultless
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import at_entry
from bulkhead.bundles.preparation import Owners, prepare
from bulkhead.errors import ClaimTaken, Conflict, VersionConflict
from bulkhead.parallel import in_parallel
from bulkhead.resources.conditions import claimant, meets
from bulkhead.store import one_request
from bulkhead.store.throttling import jitter

if TYPE_CHECKING:
    from bulkhead.store import Receipt

ATTEMPTS = 8

Receipts = Callable[[Sequence[Change]], "Receipt"]
"""Makes the receipt of a commit from the changes in it."""


def commit(
    changes: Sequence[Change],
    context: Context,
    *,
    together: bool,
    receipts: Receipts | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Makes all changes without a fault in one commit; sets their `head`.

    `together`: as a transaction, which raises the first kind of fault. Otherwise the fault of one change stays with it.
    `check` is called before each attempt to commit, when the changes have their keys; what it raises ends the commit.
    The function reads again a head that moved on, and a condition that another request has just claimed. Conflict where that
    happens too often, JobMovedOn where the receipt is refused; then nothing is written.
    """
    owners = Owners()
    for attempt in range(ATTEMPTS):
        # Another caller's large transaction may have been decided since the last attempt.
        seed = context.journal.begin() if context.journal and together else None
        with one_request():
            prepare(changes, context, owners, together=together, seed=seed)
        check()
        made = faultless(changes)
        try:
            _commit(made, context, receipts)
            return
        except VersionConflict:
            pass
        except ClaimTaken:
            _look_at_owners(made, context, owners)
        time.sleep(jitter(0.01 * 2**attempt))
    raise Conflict("other requests keep changing these resources: send the request again")


def _commit(made: Sequence[Change], context: Context, receipts: Receipts | None) -> None:
    writing = [(change, change.write) for change in made if change.write]
    claims = [change.claim for change in made if change.claim]
    for change in made:
        change.head = change.base
    if writing:
        receipt = receipts([change for change, _ in writing]) if receipts else None
        heads = resources.commit(
            context.session,
            [write for _, write in writing],
            claims,
            receipt=receipt,
            taken={write.key for change, write in writing if change.taken},
            place=lambda position, error: at_entry(error, writing[position][0].entry),
        )
        for (change, _), head in zip(writing, heads, strict=True):
            change.head = head


def _look_at_owners(made: Sequence[Change], context: Context, owners: Owners) -> None:
    """Reads the owners of conditions that are claimed already: a resource to use, or one that is gone."""
    store = context.store
    claimed = [change.condition for change in made if change.condition and change.claim and not change.claim.unique]
    found = in_parallel(lambda condition: claimant(context.session, condition), claimed, store.settings.threads)
    heads = store.read_many(owner for owner in found if owner)
    for condition, owner in zip(claimed, found, strict=True):
        if owner is None:
            continue
        head = heads.get(owner)
        if head and meets(store, head, condition, fence=context.found_by):
            owners.live[condition] = head
        else:
            owners.stale[condition] = owner
