"""`$validate`, `$everything` and `$meta` over HTTP; the bodies in JSON and in XML."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

TAG = {"system": "urn:tags", "code": "record-lost"}


def parameters(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(listed)}


def severities(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [issue["severity"] for issue in answer.json()["issue"]]


def test_validate(client: httpx.Client) -> None:
    right = {"resourceType": "Patient", "id": "anna", "gender": "female"}
    assert severities(client.post("Patient/$validate", json=right)) == ["information"]
    assert severities(client.post("Patient/anna/$validate?mode=update", json=right)) == ["information"]
    assert severities(client.post("Patient/other/$validate?mode=update", json=right)) == ["error"]
    assert severities(client.post("Patient/anna/$validate?mode=delete")) == ["information"]
    wrong = {**right, "gender": "unheard of", "birthDate": "31.1.1970"}
    wrapped = parameters({"name": "resource", "resource": wrong}, {"name": "mode", "valueCode": "create"})
    assert severities(client.post("Patient/$validate", json=wrapped)) == ["error", "error"]


def test_validate_stores_nothing(client: httpx.Client) -> None:
    client.post("Basic/$validate?mode=create", json={"resourceType": "Basic", "id": "ghost", "code": {"text": "x"}})
    assert client.get("Basic/ghost").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("Nothing/$validate", "{}", 404), ("Patient/$validate", "", 400), ("Patient/$validate", "{", 400)],
)
def test_validate_refuses(client: httpx.Client, path: str, body: str, status: int) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/fhir+json"})
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_validate_reads_xml(client: httpx.Client) -> None:
    body = '<Patient xmlns="http://hl7.org/fhir"><gender value="female"/></Patient>'
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"}
    assert severities(client.post("Patient/$validate", content=body, headers=headers)) == ["information"]


def keys(bundle: dict[str, Any]) -> list[str]:
    return ["/".join(entry["fullUrl"].split("/")[-2:]) for entry in bundle.get("entry", ())]


def test_everything_by_get_and_by_post(client: httpx.Client) -> None:
    whole = keys(client.get("Patient/anna/$everything").raise_for_status().json())
    compartment = keys(client.get("Patient/anna/*?_count=1000").json())
    assert whole[0] == "Patient/anna"
    assert set(compartment) <= set(whole)
    assert len(whole) == len(set(whole))
    body = parameters({"name": "_type", "valueCode": "Condition"}, {"name": "_type", "valueCode": "Encounter"})
    some = keys(client.post("Patient/anna/$everything", json=body).raise_for_status().json())
    assert some == [key for key in whole if key.split("/")[0] in ("Condition", "Encounter")]


def test_everything_in_pages(client: httpx.Client) -> None:
    whole = keys(client.get("Patient/anna/$everything").json())
    found: list[str] = []
    url: str | None = "Patient/anna/$everything?_count=4"
    while url:
        page = client.get(url).raise_for_status().json()
        found += keys(page)
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert found == whole


def test_everything_of_what_has_none(client: httpx.Client) -> None:
    assert client.get("Organization/harbour/$everything").status_code == 404
    assert client.get("Patient/nobody/$everything").status_code == 404


def test_meta(client: httpx.Client) -> None:
    client.put("Basic/m", json={"resourceType": "Basic", "id": "m", "code": {"text": "x"}}).raise_for_status()
    given = parameters({"name": "meta", "valueMeta": {"tag": [TAG]}})
    added = client.post("Basic/m/$meta-add", json=given)
    assert (added.status_code, added.headers["etag"]) == (200, 'W/"2"')
    assert client.get("Basic/m").json()["meta"]["tag"] == [TAG]
    assert keys(client.get("Basic?_tag=urn:tags|record-lost").json()) == ["Basic/m"]
    [read] = client.get("Basic/m/$meta").json()["parameter"]
    assert (read["name"], read["valueMeta"]["tag"], read["valueMeta"]["versionId"]) == ("return", [TAG], "2")
    [first] = client.get("Basic/m/_history/1/$meta").json()["parameter"]
    assert "tag" not in first["valueMeta"]
    removed = client.post("Basic/m/$meta-delete", json=given, headers={"If-Match": 'W/"2"'})
    assert (removed.status_code, "tag" in removed.json()["parameter"][0]["valueMeta"]) == (200, False)
    assert client.post("Basic/m/$meta-delete", json=given, headers={"If-Match": 'W/"2"'}).status_code == 412


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "Patient/anna/$everything", 405), ("GET", "Patient/anna/$nothing", 404)]
)
def test_other_requests_are_refused_clearly(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_operations_that_read_go_into_batches(client: httpx.Client) -> None:
    urls = {"GET": ("Patient/anna/$everything?_count=2", "Patient/anna/$meta"), "POST": ("Patient/anna/$meta-add",)}
    entries = [{"request": {"method": method, "url": url}} for method in urls for url in urls[method]]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answered = client.post("", json=batch).raise_for_status().json()["entry"]
    assert [entry["response"]["status"][:3] for entry in answered] == ["200", "200", "400"]
    assert [entry["resource"]["resourceType"] for entry in answered[:2]] == ["Bundle", "Parameters"]
