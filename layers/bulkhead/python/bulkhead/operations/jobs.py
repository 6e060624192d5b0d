"""Status and cancellation of asynchronous jobs (R5's asynchronous request pattern)."""

from __future__ import annotations

from bulkhead.api import trail
from bulkhead.api.request import Request
from bulkhead.api.response import Response, status_headers
from bulkhead.errors import Issue
from bulkhead.fhir import outcome
from bulkhead.jobs import executions, lifecycle


def status(request: Request) -> Response:
    """202 with `X-Progress` while the job runs, 200 with its result as a batch-response Bundle when it is over."""
    found = lifecycle.status(request.store, request.caller.owner, request.parameters["id"], executions.is_running)
    trail.record_shown(request, found.unrecorded)
    if found.bundle:
        return Response(200, found.bundle)
    running = Issue("informational", found.progress, severity="information")
    return Response(
        202,
        outcome.outcome([running]),
        {"x-progress": found.progress, **status_headers(request, request.parameters["id"])},
    )


def cancel(request: Request) -> Response:
    """202: the run stops. What is done stays done; the status says how much."""
    lifecycle.cancel(request.store, request.caller.owner, request.parameters["id"], executions.stop)
    return Response(202, headers=status_headers(request, request.parameters["id"]))
