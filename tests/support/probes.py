"""Documents that validation must judge, each built from a valid one: name, document, the faults expected of it.

A fault is (code, expression); a document with none is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

Fault = tuple[str, str]
Json = dict[str, Any]


class Probe(NamedTuple):
    name: str
    document: Any
    faults: Sequence[Fault] = ()


def patient(**elements: Any) -> Json:
    return {"resourceType": "Patient", **elements}


def observation(**elements: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **elements}


def observation_of(value: Any) -> Json:
    return observation(valueQuantity={"value": value, "unit": "kg"})


def encounter(**elements: Any) -> Json:
    return {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, **elements}


def condition(**elements: Any) -> Json:
    return {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, **elements}


def text(div: str) -> Json:
    return patient(text={"status": "generated", "div": div})


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
EXTENSION = {"url": "http://example.org/x", "valueString": "v"}
ABSENT = {"extension": [EXTENSION]}
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"

VALID = [
    Probe("empty patient", patient()),
    Probe(
        "text and names",
        patient(name=[{"family": "M\u00fcller\u00a0\u4e2d", "given": ["A", "B"]}], birthDate="1970-03"),
    ),
    Probe("line breaks in a string", patient(name=[{"text": "two\r\n\tlines"}])),
    Probe("leap day", patient(birthDate="2024-02-29")),
    Probe("partial dateTime", patient(deceasedDateTime="2020")),
    Probe("leap second", observation(issued="2016-12-31T23:59:60Z")),
    Probe("time zone", observation(effectiveDateTime="2020-02-01T10:00:00.123456+14:00")),
    Probe("integer as decimal", observation_of(70)),
    Probe("28 digits", observation_of(Decimal("0.1234567890123456789012345678"))),
    Probe("exponent", observation_of(Decimal("7E+1"))),
    Probe(
        "extension instead of a required value",
        {"resourceType": "Observation", "_status": ABSENT, "code": {"text": "x"}},
    ),
    Probe("value with extension", patient(birthDate="1970-01-01", _birthDate=ABSENT)),
    Probe("id beside a value", patient(birthDate="1970-01-01", _birthDate={"id": "a"})),
    Probe("null beside an extension", patient(name=[{"given": ["A", None], "_given": [None, ABSENT]}])),
    Probe("only extensions in an array", patient(name=[{"_given": [ABSENT]}])),
    Probe("choice with its own companion", patient(deceasedBoolean=True, _deceasedBoolean=ABSENT)),
    Probe("extension within an extension", patient(extension=[{"url": "u", "extension": [EXTENSION]}])),
    Probe(
        "accounts and compartment in meta",
        patient(meta={"accounts": [{"reference": "Organization/1"}], "compartment": [{"reference": "Patient/1"}]}),
    ),
    Probe(
        "contained",
        patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "O"}],
            managingOrganization={"reference": "#o"},
        ),
    ),
    Probe(
        "contained refers to its container",
        patient(
            contained=[
                {
                    "resourceType": "Provenance",
                    "id": "p",
                    "target": [{"reference": "#"}],
                    "recorded": "2020-01-01T00:00:00Z",
                    "agent": [{"who": {"reference": "Patient/1"}}],
                }
            ]
        ),
    ),
    Probe("absolute reference", condition(subject={"reference": "https://example.org/fhir/Patient/1"})),
    Probe("urn reference", condition(subject={"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"})),
    Probe("versioned reference", condition(subject={"reference": "Patient/1/_history/3", "type": "Patient"})),
    Probe("logical reference", condition(subject={"identifier": {"value": "1"}, "display": "someone"})),
    Probe(
        "reference to any type", {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Basic/1"}}
    ),
    Probe(
        "required binding on a concept",
        condition(
            clinicalStatus={"coding": [{"system": "http://local", "code": "1"}, {"system": CLINICAL, "code": "active"}]}
        ),
    ),
    Probe("extension instead of a bound concept", condition(clinicalStatus=ABSENT)),
    Probe("base64 with line breaks", {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVs\nbG8="}),
    Probe(
        "narrative",
        text(
            DIV + '<p class="a" xml:lang="de"><b>x</b> &lt; <a href="http://x">y</a><img src="#a" alt="z"/></p></div>'
        ),
    ),
    Probe("narrative that is an image", text(DIV + '\n<img src="#x"/> </div>')),
    Probe(
        "bundle",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {"fullUrl": "urn:uuid:p", "resource": patient(), "request": {"method": "POST", "url": "Patient"}}
            ],
        },
    ),
    Probe(
        "parameters",
        {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "accounts", "valueReference": {"reference": "Organization/a"}},
                {"name": "r", "resource": patient()},
            ],
        },
    ),
    Probe(
        "content that refers to itself",
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string"}]}],
        },
    ),
    Probe("MIME types are not enumerated", {"resourceType": "Binary", "contentType": "application/x-anything"}),
    Probe(
        "R5 concept of a medication",
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/1"},
            "medication": {"concept": {"text": "x"}},
        },
    ),
    Probe(
        "R5 concept of a manifestation",
        {
            "resourceType": "AllergyIntolerance",
            "patient": {"reference": "Patient/1"},
            "clinicalStatus": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}
                ]
            },
            "reaction": [{"manifestation": [{"concept": {"text": "x"}}, {"text": "y"}]}],
        },
    ),
]
