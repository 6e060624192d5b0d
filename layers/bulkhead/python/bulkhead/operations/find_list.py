"""`List/$find` (R4 list-operation-find.html): the List that serves a purpose for a patient, such as `$current-medications`."""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.api.request import FORM, Request
from bulkhead.api.response import Response
from bulkhead.errors import BadRequest, NotFound
from bulkhead.fhir import references
from bulkhead.operations import parameters
from bulkhead.operations.parameters import Taken
from bulkhead.search import current_lists, functional_lists, run

_TYPE = "List"
_TAKEN = {"patient": Taken("valueId"), "name": Taken("valueCode")}
_ASIDE = frozenset({"_format", "_pretty"})
Pairs = Sequence[tuple[str, str]]


def find_list(request: Request) -> Response:
    """`GET|POST List/$find?patient=1&name=$current-medications`: 200 with the List. NotFound where the patient has none."""
    if resources.known_type(request.parameters["type"]) != _TYPE:
        raise NotFound("$find is an operation of List", "operation")
    policy.require(request.caller, policy.SEARCH, _TYPE)
    given = list(request.query)
    if request.method == "POST" and request.content_type != FORM and request.body.strip():
        read = parameters.read(request.resource(), "$find", _TAKEN)
        given += [(name, one.value) for name, values in read.items() for one in values]
    patient, name = _asked([pair for pair in given if pair[0] not in _ASIDE])
    functional_lists.named(name, "name")
    fence = policy.fence(request.store, request.caller, policy.SEARCH)
    # The check of a hidden Patient costs a read of the caller's own; so must that of an absent one.
    policy.pay_for_a_look(request.store, request.caller, patient)
    found = current_lists.current(request.store, fence, run.find, patient=patient, name=name)
    if found is None:
        raise NotFound("the patient has no List of this name", "name")
    return Response(200, request.represent(found.head), {"etag": f'W/"{found.head.version}"'})


def _asked(given: Pairs) -> tuple[str, str]:
    """(`Patient/1`, the name of the list). BadRequest for any other parameter, and for one that is missing or repeated."""
    for name, _ in given:
        if name not in ("patient", "name"):
            raise BadRequest(f"$find takes patient and name, not {name[:64]}", name[:64])
    values = {name: [text for other, text in given if other == name] for name in ("patient", "name")}
    for name, texts in values.items():
        if len(texts) != 1:
            raise BadRequest(f"{name} must be given once", name)
    patient = references.local(f"Patient/{values['patient'][0].removeprefix('Patient/')}")
    if patient is None:
        raise BadRequest("patient must be the id of a Patient", "patient")
    return patient, values["name"][0]
