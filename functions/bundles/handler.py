"""Batch and transaction: `POST [base]` (R4 http.html 3.1.0.11)."""

from __future__ import annotations

from bulkhead import bundles
from bulkhead.bundles.context import MINIMAL
from functions import trail
from functions.bundles.reads import Reads
from functions.http import Answer, Request, lambda_handler


def bundle(request: Request) -> Answer:
    """A Bundle of type batch or transaction; entries that fail in a batch do not change the status of the answer."""
    context = bundles.Context(
        store=request.store,
        caller=request.caller,
        base=request.base,
        reader=Reads(request),
        represent=request.represent,
        returns=request.prefer.returns or MINIMAL,
    )
    given = request.resource()
    answered = bundles.process(given, context)
    trail.record_refused_entries(request, given.get("entry", ()), answered.get("entry", ()))
    return Answer(200, answered)


OPERATIONS = {"bundle": bundle}
handler = lambda_handler(OPERATIONS)
