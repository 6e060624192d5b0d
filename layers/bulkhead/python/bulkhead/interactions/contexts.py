"""Makes the context for processing a bundle: the same for a synchronous response and for a job."""

from __future__ import annotations

from bulkhead import bundles
from bulkhead.api.request import Request
from bulkhead.bundles.context import MINIMAL, Journal
from bulkhead.interactions.entries import Reader


def context(request: Request, journal: Journal | None = None) -> bundles.Context:
    """The context of a `POST [base]`: for the request itself, or for one that is made from a job's order."""
    return bundles.Context(
        session=request.session,
        base=request.base,
        reader=Reader(request),
        represent=request.represent,
        note_told=request.note_told,
        returns=request.prefer.returns or MINIMAL,
        journal=journal,
    )
