"""What processing a bundle needs of the edge: the same for an answer that is waited for and for a job."""

from __future__ import annotations

from bulkhead import bundles
from bulkhead.api.request import Request
from bulkhead.bundles.context import MINIMAL, Journal
from bulkhead.interactions.entries import Reader


def context(request: Request, journal: Journal | None = None) -> bundles.Context:
    """The context of `POST [base]`, the request itself or one that is made of a job's order."""
    return bundles.Context(
        session=request.session,
        base=request.base,
        reader=Reader(request),
        represent=request.represent,
        returns=request.prefer.returns or MINIMAL,
        journal=journal,
    )
