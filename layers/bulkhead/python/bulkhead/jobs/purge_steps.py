"""The steps of a purge job: tasks of the state machine of propagations (infra/propagation.asl.json), which leaves it nothing to map.

plan     purges members for a few minutes, page by page, and says where the next call goes on.
finish   writes what the job came to.

Each may be delivered twice, or be cut off anywhere and run again: what is erased is listed no more.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from bulkhead.access.policy import Caller
from bulkhead.errors import Issue
from bulkhead.fhir import json, outcome
from bulkhead.jobs import lifecycle, purging
from bulkhead.jobs.lifecycle import Background
from bulkhead.jobs.purging import Order, Place, Step
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store.jobs import CANCELLED, DONE, FAILED, PURGE, RUNNING, Job

State = dict[str, Any]

# Seconds that one call of the planner goes on: far less than the 15 minutes of a Lambda function, more than a page takes.
_AT_ONCE = 240.0


_KEPT = 9_999
# Beyond all passes: what is recorded under it counts whichever pass is the last.

NOTHING_YET = "0 resources erased"
"""The progress of a job that begins."""


@dataclass(frozen=True, slots=True)
class _Request:
    caller: Caller
    order: Order


def submit(session: Session, order: Order, background: Background) -> str:
    """Start the job of a purge, which `purging.require` has let through; returns its id. Unprocessable (Idempotency-Key), Unavailable."""
    now = time.time()
    owner = session.caller.owner
    job = Job(
        background.identifier(owner),
        owner,
        order.target,
        (),
        now,
        lifecycle.expiry(session.store.settings, now),
        state=RUNNING,
        kind=PURGE,
        request=msgspec.json.encode(_Request(session.caller, order)).decode(),
    )
    return lifecycle.submit(session.store, job, background, asked=lambda made: _request(made).order)


def _request(job: Job) -> _Request:
    return msgspec.json.decode(job.request, type=_Request)


def plan(store: Store, state: State) -> State:
    """Purge for a while. `next` is "plan" where there is more to do, at `place`; else "finish"."""
    job = store.jobs.read(state["job"])
    if job is None or job.state != RUNNING:
        return state | {"batches": 0, "next": "finish"}
    asked = _request(job)
    session = Session.of(store, asked.caller)
    ends = time.monotonic() + _AT_ONCE
    # Counted on, not anew: what an earlier delivery erased is listed no more.
    number = len(store.jobs.results(job.id))
    if "place" not in state:
        number = _record(store, job, number, step=purging.begin(session, asked.order))
    place = Place(**state["place"]) if "place" in state else Place()
    for step in purging.steps(session, asked.order, place):
        number = _record(store, job, number, step=step)
        store.jobs.beat(job)
        now = store.jobs.read(job.id)
        if step.next is None or now is None or now.state != RUNNING:
            break
        if time.monotonic() > ends:
            return state | {"batches": 0, "next": "plan", "place": asdict(step.next)}
    return state | {"batches": 0, "next": "finish"}


def _record(store: Store, job: Job, number: int, *, step: Step) -> int:
    """Record a step as result `number`; the number of the next."""
    store.jobs.record(job, step.turn, number, standing=step.erased, left=step.shared)
    if step.kept:
        number += 1
        store.jobs.record(job, _KEPT, number, standing=0, left=step.kept)
    return number + 1


def finish(store: Store, state: State) -> State:
    """Close the job with its counts. No effect on one that was cancelled."""
    job = store.jobs.read(state["job"])
    if job is None or job.state != RUNNING:
        return {}
    erased, shared = _counted(store, job)
    store.close_grave(job.target)
    store.jobs.change(
        job.id, [RUNNING], state=DONE, updated=erased, total=len(shared), result=" ".join(shared[: purging.NAMED])
    )
    store.jobs.leave(job.id)
    return {}


def _counted(store: Store, job: Job) -> tuple[int, list[str]]:
    """How many resources were erased so far, and which were left: members by the last pass, Binaries by any."""
    results = store.jobs.results(job.id)
    last = max((one.turn for one in results if one.turn != _KEPT), default=0)
    shared = {name for one in results if one.turn in (last, _KEPT) for name in one.names}
    return sum(one.standing for one in results), sorted(shared)


def told(store: Store, job: Job) -> tuple[str, State | None]:
    """Progress, and the batch-response once the job is over."""
    if job.state == DONE:
        answer = purging.answer(job.updated, job.total or 0, job.result.split())
        return "", lifecycle.batch_response(HTTPStatus.OK, answer)
    if job.state == FAILED:
        return "", lifecycle.batch_response(HTTPStatus(job.status), None, json.loads(job.error))
    if job.state == CANCELLED:
        erased, shared = _counted(store, job)
        issue = Issue("incomplete", f"cancelled: {_erased(erased)}; send the request again to finish")
        answer = purging.answer(erased, len(shared), shared)
        return "", lifecycle.batch_response(HTTPStatus.CONFLICT, answer, outcome.outcome([issue]))
    return progress(store, job), None


def progress(store: Store, job: Job) -> str:
    """How far a purge is, in words. One Query for one that is not done."""
    return _erased(job.updated if job.state == DONE else _counted(store, job)[0])


def _erased(number: int) -> str:
    return f"{number} resources erased"
