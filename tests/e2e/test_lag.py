"""`--gsi-lag`: what clients see right after a write where the search indexes lag, as on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.running import Server

SYSTEM = "urn:example:lag"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Of a server whose indexes show nothing for half a minute: longer than these tests take."""
    with (
        Server("--no-auth", "--empty", "--gsi-lag", "30000", PROPAGATION_SETTLE="0") as running,
        running.client() as made,
    ):
        yield made


def patient(value: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": value}], "identifier": [{"system": SYSTEM, "value": value}]}


def total(client: httpx.Client, query: str) -> int:
    found = client.get(f"/Patient?{query}&_total=accurate").raise_for_status().json()
    assert len(found.get("entry", [])) == found["total"]
    return int(found["total"])


def test_what_is_there_at_once_and_what_is_not(client: httpx.Client) -> None:
    value = uuid4().hex
    made = client.post("/Patient", json=patient(value))
    key = f"Patient/{made.json()['id']}"
    assert client.get(key).status_code == 200
    assert client.get(f"{key}/_history").json()["total"] == 1
    assert total(client, f"_id={made.json()['id']}") == 1
    assert total(client, f"identifier={SYSTEM}|{value}") == 1
    assert total(client, f"family={value}") == 0
    client.delete(key).raise_for_status()
    assert total(client, f"identifier={SYSTEM}|{value}") == 0


def test_conditions_on_identifiers_do_not_lag(client: httpx.Client) -> None:
    value = uuid4().hex
    condition = f"identifier={SYSTEM}|{value}"
    plain = client.post("/Patient", json=patient(value)).json()
    found = client.post("/Patient", json=patient(value), headers={"If-None-Exist": condition})
    assert (found.status_code, found.json()["id"]) == (200, plain["id"])
    changed = client.put(f"/Patient?{condition}", json=patient(value) | {"active": True})
    assert (changed.status_code, changed.json()["id"]) == (200, plain["id"])
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient?{condition}"},
    }
    entry = {"resource": observation, "request": {"method": "POST", "url": "Observation"}}
    client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).raise_for_status()
    assert client.delete(f"/Patient?{condition}").status_code == 204
    assert client.get(f"/Patient/{plain['id']}").status_code == 410


def test_conditional_creates_beside_a_plain_one(client: httpx.Client) -> None:
    """At most one of the conditional ones makes a resource, none where the plain one was there first; the plain one always does."""
    for _ in range(6):
        value = uuid4().hex
        condition = {"If-None-Exist": f"identifier={SYSTEM}|{value}"}
        with ThreadPoolExecutor(5) as pool:
            conditional = [
                pool.submit(client.post, "/Patient", json=patient(value), headers=condition) for _ in range(2)
            ]
            plain = pool.submit(client.post, "/Patient", json=patient(value))
            conditional += [
                pool.submit(client.post, "/Patient", json=patient(value), headers=condition) for _ in range(2)
            ]
        assert plain.result().status_code == 201
        made = {answer.json()["id"] for answer in (one.result() for one in conditional) if answer.status_code == 201}
        assert len(made) <= 1
        there = made | {plain.result().json()["id"]}
        for answer in (one.result() for one in conditional):
            # 412: both were there already.
            assert answer.status_code in (200, 201) or (answer.status_code == 412 and made)
            assert answer.status_code == 412 or answer.json()["id"] in there
        assert total(client, f"identifier={SYSTEM}|{value}") == len(there)
