"""Asynchronous requests as clients see them: status, progress, result, cancellation. Semantics, section 1; R5's async pattern.

A job is known to the caller who started it, and to nobody else, until it expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bulkhead.errors import BulkheadError, Issue, NotFound, Unavailable
from bulkhead.model import json, outcome
from bulkhead.store import Store
from bulkhead.store import jobs as items
from bulkhead.store.jobs import CANCELLED, DONE, FAILED, STARTING, UNFINISHED, Job

START_GRACE = 30.0
"""Seconds that the request may take from starting the state machine to changing the target: longer than API Gateway lets it run."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a job stands. `bundle` is its result as a batch-response Bundle, once it is over; `progress` is for as long as it is not."""

    progress: str
    bundle: dict[str, Any] | None


def status(store: Store, subject: str, job_id: str, alive: Callable[[str], bool]) -> Status:
    """The state of the job `job_id` of the caller `subject`. `alive` says whether the state machine is still at work on it.

    NotFound for a job that is unknown, expired, or another caller's.
    """
    job = _own(store, subject, job_id)
    if job.state in UNFINISHED and not alive(job_id):
        job = _buried(store, subject, job)
    if job.state == DONE:
        return Status("", _bundle(HTTPStatus.OK, resource=resources_updated(job.updated)))
    standing, total = _progress(store, job)
    progress = f"{standing} of {total} resources"
    if job.state == CANCELLED:
        issue = Issue("incomplete", f"cancelled: {progress} stand as asked; send the request again to finish")
        return Status("", _bundle(HTTPStatus.CONFLICT, resources_updated(standing), outcome.outcome([issue])))
    if job.state == FAILED:
        return Status("", _bundle(HTTPStatus(job.status), None, json.loads(job.error)))
    return Status(progress, None)


def cancel(store: Store, subject: str, job_id: str, stop: Callable[[str], None]) -> None:
    """Stop a job: workers see the mark before their next batch; `stop` ends the state machine. No effect on one that is over. NotFound."""
    _own(store, subject, job_id)
    if items.change(store.table, job_id, UNFINISHED, state=CANCELLED):
        stop(job_id)


def give_up(store: Store, job_id: str, error: BulkheadError) -> bool:
    """Mark a job as failed with `error`. False where it is over already."""
    text = json.dumps(outcome.from_error(error)).decode()
    return items.change(store.table, job_id, UNFINISHED, state=FAILED, status=error.status, error=text)


def resources_updated(count: int) -> dict[str, Any]:
    """The answer of `$set-accounts`."""
    return {"resourceType": "Parameters", "parameter": [{"name": "resourcesUpdated", "valueInteger": count}]}


def _own(store: Store, subject: str, job_id: str) -> Job:
    job = items.read(store.table, job_id)
    if job is None or job.owner != subject:
        raise NotFound(f"there is no job {job_id}", "id")
    return job


def _buried(store: Store, subject: str, job: Job) -> Job:
    """The job, whose state machine is not at work: it ended just now, has not started yet, or died."""
    job = _own(store, subject, job.id)
    early = job.state == STARTING and time.time() < job.created + START_GRACE
    if job.state not in UNFINISHED or early:
        return job
    give_up(store, job.id, Unavailable("the run broke off; send the request again to finish it"))
    return _own(store, subject, job.id)


def _progress(store: Store, job: Job) -> tuple[int, int]:
    """Resources that stand as asked, and all of them, with the target. A later pass counts anew what an earlier one did."""
    if job.total is None:
        # Only the target is known: that it is done is no news while the job goes on.
        return int(bool(job.begun) and job.state not in UNFINISHED), 1
    turns: dict[int, int] = {}
    for result in items.results(store.table, job.id):
        turns[result.turn] = turns.get(result.turn, 0) + result.standing
    return 1 + min(job.total, max(turns.values(), default=0)), 1 + job.total


def _bundle(
    status: HTTPStatus, resource: dict[str, Any] | None, failure: dict[str, Any] | None = None
) -> dict[str, Any]:
    response: dict[str, Any] = {"status": f"{status.value} {status.phrase}"}
    if failure:
        response["outcome"] = failure
    entry = {"resource": resource, "response": response} if resource else {"response": response}
    return {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}
