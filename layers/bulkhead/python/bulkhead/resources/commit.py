"""The commit boundary: every change of resources that a request makes goes through here, with the AuditEvents that tell of it.

Only propagation writes elsewhere (`store.commit_each`): it changes what resources inherit, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bulkhead.access import write_policy
from bulkhead.access.policy import comes_unfenced
from bulkhead.audit import recording
from bulkhead.errors import BulkheadError
from bulkhead.resources.preparation import inherit
from bulkhead.session import Session
from bulkhead.store import Claim, Head, Receipt, Write


def in_place(position: int, error: BulkheadError) -> BulkheadError:
    """Where a request is one write, an error is at its place already."""
    return error


def commit(
    session: Session,
    writes: Sequence[Write],
    claims: Sequence[Claim] = (),
    events: Sequence[Write] = (),
    receipt: Receipt | None = None,
    taken: Collection[str] = (),
    place: write_policy.Place = in_place,
) -> list[Head]:
    """Make all `writes` and `claims` true for the caller of `session`, or none. Returns the new heads, in the order of `writes`.

    The AuditEvents of what changes are part of the commit; `events` are more of them, `receipt` is that of a job. MethodNotAllowed
    where an AuditEvent would be changed; VersionConflict, ClaimTaken, JobMovedOn, Conflict, Unavailable as `Store.commit`.
    What the caller may not make is refused before (see `write_policy.check`): `taken` are keys of resources that it may not see, `place`
    puts what is wrong with a write into its place in the request.
    """
    for write in writes:
        write.unfenced = comes_unfenced(session.caller, write)
        write.maker = session.caller.accounts or ()
    recording.require_untouched(writes, session.store.settings.auth)
    inherited = inherit(session)
    write_policy.check(session.store, session.caller, writes, taken, inherited, place)
    trail = [*recording.of_changes(session, writes), *events]
    heads = session.store.commit([*writes, *trail], claims, inherited, receipt)[: len(writes)]
    recording.note_recorded(heads)
    return heads
