"""Conditional interactions and preconditions over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

SYSTEM = "http://example.org/conditions"


def patient(value: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}], **content}


def by(value: str) -> dict[str, str]:
    return {"identifier": f"{SYSTEM}|{value}"}


def test_update_patch_and_delete_by_criteria(client: httpx.Client) -> None:
    value = str(uuid4())
    made = client.put("/Patient", params=by(value), json=patient(value))
    assert made.status_code == 201
    again = client.put("/Patient", params=by(value), json=patient(value, active=True))
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    headers = {"Content-Type": "application/json-patch+json"}
    change = b'[{"op":"replace","path":"/active","value":false}]'
    patched = client.patch("/Patient", params=by(value), content=change, headers=headers)
    assert (patched.status_code, patched.json()["active"]) == (200, False)
    assert client.delete("/Patient", params=by(value)).status_code == 204
    assert client.get(f"/Patient/{made.json()['id']}").status_code == 410
    assert client.delete("/Patient", params=by(value)).status_code == 204
    assert client.patch("/Patient", params=by(value), content=change, headers=headers).status_code == 404


def test_several_matches(client: httpx.Client) -> None:
    value = str(uuid4())
    for _ in range(2):
        client.post("/Patient", json=patient(value)).raise_for_status()
    for answer in (
        client.put("/Patient", params=by(value), json=patient(value)),
        client.delete("/Patient", params=by(value)),
        client.post("/Patient", json=patient(value), headers={"If-None-Exist": f"identifier={SYSTEM}|{value}"}),
    ):
        assert answer.status_code == 412
        assert answer.json()["issue"][0]["code"] == "multiple-matches"


def test_criteria_are_needed(client: httpx.Client) -> None:
    assert client.put("/Patient", json={"resourceType": "Patient"}).status_code == 400
    assert client.delete("/Patient").status_code == 400
    assert client.delete("/Patient", params={"nonsense": "1"}).status_code == 400


def test_what_the_reader_has_already(client: httpx.Client) -> None:
    made = client.post("/Patient", json=patient("x"))
    place = f"/Patient/{made.json()['id']}"
    tag, moment = made.headers["etag"], made.headers["last-modified"]
    for headers in ({"If-None-Match": tag}, {"If-Modified-Since": moment}, {"If-None-Match": f'W/"9", {tag}'}):
        answer = client.get(place, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
    assert client.get(place, headers={"If-None-Match": 'W/"9"'}).status_code == 200


def test_preconditions_of_writers(client: httpx.Client) -> None:
    made = client.put("/Patient/guarded", json=patient("x", id="guarded"), headers={"If-None-Match": "*"})
    assert made.status_code == 201
    other = patient("x", id="guarded", active=True)
    assert client.put("/Patient/guarded", json=other, headers={"If-None-Match": "*"}).status_code == 412
    for header, status in (('W/"7"', 412), ("7", 400)):
        assert client.put("/Patient/guarded", json=other, headers={"If-Match": header}).status_code == status
        assert client.delete("/Patient/guarded", headers={"If-Match": header}).status_code == status
    assert client.delete("/Patient/guarded", headers={"If-Match": 'W/"1"'}).status_code == 204


def test_a_create_takes_criteria_in_its_query_too(client: httpx.Client) -> None:
    value = str(uuid4())
    made = [client.post("/Patient?_format=json", params=by(value), json=patient(value)) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 200]
    assert made[0].json()["id"] == made[1].json()["id"]
    unknown = client.post("/Patient", params={"nonsense": "1"}, json=patient(value))
    assert (unknown.status_code, unknown.json()["issue"][0]["expression"]) == (400, ["request.url"])
