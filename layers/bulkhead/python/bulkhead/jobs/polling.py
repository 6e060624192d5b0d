"""Asynchronous requests as clients see them: status, progress, result, cancellation. Semantics, section 1; R5's async pattern.

Only the caller who started a job can see it, until it expires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bulkhead.errors import Issue, NotFound, Unavailable
from bulkhead.fhir import json, outcome
from bulkhead.jobs.lifecycle import batch_response, give_up, is_overdue, resources_updated
from bulkhead.store import Head, Store
from bulkhead.store.jobs import BUNDLE, CANCELLED, COMMITTED, DONE, FAILED, PURGE, STARTING, UNFINISHED, Job

_BROKEN_OFF = "the run broke off; send the request again to finish it"


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a job. `bundle` is its result as a batch-response Bundle once it is over; until then `progress` describes it."""

    progress: str
    bundle: dict[str, Any] | None
    unrecorded: Sequence[Head] = ()
    """Versions in the bundle without an AuditEvent: they must be recorded before they are shown."""


def status(store: Store, owner: str, job_id: str, *, alive: Callable[[Job], bool]) -> Status:
    """The status of the job `job_id` of its `owner` (see `access.Caller`). `alive` says whether the state machine works on it.

    NotFound for a job that is unknown, expired, or another caller's.
    """
    job = _own(store, owner, job_id)
    dead = job.state in (*UNFINISHED, COMMITTED) and not alive(job)
    if dead:
        job = _buried(store, owner, job)
    if job.kind == BUNDLE:
        from bulkhead.jobs.bundles import answers

        return Status(*answers.of(store, job, dead=dead), answers.unrecorded(store, job, dead=dead))
    if job.kind == PURGE:
        from bulkhead.jobs import purge_steps

        return Status(*purge_steps.told(store, job))
    if job.state == DONE:
        return Status("", batch_response(HTTPStatus.OK, resources_updated(job.updated)))
    standing, _ = _counted(store, job)
    progress = progress_of(store, job)
    if job.state == CANCELLED:
        issue = Issue(
            "incomplete",
            f"the job was cancelled: {progress} have the requested accounts; send the request again to finish",
        )
        return Status("", batch_response(HTTPStatus.CONFLICT, resources_updated(standing), outcome.outcome([issue])))
    if job.state == FAILED:
        return Status("", batch_response(HTTPStatus(job.status), None, json.loads(job.error)))
    return Status(progress, None)


def cancel(store: Store, owner: str, job_id: str, *, stop: Callable[[Job], None]) -> None:
    """Stops a job: workers see the mark before their next batch; `stop` ends the state machine. No effect if the job is over. NotFound."""
    job = _own(store, owner, job_id)
    if store.jobs.change(job_id, UNFINISHED, state=CANCELLED):
        stop(job)


def _own(store: Store, owner: str, job_id: str) -> Job:
    job = store.jobs.read(job_id)
    if job is None or job.owner != owner:
        raise NotFound(f"there is no job {job_id}", "id")
    return job


def _buried(store: Store, owner: str, job: Job) -> Job:
    """The job without a running state machine: it has just ended, has not started yet, or died."""
    job = _own(store, owner, job.id)
    early = job.state == STARTING and not is_overdue(job)
    if job.state not in UNFINISHED or early:
        return job
    give_up(store, job.id, Unavailable(_BROKEN_OFF))
    return _own(store, owner, job.id)


def progress_of(store: Store, job: Job) -> str:
    """How far a job is, in words. One Query for a `$set-accounts` that is not done."""
    if job.kind == BUNDLE:
        from bulkhead.jobs.bundles import answers

        return answers.progress(job)
    if job.kind == PURGE:
        from bulkhead.jobs import purge_steps

        return purge_steps.progress(store, job)
    if job.state == DONE:
        return f"{job.updated} of {job.updated} resources"
    standing, total = _counted(store, job)
    if total is None:
        return "1 resource so far" if standing == 1 else f"{standing} resources so far"
    return f"{standing} of {'at least ' if job.listing else ''}{total} resources"


def _counted(store: Store, job: Job) -> tuple[int, int | None]:
    """Resources that stand as asked, and all of them, with the target; a later pass counts anew what an earlier one did.

    None where nobody has counted them yet, or the caller is not to know.
    """
    turns = {job.turn: job.standing}
    for result in store.jobs.results(job.id, job.turn, job.upto):
        turns[result.turn] = turns.get(result.turn, 0) + result.standing
    standing, target = max(job.best, *turns.values()), int(bool(job.begun))
    if job.total is None:
        return target + standing, None
    return target + min(job.total, standing), 1 + job.total
