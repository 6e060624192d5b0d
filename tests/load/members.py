"""`$set-accounts` by the state machine on one compartment of many members: rate, memory of the server, requests to DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.jobs.lifecycle import Background
from bulkhead.operations import set_accounts_run
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Store
from bulkhead.store.capacity import metered
from tests.load import clinic, server, tables
from tests.support.scene import Machine

Say = Callable[[str, str, str], None]
PATIENT = "Patient/load"
ORGANIZATIONS = ("Organization/a", "Organization/b")
COMMIT = 1000


def report(size: int, say: Say) -> None:
    """Fill a compartment by the store's own commits, run jobs over HTTP, then one in this process to count its requests."""
    with tables.empty() as (client, endpoint):
        store = Store(client, Objects(), Settings(table=tables.TABLE, bulk_writes="transact"))
        _fill(store, size)
        with server.started(AWS_ENDPOINT_URL_DYNAMODB=endpoint) as (http, pid):
            _over_http(http, pid, size, say)
        say(f"[{size} members] requests for 100 members", f"{_requests(store, size):6.2f}", "15, at any size")


def _fill(store: Store, size: int) -> None:
    for key in ORGANIZATIONS:
        _commit(store, [(key, {"resourceType": "Organization", "name": key})])
    _commit(store, [(PATIENT, {"resourceType": "Patient"})])
    subject = {"reference": PATIENT}
    for start in range(0, size, COMMIT):
        numbers = range(start, min(size, start + COMMIT))
        _commit(store, [(f"Observation/{n:06}", clinic.observation(n, subject)) for n in numbers])


def _commit(store: Store, made: list[tuple[str, dict[str, Any]]]) -> None:
    writes = [
        resources.prepare_create(Session.of(store, policy.EVERYBODY), resource, key, fresh=True)
        for key, resource in made
    ]
    store.commit(writes, (), resources.inherit(Session.of(store, policy.EVERYBODY)))


def _over_http(client: httpx.Client, pid: int, size: int, say: Say) -> None:
    for name, organization, aim in (
        ("account given", ORGANIZATIONS[0], ">= 600/s"),
        ("another instead", ORGANIZATIONS[1], ">= 600/s"),
        ("nothing to change", ORGANIZATIONS[1], ">= 5,000/s"),
    ):
        before = peak = _megabytes(pid)

        def look() -> None:
            nonlocal peak
            peak = max(peak, _megabytes(pid))

        begun = time.perf_counter()
        updated = server.set_accounts(client, f"/{PATIENT}", organization, "respond-async", look)
        taken = time.perf_counter() - begun
        assert updated == size + 1
        figure = f"{taken:6.1f} s = {updated / taken:5.0f}/s, server {before:.0f} -> {peak:.0f} MB"
        say(f"[{size} members] respond-async, {name}", figure, f"{aim}, flat memory")


def _megabytes(pid: int) -> float:
    """Resident memory of a process, where the kernel tells it."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def _requests(store: Store, size: int) -> float:
    """Requests to DynamoDB for 100 members, of a whole job that gives all of them another account."""
    machine = Machine(store)
    request = set_accounts_run.Request(ORGANIZATIONS[:1], propagate=True)
    with metered(store.table.client) as meter:
        job = set_accounts_run.run(
            Session.of(store, policy.EVERYBODY), PATIENT, request, if_match=None, background=Background(machine.start)
        )
        while machine.state(str(job)) == "RUNNING":
            time.sleep(0.1)
    return meter.total * 100 / size


class Objects:
    """As much of S3 as the manifests of a job need."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def put_object(self, Key: str, Body: bytes, **_: str) -> None:
        self._bodies[Key] = Body

    def get_object(self, Key: str, **_: str) -> dict[str, Any]:
        return {"Body": BytesIO(self._bodies[Key])}
