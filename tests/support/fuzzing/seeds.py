"""What is right to begin with: resources, bundles, bodies of operations."""

from __future__ import annotations

from typing import Any

# Stands for what a patient would not want to be read: it is in resources and in searches, and in no answer but theirs.
SECRET = "Zyxwvuts"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"tag": [{"system": "urn:tags", "code": "t"}], "profile": ["http://example.org/p"]},
    "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{SECRET}</div>'},
    "identifier": [{"system": "urn:mrn", "value": SECRET, "type": {"coding": [{"system": "urn:t", "code": "MR"}]}}],
    "name": [
        {
            "family": SECRET,
            "given": [SECRET, None],
            "_given": [None, {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}],
            "period": {"start": "2000"},
        }
    ],
    "gender": "female",
    "birthDate": "1970-01-31",
    "multipleBirthInteger": 2,
    "contact": [{"name": {"text": SECRET}}],
    "generalPractitioner": [{"reference": "Practitioner/d"}],
    "contained": [{"resourceType": "Organization", "id": "c", "name": SECRET}],
    "managingOrganization": {"reference": "#c"},
    "extension": [{"url": "http://example.org/e", "valueString": SECRET}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": SECRET}]},
    "subject": {"reference": "Patient/p", "display": SECRET},
    "effectiveDateTime": "2020-02-29T10:00:00+01:00",
    "valueQuantity": {"value": 1.10, "unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
    "component": [{"code": {"text": SECRET}, "valueString": SECRET}],
    "note": [{"text": SECRET}],
}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "e",
    "status": "finished",
    "class": {"code": "AMB"},
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2020-01-01", "end": "2020-01-02"},
}
ORGANIZATION: dict[str, Any] = {"resourceType": "Organization", "id": "a", "name": SECRET}
SEARCH_PARAMETER: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "id": "s",
    "url": "http://example.org/s",
    "name": "S",
    "status": "active",
    "description": "s",
    "code": "s",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.family",
}
RESOURCES = (PATIENT, OBSERVATION, ENCOUNTER, ORGANIZATION, SEARCH_PARAMETER)
BINARY: dict[str, Any] = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "WnlY"}


def parameters(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(listed)}


def bundle(kind: str) -> dict[str, Any]:
    """A bundle with every kind of entry."""
    urn = "urn:uuid:0b7e0c3c-3b8f-4d55-8c0f-0a54a9c6a1d1"
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {"fullUrl": urn, "resource": {**PATIENT, "id": "new"}, "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:mrn|{SECRET}"}},
            {"resource": {**OBSERVATION, "subject": {"reference": urn}}, "request": {"method": "PUT", "url": "Observation/o"}},
            {"resource": {**ENCOUNTER, "subject": {"reference": f"Patient?name={SECRET}"}}, "request": {"method": "PUT", "url": "Encounter/e", "ifMatch": 'W/"1"'}},
            {"request": {"method": "DELETE", "url": "Organization/none"}},
            {"request": {"method": "GET", "url": f"Patient?name={SECRET}"}},
            {"request": {"method": "GET", "url": "Observation/o/_history"}},
        ],
    }  # fmt: skip


COMPARTMENT_DEFINITION: dict[str, Any] = {
    "resourceType": "CompartmentDefinition",
    "id": "d",
    "url": "http://bulkhead.example/d",
    "name": "D",
    "status": "active",
    "code": "Organization",
    "search": True,
    "resource": [{"code": "Patient", "param": ["organization"]}, {"code": "Organization", "param": ["{def}"]}],
}

BODIES: tuple[Any, ...] = (
    *RESOURCES,
    BINARY,
    bundle("batch"),
    bundle("transaction"),
    COMPARTMENT_DEFINITION,
    parameters({"name": "accounts", "valueReference": {"reference": "Organization/a"}}, {"name": "propagate", "valueBoolean": True}),
    parameters({"name": "meta", "valueMeta": PATIENT["meta"]}),
    parameters({"name": "resource", "resource": PATIENT}, {"name": "mode", "valueCode": "update"}),
    parameters({"name": "start", "valueDate": "2020-01-01"}, {"name": "_count", "valueInteger": 3}),
    parameters({"name": "operation", "part": [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.name[0].family"}, {"name": "value", "valueString": SECRET}]}),
    parameters({"name": "operation", "part": [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Observation"}, {"name": "name", "valueString": "note"}, {"name": "value", "valueAnnotation": {"text": SECRET}}]}),
    [{"op": "replace", "path": "/name/0/family", "value": SECRET}, {"op": "test", "path": "/gender", "value": "female"}],
    [{"op": "move", "from": "/note", "path": "/component"}, {"op": "remove", "path": "/status"}],
)  # fmt: skip
