"""Commits many independent changes of accounts at once, for propagation: at most ten requests for a hundred resources.

With BULK_WRITES=single there are two to three requests for each resource, at four fifths of the write units (docs/choices.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.fhir import dates
from bulkhead.store import active_months, heads, keys, staging
from bulkhead.store.heads import Head, Write
from bulkhead.store.table import TRANSACT_BYTES, TRANSACT_LIMIT, Table, pieces


def commit_each(table: Table, writes: Sequence[Write]) -> set[str]:
    """Commits each of `writes` independently; they change accounts only (`old` and `new` None, `body` the base's).

    Returns the keys that were not written because their base is no longer current.
    """
    updated = dates.now()
    active_months.note(table, {write.key.partition("/")[0] for write in writes}, updated)
    left_out: set[str] = set()
    for batch in pieces(writes, lambda write: heads.size(write.head("")), TRANSACT_LIMIT, room=TRANSACT_BYTES):
        left_out |= _commit_batch(table, batch, updated)
    return left_out


def _commit_batch(table: Table, writes: Sequence[Write], updated: str) -> set[str]:
    left_out = _stage(table, writes)
    staged = [write for write in writes if write.key not in left_out]
    failed = table.write_apart(
        [staging.accounts_action(table, write.base, write.head(updated)) for write in staged if write.base]
    )
    left_out |= {staged[n].key for n in failed}
    committed = [write for write in staged if write.key not in left_out]
    staging.afterwards(lambda: table.write_apart(staging.settling(table, committed)), writes=len(committed))
    return left_out


def _stage(table: Table, writes: Sequence[Write]) -> set[str]:
    """The keys whose accounts a later version has already staged: their commit would fail."""
    table.put_many([heads.to_item(write.base, keys.version_sort(write.base.version)) for write in writes if write.base])
    staged = [(write.key, action) for write in writes for action in staging.account_actions(table, write)]
    failed = table.write_apart([action for _, action in staged])
    return {staged[n][0] for n in failed}


def set_propagate(table: Table, head: Head, changed: Head) -> bool:
    """Sets a head's `propagate` and `within` to those of `changed` in place, without a new version. False if the head has moved on.

    DoesNotFit.
    """
    heads.require_fitting([changed])
    made = heads.attributes(changed)
    kept = [name for name in ("propagate", "within") if name in made]
    gone = [name for name in ("propagate", "within") if name not in made]
    expression = "SET #flagged = :now" + "".join(f", #{name} = :{name}" for name in kept)
    expression += " REMOVE " + ", ".join(f"#{name}" for name in gone) if gone else ""
    condition, values = staging.unchanged(head)
    # Never the same twice: others know by it that the flag has changed since they read it.
    values |= {":now": {"S": max(dates.now(), dates.after(head.flagged) if head.flagged else "")}}
    values |= {f":{name}": made[name] for name in kept}
    return not table.write_each([table.update_action((head.key, keys.HEAD), expression, values, condition=condition)])
