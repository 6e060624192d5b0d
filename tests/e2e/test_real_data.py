"""All of Synthea's bundles as they are: loaded by the command, counted, and the largest patient shared. Takes a minute."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running import pages

pytestmark = pytest.mark.xdist_group("real data")


def bundles(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.rglob("*.json.gz"):
        yield json.loads(gzip.decompress(path.read_bytes()))


def expected(folder: Path) -> Counter[str]:
    """How many resources of each type there must be: one a POST, one a condition, one a PUT."""
    made: set[tuple[str, object]] = set()
    for number, bundle in enumerate(bundles(folder)):
        for position, entry in enumerate(bundle["entry"]):
            request = entry["request"]
            once = request.get("ifNoneExist") or (request["url"] if request["method"] == "PUT" else (number, position))
            made.add((entry["resource"]["resourceType"], once))
    return Counter(resource_type for resource_type, _ in made)


def key(entry: dict[str, Any]) -> str:
    return f"{entry['resource']['resourceType']}/{entry['resource']['id']}"


def test_as_many_resources_of_each_type_as_entries_and_every_reference_leads_to_one(
    loaded: httpx.Client, synthea: Path
) -> None:
    wanted = expected(synthea)
    found: set[str] = set()
    led: set[str] = set()
    for name in wanted:
        for entry in pages(loaded, f"/{name}?_count=1000"):
            found.add(key(entry))
            led |= {text for text in references(entry["resource"]) if not text.startswith("#")}
    assert Counter(each.partition("/")[0] for each in found) == wanted
    assert led - found == set()


def references(value: Any) -> Iterator[str]:
    """Every `reference` in a resource, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(text := value.get("reference"), str):
            yield text
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_largest_patient_is_shared_and_taken_back(loaded: httpx.Client, synthea: Path) -> None:
    patients = (
        (len(bundle["entry"]), entry["resource"])
        for bundle in bundles(synthea)
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "Patient"
    )
    _, source = max(patients, key=lambda sized: sized[0])
    identifier = source["identifier"][0]
    (found,) = pages(loaded, f"/Patient?identifier={identifier['system']}|{identifier['value']}")
    patient = key(found)
    account = key(next(pages(loaded, "/Organization?_count=1")))

    members = {key(entry) for entry in pages(loaded, f"/{patient}/*?_count=1000")} | {patient}
    assert len(members) > 2000

    assert set_accounts(loaded, patient, account) == len(members)
    shown = list(pages(loaded, f"/{patient}/*?_count=1000"))
    assert all({"reference": account} in entry["resource"]["meta"]["accounts"] for entry in shown)
    versions = {key(entry): entry["resource"]["meta"]["versionId"] for entry in shown}

    assert set_accounts(loaded, patient, account) == len(members)
    again = {key(entry): entry["resource"]["meta"]["versionId"] for entry in pages(loaded, f"/{patient}/*?_count=1000")}
    assert again == versions

    assert set_accounts(loaded, patient) == len(members)
    assert all("accounts" not in entry["resource"]["meta"] for entry in pages(loaded, f"/{patient}/*?_count=1000"))
    assert list(pages(loaded, f"/Observation?_account={account}")) == []


def set_accounts(client: httpx.Client, patient: str, *accounts: str) -> int:
    """Runs `$set-accounts` with propagation, asynchronously, to its end; the number of resources updated."""
    given: list[dict[str, Any]] = [
        {"name": "accounts", "valueReference": {"reference": account}} for account in accounts
    ]
    parameters = {"resourceType": "Parameters", "parameter": [*given, {"name": "propagate", "valueBoolean": True}]}
    started = client.post(f"/{patient}/$set-accounts", json=parameters, headers={"Prefer": "respond-async"})
    assert started.status_code == 202
    while (answer := client.get(started.headers["content-location"])).status_code == 202:
        assert "x-progress" in answer.headers
        time.sleep(0.1)  # a client that asks without pause takes the CPU that the job needs
    (entry,) = answer.json()["entry"]
    assert entry["response"]["status"].startswith("200")
    return int(entry["resource"]["parameter"][0]["valueInteger"])
