"""Killed in the middle of a large transaction, and started again on the same data: all of it is there, or nothing."""

from __future__ import annotations

import gzip
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

from infra.local import load
from tests.support.running import Server, pages

ENTRIES = 600
# Shares of the time that the transaction takes undisturbed.
MOMENTS = (0.3, 0.6, 0.9)


def transaction() -> bytes:
    """A patient with many observations, as new resources that refer to each other."""
    patient = "urn:uuid:9d2b1b7e-5f0e-4c39-9c6b-2f3b8f6a1c11"
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": patient},
    }
    resources: list[dict[str, Any]] = [{"resourceType": "Patient"}, *[observation] * (ENTRIES - 1)]
    entries: list[dict[str, Any]] = [
        {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}} for resource in resources
    ]
    entries[0]["fullUrl"] = patient
    return gzip.compress(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode())


def count(server: Server) -> int:
    """How many of the transaction's resources there are: patients and their observations."""
    with server.client() as client:
        patients = [entry["resource"]["id"] for entry in pages(client, "/Patient")]
        members = [list(pages(client, f"/Patient/{each}/Observation?_count=500")) for each in patients]
        everything = list(pages(client, "/Observation?_count=500"))
    assert len(everything) == sum(map(len, members))
    return len(patients) + len(everything)


def test_a_killed_transaction_leaves_all_or_nothing(tmp_path: Path) -> None:
    body = transaction()
    with Server("--empty", "--no-auth", "--quiet") as server:
        started = time.monotonic()
        assert load.post(server.url, None, body).faults == []
        duration = time.monotonic() - started

    arguments = ("--empty", "--no-auth", "--quiet", "--data", str(tmp_path))
    expected = 0
    for moment in MOMENTS:
        with Server(*arguments) as server:
            posting = threading.Thread(target=load.post, args=(server.url, None, body))
            posting.start()
            posting.join(moment * duration)
            server.stop(signal.SIGKILL)
            posting.join()

        with Server(*arguments) as server:
            found = count(server)
            assert found in (expected, expected + ENTRIES)
            assert load.post(server.url, None, body).faults == []
            expected = found + ENTRIES
            assert count(server) == expected
