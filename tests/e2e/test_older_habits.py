"""Requests as they were written for other versions and other servers: understood, or refused with R4's form."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

WARD = """\
resourceType: CompartmentDefinition
id: {id}
url: https://example.org/fhir/CompartmentDefinition/{id}
version: '1.0'
name: Ward
status: active
date: 2026-01-01
code: Location
search: true
resource:
  - code: Encounter
    param: [location]
"""


@pytest.mark.parametrize("media_type", ["text/yaml", "application/yaml", "text/yaml; charset=utf-8"])
def test_a_compartment_definition_in_yaml(client: httpx.Client, media_type: str) -> None:
    """Taken, and in force."""
    headers = {"Content-Type": media_type, "Accept": "text/yaml"}
    text = WARD.format(id="yaml-ward")
    made = client.put("CompartmentDefinition/yaml-ward", content=text, headers=headers)
    assert made.status_code in (200, 201), made.text
    assert made.json()["resource"] == [{"code": "Encounter", "param": ["location"]}]
    assert (made.json()["date"], made.json()["version"]) == ("2026-01-01", "1.0")
    posted = client.post("CompartmentDefinition/$validate", content=text, headers=headers)
    assert posted.json()["issue"][0]["severity"] == "information"
    try:
        assert client.get("Location/ward-1/Encounter").status_code == 200
    finally:
        client.delete("CompartmentDefinition/yaml-ward").raise_for_status()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("a: &x [*x]", 400, "anchors"),
        ("a: !!python/name:os.system", 400, "tags"),
        ("a: 1\na: 2", 400, "occurs twice"),
        ("a: " + "[" * 80 + "]" * 80, 400, "levels deep"),
        ("a: '" + "x" * 200_000 + "'", 413, "at most 200000 bytes"),
        ("resourceType: Patient\nsurprise: 1", 400, "surprise"),
    ],
)
def test_yaml_under_the_limits_of_json(client: httpx.Client, body: str, status: int, text: str) -> None:
    answer = client.post("Patient", content=body, headers={"Content-Type": "text/yaml"})
    assert (answer.status_code, text in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("AuditEvent?patient=anna&period > 2013-01-01", "date=gt"),
        ("AuditEvent?patient=anna&period=>2013-01-01", "date"),
        ("AuditEvent?object=List/1", "entity"),
        ("Patient/anna/MedicationDispense?whenHandedOver > 2013-01-01", "whenhandedover=gt"),
        ("MedicationDispense?whenhandedover=> 2013-01-01", "the prefix is directly before the value: gt"),
        ('Observation?date={"$gt": "2013-01-01"}', "the prefix is directly before the value: gt"),
        ("Observation?date[$gt]=2013-01-01", "date=gt"),
        ("MedicationRequest?dateWritten=2013-01-01", "authoredon"),
        ("MedicationPrescription?patient=anna", "MedicationRequest"),
        ("Patient/anna/AdverseReaction", "AllergyIntolerance"),
        ("SecurityEvent", "AuditEvent"),
    ],
)
def test_searches(client: httpx.Client, url: str, form: str) -> None:
    answer = client.get(url)
    assert answer.status_code in (400, 404)
    [issue] = answer.json()["issue"]
    assert form in issue["diagnostics"]
    assert "2013" not in issue["diagnostics"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/atom+xml", "<feed xmlns='http://www.w3.org/2005/Atom'/>", 415),
        ("application/fhir+xml", "<feed xmlns='http://www.w3.org/2005/Atom'><entry/></feed>", 400),
        ("application/fhir+json", '{"title": "feed", "entry": []}', 400),
        ("application/json", '{"resourceType": "Bundle", "title": "feed", "entry": []}', 400),
        ("application/json", '{"resourceType": "Bundle", "type": "transaction", "base": "http://x", "entry": []}', 400),
    ],
)
def test_older_bundles(client: httpx.Client, content_type: str, body: str, status: int) -> None:
    answer = client.post("", content=body, headers={"Content-Type": content_type, "Accept": "application/fhir+json"})
    assert answer.status_code == status
    assert "R4" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("path", ["service/document/new", "service/document/update", "service/patient/merge"])
def test_services_are_posted_to(client: httpx.Client, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_the_statement_names_the_operations(client: httpx.Client) -> None:
    """Each is listed where it is called, and its definition can be read."""
    rest: dict[str, Any] = client.get("metadata").json()["rest"][0]
    of_system = {one["name"]: one["definition"] for one in rest["operation"]}
    types = {one["type"]: one.get("operation", []) for one in rest["resource"]}
    assert {"document-new", "document-update", "patient-merge"} <= set(of_system)
    assert "merge" in {one["name"] for one in types["Patient"]}
    assert "find" in {one["name"] for one in types["List"]}
    for url in (*of_system.values(), *(one["definition"] for one in types["Patient"])):
        assert client.get(url).json()["resourceType"] == "OperationDefinition"
    paths = client.get(str(client.base_url).replace("/fhir/R4", "/openapi.json")).json()["paths"]
    assert "/fhir/R4/service/document/new" in paths
    assert "/fhir/R4/{type}/$merge" in paths
