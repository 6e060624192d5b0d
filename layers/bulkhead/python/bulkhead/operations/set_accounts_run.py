"""`POST {Type}/{id}/$set-accounts`: replaces a resource's own accounts and, on request, passes them on to its compartment. Semantics, section 1.

Order of an asynchronous request: job, state machine, target. So nothing is changed if no run can be started. A request that
dies in between leaves a run that continues if the target was changed, and fails otherwise (`propagation_steps`). A request
that dies elsewhere leaves some members unchanged at worst, and sending it again updates them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.access.visibility import not_known
from bulkhead.audit import recording
from bulkhead.compartments import accounts, membership, propagation
from bulkhead.errors import (
    BadRequest,
    BulkheadError,
    Conflict,
    Gone,
    Issue,
    PreconditionFailed,
    TooCostly,
    Unprocessable,
    VersionConflict,
)
from bulkhead.jobs import lifecycle
from bulkhead.jobs.lifecycle import Background
from bulkhead.operations.set_accounts_request import ACCOUNTS, INHERIT, PROPAGATE
from bulkhead.operations.set_accounts_request import Request as Request
from bulkhead.session import Session
from bulkhead.store import Head, Write
from bulkhead.store.heads import OWN, accounts_write
from bulkhead.store.jobs import RUNNING, STARTING, Job
from bulkhead.store.throttling import pause

_ATTEMPTS = 8
# The size of a compartment that is too large for a synchronous run is not counted beyond this.
_COUNTED = 50_000


def run(
    session: Session,
    key: str,
    request: Request,
    *,
    if_match: str | None = None,
    background: Background | None = None,
) -> int | str:
    """Performs `request` for the resource `key` (of a known type).

    Returns how many resources have the requested accounts; or, in the `background` with propagate, the id of the job.
    A fenced caller sets and removes the accounts that fence it; the target's other accounts stay. All members of a Patient are updated,
    whether the caller may see them or not, but it does not learn their names; for other targets, those that carry one of its accounts.

    Raises Forbidden, NotFound, Gone, BadRequest (no compartment, If-Match), PreconditionFailed, Unprocessable (accounts), TooCostly,
    Conflict (too many writers), Unavailable. Then nothing is changed, unless Unavailable names members that resisted.
    """
    _require_right(session, key, request)
    expected = resources.version_of(if_match)
    if background and request.propagate:
        return _run_in_background(session, key, request, expected=expected, background=background)
    target = _checked(session, key, request, expected=expected)
    if not request.propagate:
        _set(session, target, request, expected=expected)
        return 1
    keys = _listed(session, key)
    changed_at = time.time() if _set(session, target, request, expected=expected) else None
    return 1 + propagation.propagate(
        session.store,
        key,
        keys,
        changed_at=changed_at,
        fence=session.caller.accounts,
        naming=not session.caller.restricted,
    )


def checked_target(session: Session, key: str, request: Request, *, if_match: str | None) -> Head:
    """The target as it stands, once `request` is found to be one that `run` would carry out. Raises as `run` does then."""
    _require_right(session, key, request)
    return _checked(session, key, request, expected=resources.version_of(if_match))


def previewed(session: Session, target: Head, request: Request) -> Head:
    """The target as `request` would leave it. Raises what its commit would, where there is one and the caller may not make it."""
    write, inherit = _write(session, target, request), resources.inherit(session)
    if not _leaves(target, write):
        resources.require_allowed(session, [write], inherit)
    inherit([write], session.store.read_many)
    return write.head(target.updated)


def _require_right(session: Session, key: str, request: Request) -> None:
    policy.require(session.caller, policy.SET_ACCOUNTS)
    # Before anything is read: an account that is not the caller's is refused whether it exists or not.
    _wanted(session.caller, request, ())
    resource_type = key.partition("/")[0]
    if request.propagate and resource_type not in membership.in_force(session.store, fresh=True):
        raise BadRequest(f"{resource_type} has no compartment to propagate to", PROPAGATE)


def _wanted(caller: Caller, request: Request, standing: Sequence[str]) -> tuple[str, ...]:
    """The new own accounts of a target with the current accounts `standing`. Forbidden if the caller asks for accounts of others."""
    return policy.own_accounts(caller, request.accounts, standing, places=dict.fromkeys(request.accounts, ACCOUNTS))


def _run_in_background(
    session: Session, key: str, request: Request, *, expected: int | None, background: Background
) -> str:
    now = time.time()
    expires = lifecycle.expiry(session.store.settings, now)
    job = Job(
        background.identifier(session.caller.owner),
        session.caller.owner,
        key,
        request.accounts,
        now,
        expires,
        within=session.caller.accounts,
        naming=not session.caller.restricted,
        ends=request.ends,
        inherit=request.inherit,
    )
    earlier = session.store.jobs.read(job.id) if background.idempotency_key else None
    lifecycle.require_same(job, earlier, _asked)
    if earlier and earlier.state != STARTING:
        return job.id
    # If an earlier attempt has changed the target already, there is nothing to check: the caller may not even see it any more.
    begun = earlier is not None and lifecycle.has_begun(session.store, earlier)
    try:
        target = None if begun else _checked(session, key, request, expected=expected)
    except PreconditionFailed:
        if not _was_faster(session, job, background):
            raise
        target = None
    lifecycle.submit(session.store, job, background, asked=_asked)
    try:
        if target:
            _set(session, target, request, expected=expected)
    except BulkheadError as error:
        if not _was_faster(session, job, background):
            lifecycle.give_up(session.store, job.id, error)
            raise
    session.store.jobs.change(job.id, [STARTING], state=RUNNING, begun=time.time())
    return job.id


def _was_faster(session: Session, job: Job, background: Background) -> bool:
    """Whether the same request, sent twice at once with a key, has changed the target already: the job is that of both."""
    if background.idempotency_key is None or session.store.jobs.read(job.id) is None:
        return False
    return lifecycle.has_begun(session.store, job)


def _asked(job: Job) -> object:
    return job.target, job.accounts, dict(job.ends), job.inherit


def _checked(session: Session, key: str, request: Request, *, expected: int | None) -> Head:
    """The target's head, after checks that it and all accounts exist, and that it has the expected version."""
    heads = session.store.read_many([key, *request.accounts])
    target = _settable(session, key, heads.get(key))
    if expected is not None and target.version != expected:
        raise PreconditionFailed(f"{key} has version {target.version}, not {expected}", "If-Match")
    if request.inherit is not None:
        policy.require_may_seal(session.caller, target, INHERIT)
    missing = [account for account in request.accounts if account not in heads or heads[account].deleted]
    if missing:
        issues = [Issue(Unprocessable.code, f"the account {account} does not exist", ACCOUNTS) for account in missing]
        raise Unprocessable(issues[0].diagnostics, issues=issues)
    return target


def _settable(session: Session, key: str, target: Head | None) -> Head:
    """The target's current head. NotFound if it does not exist or the caller may not see it; Gone."""
    if target is None or (session.caller.restricted and (target.deleted or not _reaches(session, target))):
        raise not_known(session.store, session.caller, key)
    if target.deleted:
        raise Gone(f"{key} was deleted", "id")
    return target


def _reaches(session: Session, target: Head) -> bool:
    return policy.settable(session.store, session.caller)(session.store.version(target))


def _listed(session: Session, key: str) -> list[str]:
    """The members, by the index, of a compartment that is small enough for a synchronous run; otherwise TooCostly.

    The error has their number, unless the caller may not see all of them.
    """
    limit = session.store.settings.sync_limit
    keys: list[str] = []
    count = 0
    for page in propagation.members(session.store, key):
        count += len(page)
        if count <= limit:
            keys += page
        if count > (limit if session.caller.restricted else _COUNTED):
            break
    if count > limit:
        number = str(count)
        if count > _COUNTED or session.caller.restricted:
            number = f"more than {limit if session.caller.restricted else _COUNTED}"
        raise TooCostly(
            f"the compartment has {number} members; a synchronous request can change at most {limit}: send Prefer: respond-async",
            PROPAGATE,
        )
    return keys


def _set(session: Session, target: Head, request: Request, *, expected: int | None) -> bool:
    """Sets the target's own accounts, in one commit; False if it had them. Retried where another writer was faster.

    Under If-Match: PreconditionFailed then, because the version has changed.
    """
    current: Head | None = target
    for attempt in range(_ATTEMPTS):
        try:
            return _set_once(session, _settable(session, target.key, current), request)
        except VersionConflict:
            pause(attempt)
        current = session.store.read(target.key)
        # What it passes on may have changed without a new version.
        if expected is not None and (current is None or current.version != expected):
            raise PreconditionFailed(f"{target.key} is no longer at version {expected}", "If-Match")
    raise Conflict(f"other requests keep changing {target.key}: send the request again", target.key)


def _set_once(session: Session, target: Head, request: Request) -> bool:
    write = _write(session, target, request)
    events = recording.of_set_accounts(
        session, target, request.accounts, propagate=request.propagate, ends=request.ends, inherit=request.inherit
    )
    if _leaves(target, write):
        # Before the flag is changed, so that no change goes unrecorded.
        recording.record(session.store, events)
        if (write.propagate, write.within) == (target.propagate, target.within):
            return False
        session.store.set_propagate(target, flag=write.propagate, within=write.within)
        return True
    resources.commit(session, [write], events=events)
    return True


def _write(session: Session, target: Head, request: Request) -> Write:
    """What gives the target the accounts that are asked for."""
    caller = session.caller
    explicit = _wanted(caller, request, target.explicit)
    flag = accounts.flagged(target, explicit, fence=caller.accounts, propagate=request.propagate)
    return accounts_write(
        target,
        explicit=explicit,
        propagate=flag.propagate,
        within=flag.within,
        ends={OWN: accounts.ends_of_own(target, explicit, request.accounts, ends=request.ends)},
        sealed=target.sealed if request.inherit is None else not request.inherit,
        # Whoever is fenced decides for its own accounts only: not whether a resource that nobody has is open to all.
        lapsed=target.lapsed and caller.fenced,
    )


def _leaves(target: Head, write: Write) -> bool:
    """Whether the target has its own accounts, and is sealed or not, as the write would have it."""
    made = write.head("")
    names = ("explicit", "lapsed", "sealed")
    return all(getattr(target, name) == getattr(made, name) for name in names) and target.granted_by(
        OWN
    ) == made.granted_by(OWN)
