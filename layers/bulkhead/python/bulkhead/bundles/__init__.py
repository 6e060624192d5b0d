"""Batch and transaction: `POST [base]` with a Bundle (R4 http.html 3.1.0.11)."""

from __future__ import annotations

from typing import Any

from bulkhead.bundles import batch, parse, transaction
from bulkhead.bundles.context import Context, Reader
from bulkhead.bundles.entries import Entry, Interaction
from bulkhead.bundles.response import response_bundle

__all__ = ["Context", "Entry", "Interaction", "Reader", "process"]


def process(bundle: dict[str, Any], context: Context) -> dict[str, Any]:
    """The response Bundle of a batch or transaction of any number of entries.

    The resources of `bundle` are changed: their references are resolved in place. A BulkheadError for a Bundle that is not
    valid (400, with the place of every fault), and for a transaction that fails: nothing of it is written then.
    """
    kind = parse.bundle_type(bundle)
    entries, faults = parse.entries(bundle, context.base)
    run = transaction.run if kind == parse.TRANSACTION else batch.run
    return response_bundle(kind, run(entries, faults, context))
