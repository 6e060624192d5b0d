"""Batch and transaction: `POST [base]` (R4 http.html 3.1.0.11); also in the background, with uploads for large bundles."""

from __future__ import annotations

from functools import partial

from bulkhead import bundles
from bulkhead.access import policy
from bulkhead.api import trail
from bulkhead.api.request import Request
from bulkhead.api.response import Response, accepted
from bulkhead.errors import BadRequest
from bulkhead.fhir import json
from bulkhead.interactions.contexts import context
from bulkhead.jobs import executions
from bulkhead.jobs.bundles import submission, uploads
from bulkhead.jobs.bundles.orders import Order
from bulkhead.jobs.lifecycle import NOT_COUNTED, Background


def bundle(request: Request) -> Response:
    """Processes a Bundle of type batch or transaction; failed entries of a batch do not change the status of the response.

    With `Prefer: respond-async`, 202 with a job. The body may then be a Parameters that refers to an upload.
    """
    body = request.resource()
    is_upload = body.get("resourceType") == "Parameters"
    if not request.prefer.respond_async:
        if is_upload:
            raise BadRequest(
                "an uploaded Bundle is processed only in the background: send Prefer: respond-async", "Prefer"
            )
        answered = bundles.process(body, context(request))
        trail.record_refused_entries(request, body.get("entry", ()), answered.get("entry", ()))
        return Response(200, answered)
    order = Order(request.caller, request.base, request.prefer.returns, request.session.extended)
    background = Background(partial(executions.start, request.store), request.headers.get("idempotency-key"))
    if is_upload:
        job = submission.submit_upload(request.store, order, uploads.referred(body), background=background)
        return accepted(request, job, NOT_COUNTED)
    return accepted(request, submission.submit(request.store, order, body, background=background), NOT_COUNTED)


def upload(request: Request) -> Response:
    """`POST [base]/$upload`: says where to PUT a Bundle that is too large for a request, and what to POST next."""
    policy.require_writing(request.caller)
    if request.body.strip() and request.resource() != {"resourceType": "Parameters"}:
        raise BadRequest("$upload takes no parameters", json.BODY)
    return Response(200, uploads.parameters(uploads.offer(request.store, request.caller.owner)))
