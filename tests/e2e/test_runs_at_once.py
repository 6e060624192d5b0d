"""Runs at once on one patient, over HTTP, while clinicians go on writing: the last one committed holds, and no write is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.running import pages

MEMBERS = 300
SETS = [("harbour",), ("lighthouse",), ("harbour", "lighthouse"), (), ("lighthouse", "harbour")]


def parameters(accounts: Sequence[str]) -> dict[str, Any]:
    given = [{"name": "accounts", "valueReference": {"reference": f"Organization/{one}"}} for one in accounts]
    return {"resourceType": "Parameters", "parameter": [*given, {"name": "propagate", "valueBoolean": True}]}


def observation(patient: str, number: int, value: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{patient}-{number}",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        "valueInteger": value,
    }


def fill(client: httpx.Client, patient: str) -> None:
    resources = [{"resourceType": "Patient", "id": patient}, *(observation(patient, n, 0) for n in range(MEMBERS))]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).raise_for_status()


def run(client: httpx.Client, patient: str, accounts: Sequence[str], asynchronous: bool) -> int:
    """One run, to its end; how many resources stand as asked."""
    headers = {"Prefer": "respond-async"} if asynchronous else {}
    answer = client.post(f"/Patient/{patient}/$set-accounts", json=parameters(accounts), headers=headers)
    assert answer.status_code == (202 if asynchronous else 200), answer.text
    body = answer.json()
    if asynchronous:
        status = answer.headers["content-location"]
        while (answer := client.get(status)).status_code == 202:
            pass
        (entry,) = answer.json()["entry"]
        assert entry["response"]["status"] == "200 OK", entry
        body = entry["resource"]
    return int(body["parameter"][0]["valueInteger"])


@pytest.mark.parametrize("runs", [2, 8])
def test_the_last_one_committed_holds_and_no_write_is_lost(client: httpx.Client, runs: int) -> None:
    patient = f"at-once-{runs}"
    fill(client, patient)
    over, written = threading.Event(), dict.fromkeys(range(MEMBERS), 0)

    def clinician() -> None:
        """Without a pause: a write every few milliseconds."""
        for turn in range(1, 1_000_000):
            number = turn % 40
            answer = client.put(f"/Observation/{patient}-{number}", json=observation(patient, number, turn))
            assert answer.status_code == 200, answer.text
            written[number] = turn
            if over.is_set():
                return

    with ThreadPoolExecutor(runs + 1) as pool:
        writing = pool.submit(clinician)
        wanted = [SETS[n % len(SETS)] for n in range(runs)]
        running = [pool.submit(run, client, patient, accounts, bool(n % 2)) for n, accounts in enumerate(wanted)]
        counts = [one.result() for one in running]
        over.set()
        writing.result()
    assert counts == [MEMBERS + 1] * runs
    last = client.get(f"/Patient/{patient}").json()["meta"].get("accounts", [])
    assert [one["reference"].partition("/")[2] for one in last] in [list(accounts) for accounts in wanted]
    members = [entry["resource"] for entry in pages(client, f"/Patient/{patient}/Observation?_count=100")]
    assert {int(one["id"].rpartition("-")[2]): one["valueInteger"] for one in members} == written
    assert [one["meta"].get("accounts", []) for one in members] == [last] * MEMBERS
    for number in range(3):
        history = [entry["resource"] for entry in pages(client, f"/Observation/{patient}-{number}/_history?_count=100")]
        values = [one["valueInteger"] for one in history]
        assert values == sorted(values, reverse=True), "a run has undone a write"
