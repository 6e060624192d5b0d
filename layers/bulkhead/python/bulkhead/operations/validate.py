"""`POST {Type}/$validate` and `POST {Type}/{id}/$validate`."""

from __future__ import annotations

from bulkhead import resources
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.compartments import own_parameters
from bulkhead.fhir import outcome
from bulkhead.operations import validation_report


def validate(request: Request) -> Response:
    """200 with an OperationOutcome of every issue, even for an invalid resource: the operation itself succeeded."""
    resource_type = resources.known_type(request.parameters["type"])
    identifier = request.parameters.get("id")
    if identifier is not None:
        resources.key_of(resource_type, identifier)
    body = request.resource() if request.body.strip() else None
    asked = validation_report.parse(body, request.query, resource_type)
    look = own_parameters.stored_in(request.store)
    found = validation_report.issues(
        request.caller, resource_type, identifier, asked=asked, base=request.base, look=look
    )
    return Response(200, outcome.outcome(found))
