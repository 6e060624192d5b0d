"""Bundles of fenced callers, waited for, in the background and uploaded: every entry runs behind the caller's own fence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.jobs import executions
from bulkhead.search import race
from bulkhead.store import Head, Store, files
from bulkhead.store.heads import accounts_write
from functions.processing import handler as processing_steps
from tests.support.door import Door

A, B = "Organization/a", "Organization/b"
EYES = "http://example.org/eyes"
Json = dict[str, Any]


def definition(identifier: str, **more: Any) -> Json:
    return {
        "resourceType": "SearchParameter",
        "id": identifier,
        "url": f"http://example.org/{identifier}",
        "name": identifier,
        "status": "active",
        "description": "eyes",
        "code": "eyes",
        "base": ["Patient"],
        "type": "string",
        "expression": f"Patient.extension('{EYES}').value",
    } | more


def entry(method: str, url: str, resource: Json | None = None, **request: str) -> Json:
    return {"request": {"method": method, "url": url, **request}} | ({"resource": resource} if resource else {})


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door(store, keys_folder, monkeypatch)
    monkeypatch.setattr(executions, "start", lambda _, job: processing_steps.process(store, {"job": job}))
    monkeypatch.setattr(executions, "is_running", lambda store, job: False)
    with made.client(subject="admin") as admin:
        for name in ("a", "b"):
            put(admin, {"resourceType": "Organization", "id": name, "name": name})
    return made


def put(client: httpx.Client, resource: Json) -> None:
    client.put(f"{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()


def processed(client: httpx.Client, door: Door, kind: str, route: str, *entries: Json) -> Json:
    """The answer to a Bundle (or the OperationOutcome): by the request itself, as a job, or as the job of an upload."""
    body = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    if route == "waited for":
        answer: Json = client.post("", json=body).json()
        return answer
    if route == "uploaded":
        offered = client.post("$upload").raise_for_status().json()
        given = {part["name"]: part for part in offered["parameter"]}
        name = given["url"]["valueUrl"].partition("?")[0].partition(files.UPLOADS)[2]
        files.put(door.store, files.UPLOADS + name, json.dumps(body).encode())
        body = given["next"]["resource"]
    taken = client.post("", json=body, headers={"prefer": "respond-async"})
    if taken.status_code != 202:
        refused: Json = taken.json()
        return refused
    (told,) = client.get(taken.headers["content-location"]).raise_for_status().json()["entry"]
    entry: Json = told.get("resource") or told["response"]["outcome"]
    return entry


@pytest.mark.parametrize("route", ["waited for", "in the background", "uploaded"])
@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_no_entry_tells_what_another_tenant_has(door: Door, kind: str, route: str) -> None:
    """A definition of another tenant's answers as one that is not there: in searches, criteria and conditional references."""
    theirs = door.client(subject="b", accounts=[B])
    put(theirs, definition("hidden", expression="Patient.name.nonsense()"))
    put(theirs, {"resourceType": "Patient", "id": "hidden", "identifier": [{"system": "urn:s", "value": "h"}]})
    observed = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    mine = door.client(subject="a", accounts=[A])
    for code, value in (("eyes", "blue"), ("unknown", "blue"), ("identifier", "urn:s|h")):
        asked = [
            entry("GET", f"Patient?{code}={value}"),
            entry("GET", "Patient/hidden"),
            entry("POST", "Observation", observed | {"subject": {"reference": f"Patient?{code}={value}"}}),
            entry("PATCH", f"Patient?{code}={value}", {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="}),
            entry("DELETE", f"Patient?{code}={value}"),
        ]  # fmt: skip
        for one in asked:
            told = json.dumps(processed(mine, door, kind, route, one))
            assert "SearchParameter" not in told
            assert "nonsense" not in told
            assert "/_history/" not in told
            absent = json.dumps(one).replace("eyes", "brow").replace("urn:s|h", "urn:s|n").replace("/hidden", "/absent")
            other = json.dumps(processed(mine, door, kind, route, json.loads(absent)))
            assert without_ids(other) == without_ids(told).replace("eyes", "brow").replace(
                "urn:s|h", "urn:s|n"
            ).replace("hidden", "absent").replace("urn:s%7Ch", "urn:s%7Cn")


def without_ids(text: str) -> str:
    found = json.loads(text)
    for one in found.get("entry", ()):
        one.get("resource", {}).pop("id", None)
        one.get("resource", {}).get("meta", {}).pop("lastUpdated", None)
    return json.dumps(found)


@pytest.mark.parametrize("route", ["waited for", "in the background", "uploaded"])
@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_what_a_fenced_caller_sends_governs_nobody_else(door: Door, kind: str, route: str) -> None:
    mine = door.client(subject="a", accounts=[A])
    answer = processed(mine, door, kind, route, entry("PUT", "SearchParameter/mine", definition("mine")))
    assert answer["entry"][0]["response"]["status"] == "201 Created"
    strict = {"prefer": "handling=strict"}
    assert mine.get("Patient?eyes=blue", headers=strict).status_code == 200
    for other in (door.client(subject="admin"), door.client(subject="b", accounts=[B])):
        assert other.get("Patient?eyes=blue", headers=strict).status_code == 400


def test_several_definitions_of_one_code_are_told_in_the_answer(door: Door) -> None:
    admin = door.client(subject="admin")
    put(admin, {"resourceType": "Patient", "id": "p", "extension": [{"url": EYES, "valueString": "blue"}]})
    put(admin, definition("y"))
    alone = admin.get("Patient?eyes=blue").json()["entry"]
    assert [one["search"]["mode"] for one in alone] == ["match"]
    put(admin, definition("z"))
    match, told = sorted(admin.get("Patient?eyes=blue").json()["entry"], key=lambda one: one["search"]["mode"])
    assert (match["resource"]["id"], told["search"]["mode"]) == ("p", "outcome")
    (issue,) = told["resource"]["issue"]
    assert issue["severity"] == "warning"
    assert "2 SearchParameters" in issue["diagnostics"]
    assert "SearchParameter/y decides" in issue["diagnostics"]


def test_a_small_tenants_search_costs_the_same_beside_a_large_one(door: Door) -> None:
    """Units of DynamoDB, for a search that four times as many hidden resources match: two listings race,
    and the one that loses has read two batches of 100 of them at most: far from the 450 that were added."""
    store = door.store
    theirs, mine = door.client(subject="b", accounts=[B]), door.client(subject="a", accounts=[A])
    put(mine, {"resourceType": "Patient", "id": "small"})
    put(theirs, {"resourceType": "Patient", "id": "large"})

    def seen(patient: str) -> Json:
        code = {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}
        resource = {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": "2026-01-01"}
        return entry("POST", "Observation", resource | {"subject": {"reference": f"Patient/{patient}"}})

    def cost(query: str) -> float:
        with store.metered() as meter:
            found = mine.get(query).raise_for_status().json()
        assert len([one for one in found["entry"] if one["search"]["mode"] == "match"]) in (1, 3)
        return sum(meter.units.values())

    queries = (
        "Observation?code=718-7&_sort=-date",
        "Observation?code=718-7&_total=accurate",
        "Patient?_id=small&_revinclude=Observation:subject",
        "Patient?_has:Observation:subject:code=718-7",
    )
    processed(mine, door, "batch", "waited for", *(seen("small") for _ in range(3)))
    processed(theirs, door, "batch", "waited for", *(seen("large") for _ in range(150)))
    few = {query: cost(query) for query in queries}
    processed(theirs, door, "batch", "waited for", *(seen("large") for _ in range(450)))
    many = {query: cost(query) for query in queries}
    for query in queries:
        assert many[query] <= few[query] * 1.2 + 200, query


def test_what_another_tenant_keeps_to_itself_in_a_shared_record_costs_everything_little(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`$everything` of a patient of both tenants, beside four times as many records that one of them has sealed."""
    # As many hidden resources pay for the listing of what the caller sees as fit a test.
    monkeypatch.setattr(race, "FREE", 10)
    monkeypatch.setattr(race, "ENTRIES_PER_HEAD", 100)
    store = door.store
    admin = door.client(subject="admin")
    theirs, mine = door.client(subject="b", accounts=[B]), door.client(subject="a", accounts=[A])
    shared = {"resourceType": "Patient", "id": "both"}
    put(admin, {**shared, "meta": {"accounts": [{"reference": A}, {"reference": B}]}})
    observed = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/both"},
    }
    processed(mine, door, "batch", "waited for", *(entry("POST", "Observation", observed) for _ in range(3)))

    def sealed(count: int) -> None:
        body = {"resourceType": "Bundle", "type": "batch", "entry": [entry("POST", "Observation", observed)] * count}
        for made in theirs.post("", json=body).raise_for_status().json()["entry"]:
            head = store.read(made["response"]["location"].partition("/_history")[0].rpartition("/R4/")[2])
            assert head is not None
            heads.append(head)
        store.commit([accounts_write(head, {}, explicit=(B,), sealed=True) for head in heads])
        heads.clear()

    def cost(query: str) -> float:
        with store.metered() as meter:
            found = mine.get(f"Patient/both/$everything{query}").raise_for_status().json()
        assert [one["resource"]["resourceType"] for one in found["entry"]] == ["Patient", *["Observation"] * 3]
        assert "next" not in [link["relation"] for link in found["link"]]
        return sum(meter.units.values())

    heads: list[Head] = []
    sealed(100)
    few = {query: cost(query) for query in ("", "?_count=4")}
    sealed(300)
    for query in few:
        assert cost(query) <= few[query] * 1.2 + 30, query
