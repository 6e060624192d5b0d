"""The commit boundary: every change that a request makes to resources is committed here, with its AuditEvents.

Only propagation writes elsewhere (`store.commit_each`): it changes only what resources inherit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bulkhead.access import write_policy
from bulkhead.access.policy import comes_unfenced
from bulkhead.audit import recording
from bulkhead.compartments import definition_writes
from bulkhead.errors import BulkheadError, DoesNotFit, raise_together
from bulkhead.resources.preparation import inherit
from bulkhead.session import Session
from bulkhead.store import Claim, Head, Inherit, Receipt, Write


def in_place(position: int, error: BulkheadError) -> BulkheadError:
    """The error unchanged: a request that is one write has the right place already."""
    return error


def commit(
    session: Session,
    writes: Sequence[Write],
    claims: Sequence[Claim] = (),
    *,
    events: Sequence[Write] = (),
    receipt: Receipt | None = None,
    taken: Collection[str] = (),
    place: write_policy.Place = in_place,
) -> list[Head]:
    """Commits all `writes` and `claims` for the caller of `session`, or none. Returns the new heads, in the order of `writes`.

    The AuditEvents of the changes are part of the commit; `events` are additional ones, `receipt` is that of a job. MethodNotAllowed
    where a write would change an AuditEvent; VersionConflict, ClaimTaken, JobMovedOn, DoesNotFit, Conflict, Unavailable as `Store.commit`.
    Raises `write_policy.check`'s errors first, for writes that the caller may not make. `taken`: keys of resources that the caller may
    not see. `place` puts the error of a write into its place in the request.
    """
    for write in writes:
        write.unfenced = comes_unfenced(session.caller, write)
        write.maker = session.caller.accounts or ()
    inherited = inherit(session)
    require_allowed(session, writes, inherited, taken=taken, place=place)
    trail = [*recording.of_changes(session, writes), *events]
    try:
        heads = session.store.commit([*writes, *trail], claims, inherited, receipt=receipt)[: len(writes)]
    except DoesNotFit as error:
        raise place(next(n for n, write in enumerate(writes) if write.key == error.key), error) from None
    # A change of accounts is recorded as such, if at all: not the content that the version shows.
    session.note_committed(head for write, head in zip(writes, heads, strict=True) if write.changes_content)
    return heads


def require_allowed(
    session: Session,
    writes: Sequence[Write],
    inherited: Inherit,
    *,
    taken: Collection[str] = (),
    place: write_policy.Place = in_place,
) -> None:
    """Raises what a commit of `writes` raises before it writes anything, where the caller may not make them: see `commit`.

    Last, the faults of CompartmentDefinitions and of the SearchParameters that they name (`definition_writes`).
    """
    recording.require_untouched(writes, session.store.settings.auth)
    write_policy.check(session.store, session.caller, writes, taken=taken, inherit=inherited, place=place)
    faults = definition_writes.faults(session.store, writes)
    raise_together(place(n, faults[n]) for n in sorted(faults))
