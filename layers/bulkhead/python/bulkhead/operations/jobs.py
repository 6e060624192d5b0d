"""Asynchronous jobs: the caller's own, and the status and cancellation of each (R5's asynchronous request pattern)."""

from __future__ import annotations

from functools import partial

from bulkhead.api import trail
from bulkhead.api.request import Request
from bulkhead.api.response import Response, status_headers
from bulkhead.errors import Issue
from bulkhead.fhir import outcome
from bulkhead.jobs import executions, listing, polling


def listed(request: Request) -> Response:
    """200 with the caller's own jobs, the newest first, a page at a time."""
    settings = request.session.settings
    query = listing.parse(request.query, settings.count_default, settings.count_limit)
    return Response(200, listing.page(request.store, request.caller.owner, query, base=request.base))


def status(request: Request) -> Response:
    """202 with `X-Progress` while the job runs, 200 with its result as a batch-response Bundle when it is over."""
    found = polling.status(
        request.store,
        request.caller.owner,
        request.parameters["id"],
        alive=partial(executions.is_running, request.store),
    )
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
    """202: the run stops. Finished work stays; the status says how much that is."""
    polling.cancel(
        request.store, request.caller.owner, request.parameters["id"], stop=partial(executions.stop, request.store)
    )
    return Response(202, headers=status_headers(request, request.parameters["id"]))
