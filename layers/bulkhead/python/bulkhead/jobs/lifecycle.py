"""The life of a job: it is submitted once however often it is asked for, begins, and may fail. What a client learns of it: `polling`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from bulkhead import observability
from bulkhead.compartments import accounts
from bulkhead.errors import BulkheadError, Issue, Unavailable, Unprocessable
from bulkhead.fhir import dates, json, outcome
from bulkhead.settings import Settings
from bulkhead.store import Store
from bulkhead.store.heads import NEVER, OWN
from bulkhead.store.jobs import FAILED, STARTING, UNFINISHED, Job

START_GRACE = 30.0
"""Seconds that the request may need from starting the state machine to changing the target: more than API Gateway allows."""

NOT_BEGUN = "0 resources so far"
"""The progress of a `$set-accounts` that was accepted just now."""
NOT_COUNTED = "the bundle is waiting to be read"
"""The progress of a bundle that was accepted just now."""

_DAY = 86_400
# Far below DynamoDB's 400 KB for an item.
_ERROR_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Background:
    """The caller's wish for a background job. `start` starts the state machine for a job id, once however often it is called.

    `idempotency_key`: two requests with the same key are one job.
    """

    start: Callable[[str], None]
    idempotency_key: str | None = None

    def identifier(self, owner: str) -> str:
        """The id of the job for a request of `owner`: the same for the same key."""
        return uuid4().hex if self.idempotency_key is None else identifier(owner, self.idempotency_key)


def identifier(owner: str, name: str) -> str:
    """The id of the job that `owner` gives a name."""
    return hashlib.sha256(f"{owner}\n{name}".encode()).hexdigest()[:32]


def expiry(settings: Settings, now: float) -> int:
    """The time when a job that is created at `now` expires, in seconds."""
    return int(now) + settings.job_days * _DAY


Asked = Callable[[Job], object]
"""What two requests with one Idempotency-Key must have in common."""


def require_same(job: Job, earlier: Job | None, asked: Asked) -> None:
    """Raises Unprocessable where the request that made a job under this id before was another one."""
    if earlier and (earlier.kind != job.kind or asked(earlier) != asked(job)):
        raise Unprocessable(
            "another request used this Idempotency-Key: send each request with a key of its own", "Idempotency-Key"
        )


def submit(store: Store, job: Job, background: Background, *, asked: Asked) -> str:
    """Creates the job and starts its run; returns its id. An earlier request may have died between the two: then this one starts it.

    Unprocessable as `require_same`. Unavailable where the run cannot be started: a job that was created just now is taken back, unless
    the same request, sent again, has joined it.
    """
    created = store.jobs.create(job)
    if not created:
        earlier = store.jobs.read(job.id)
        require_same(job, earlier, asked)
        if earlier and (earlier.state == STARTING or not earlier.beat):
            store.jobs.join(job.id)
    try:
        background.start(job.id)
    except Exception as error:
        if created:
            store.jobs.remove(job)
        raise Unavailable("the server could not start the job and changed nothing: send the request again") from error
    return job.id


def has_begun(store: Store, job: Job) -> bool:
    """Whether the job's target has the requested own accounts and passes them on. Accounts outside the caller's reach do not count."""
    target = store.read(job.target)
    if target is None or target.deleted:
        return False
    now = dates.now()
    # Of what has ended since nothing is left on the target.
    asked = [account for account in job.accounts if job.ends.get(account, NEVER) > now]
    explicit = accounts.replaced(target.explicit, asked, job.within)
    ends = accounts.ends_of_own(target, explicit, asked, ends=job.ends)
    flag = accounts.flagged(target, explicit, fence=job.within, propagate=True)
    return (
        target.explicit == explicit
        and target.ends.get(OWN, {}) == ends
        and flag == accounts.Flag(target.propagate, target.within)
        and (job.inherit is None or target.sealed != job.inherit)
    )


def give_up(store: Store, job_id: str, error: BulkheadError, *, attempt: int | None = None) -> bool:
    """Marks a job as failed with `error`. False if it is over already, or (with `attempt`) has been taken up anew."""
    text = json.dumps(outcome.outcome(_fitting(error.issues))).decode()
    failed = store.jobs.change(job_id, UNFINISHED, attempt, state=FAILED, status=error.status, error=text)
    if failed and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        observability.job_failed()
        observability.logger.error("job failed", job=job_id, error=type(error).__name__)
    return failed


def _fitting(issues: tuple[Issue, ...]) -> list[Issue]:
    """As many issues as fit the job's item, and one that counts the rest."""
    kept: list[Issue] = []
    room = _ERROR_BYTES
    for issue in issues:
        room -= len(json.dumps(outcome.outcome([issue])))
        if room < 0:
            return [*kept, Issue(issue.code, f"{len(issues) - len(kept)} more issues are not shown")]
        kept.append(issue)
    return kept


def resources_updated(count: int) -> dict[str, Any]:
    """The response of `$set-accounts`."""
    return {"resourceType": "Parameters", "parameter": [{"name": "resourcesUpdated", "valueInteger": count}]}


def is_overdue(job: Job) -> bool:
    """Whether the requests for a job that has not changed its target must have ended."""
    return time.time() >= max(job.created, job.beat) + START_GRACE


def batch_response(
    status: HTTPStatus,
    resource: dict[str, Any] | None,
    failure: dict[str, Any] | None = None,
    *,
    location: str = "",
) -> dict[str, Any]:
    """The response of an asynchronous request, as R5 wraps it; `location` is the URL of the resource if it is not included."""
    response: dict[str, Any] = {"status": f"{status.value} {status.phrase}"}
    if location:
        response["location"] = location
    if failure:
        response["outcome"] = failure
    entry = {"resource": resource, "response": response} if resource else {"response": response}
    return {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}
