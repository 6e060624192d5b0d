"""PATCH over HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

JSON_PATCH = {"Content-Type": "application/json-patch+json"}


@pytest.fixture
def place(client: httpx.Client) -> str:
    made = client.post("/Patient", json={"resourceType": "Patient", "name": [{"family": "Berg"}]})
    return f"/Patient/{made.json()['id']}"


def test_json_patch(client: httpx.Client, place: str) -> None:
    change = json.dumps([{"op": "replace", "path": "/name/0/family", "value": "Lund"}])
    answer = client.patch(place, content=change, headers=JSON_PATCH)
    assert answer.status_code == 200
    assert answer.json()["name"] == [{"family": "Lund"}]
    assert answer.headers["etag"] == 'W/"2"'
    assert client.patch(place, content=change, headers=JSON_PATCH | {"If-Match": 'W/"1"'}).status_code == 412


def test_fhirpath_patch(client: httpx.Client, place: str) -> None:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.name[0].family"}, {"name": "value", "valueString": "Lund"}]  # fmt: skip
    change = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = client.patch(place, json=change)
    assert (answer.status_code, answer.json()["name"]) == (200, [{"family": "Lund"}])


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ('[{"op":"test","path":"/name/0/family","value":"x"}]', JSON_PATCH, 422),
        ('[{"op":"add","path":"/nonsense","value":1}]', JSON_PATCH, 400),
        ("{}", JSON_PATCH, 400),
        ("{}", {}, 400),
        ("x", {"Content-Type": "text/csv"}, 415),
    ],
)
def test_patches_that_fail(
    client: httpx.Client, place: str, content: str, headers: dict[str, str], status: int
) -> None:
    answer = client.patch(place, content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert client.get(place).headers["etag"] == 'W/"1"'
