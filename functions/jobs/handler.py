"""Status and cancellation of asynchronous jobs (R5's asynchronous request pattern)."""

from __future__ import annotations

from bulkhead import jobs
from bulkhead.errors import Issue
from bulkhead.model import outcome
from functions import executions
from functions.http import RETRY_AFTER, Answer, Request, lambda_handler


def status(request: Request) -> Answer:
    """202 with `X-Progress` while the job runs, 200 with its result as a batch-response Bundle when it is over."""
    found = jobs.status(request.store, request.caller.owner, request.parameters["id"], executions.is_running)
    if found.bundle:
        return Answer(200, found.bundle)
    running = Issue("informational", found.progress, severity="information")
    return Answer(202, outcome.outcome([running]), {"x-progress": found.progress, "retry-after": RETRY_AFTER})


def cancel(request: Request) -> Answer:
    """202: the run stops. What is done stays done; the status says how much."""
    jobs.cancel(request.store, request.caller.owner, request.parameters["id"], executions.stop)
    return Answer(202)


OPERATIONS = {"status": status, "cancel": cancel}
handler = lambda_handler(OPERATIONS)
