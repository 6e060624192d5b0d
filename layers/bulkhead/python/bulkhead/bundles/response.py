"""Makes the entries of the response from changes and faults (R4 http.html 3.1.0.11.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from bulkhead.bundles.changes import Change
from bulkhead.bundles.context import OPERATION_OUTCOME, REPRESENTATION, Context
from bulkhead.bundles.entries import Interaction
from bulkhead.errors import BulkheadError
from bulkhead.fhir.outcome import from_error, outcome

Content = dict[str, Any]
"""A `Bundle.entry` of a response."""


def response_bundle(kind: str, entries: Sequence[Content]) -> dict[str, Any]:
    """The Bundle of type `transaction-response` or `batch-response`, with its entries in request order."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": f"{kind}-response"}
    return bundle | ({"entry": list(entries)} if entries else {})


def of_change(change: Change, context: Context) -> Content:
    """Status, location, etag and time of a written entry; more if `Prefer: return=` asks for it."""
    if change.fault:
        return of_fault(change.fault)
    response: dict[str, Any] = {"status": status(_code(change))}
    head = change.head
    if head is None:
        return {"response": response}
    if not head.deleted:
        response["location"] = f"{head.key}/_history/{head.version}"
    response |= {"etag": f'W/"{head.version}"', "lastModified": head.updated}
    if context.returns == OPERATION_OUTCOME:
        response["outcome"] = outcome(())
    if context.returns == REPRESENTATION and not head.deleted:
        return {"resource": context.represent(head), "response": response}
    return {"response": response}


def note_found(changes: Iterable[Change], context: Context) -> None:
    """Notes the resources that the answer names, though their entries have written nothing: criteria found them."""
    if context.returns == REPRESENTATION:
        # What is shown is noted there.
        return
    for change in changes:
        if change.head and not change.fault and not change.head.deleted:
            context.note_told(change.head)


def of_fault(error: BulkheadError) -> Content:
    """The response for a failed entry of a batch: its status and OperationOutcome."""
    return {"response": {"status": status(error.status), "outcome": from_error(error)}}


def status(code: int) -> str:
    """`201 Created`."""
    return f"{code} {HTTPStatus(code).phrase}"


def _code(change: Change) -> int:
    if change.entry.interaction is Interaction.DELETE:
        return 204
    before = change.base
    return 200 if before and not before.deleted else 201
