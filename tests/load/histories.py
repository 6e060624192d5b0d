"""One patient with a long history: requests, units and CPU of searches in clinical order, at several lengths."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.compartments import membership
from bulkhead.search import parse, run
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Store
from bulkhead.store.version import everything
from tests.load import clinic
from tests.load.tables import TABLE, empty
from tests.support.searches import unrecorded

Say = Callable[[str, str, str], None]
PATIENT = "Patient/load"
CODES = 20
TIMES = 10
_NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
_COMMIT = 500
# path, parameters
QUERIES = [
    ("Observation", "patient=load&_sort=-date&_count=20"),
    ("Observation", "patient=load&date=ge2025-12-31&_count=20"),
    ("Observation", "patient=load&code=c7&_sort=-date&_count=20"),
    ("Patient/load/Observation", "_sort=-date&_count=20"),
    ("Observation", "code=c7&date=ge2025-12-01&_count=20"),
    ("Observation", "code=c7&_sort=-date&_count=20"),
    ("Observation", "patient=load&_sort=status&_count=20"),
]


def report(size: int, say: Say) -> None:
    """A table with the patient and `size` observations, an hour apart, of 20 codes by turns. The last query has no index, to compare."""
    with empty() as (client, _):
        store = Store(client, None, Settings(table=TABLE, bulk_writes="transact"))
        _fill(store, size)
        for path, text in QUERIES:
            if size > 50_000 and "status" in text:
                continue
            _search(store, path, text)
            with store.metered() as meter:
                _search(store, path, text)
            begun = time.process_time()
            for _ in range(TIMES):
                _search(store, path, text)
            cpu = (time.process_time() - begun) * 1000 / TIMES
            cost = f"{meter.total:3} requests {sum(meter.units.values()):7.1f} units {cpu:7.1f} ms CPU"
            say(f"[{size}] {path}?{text}", cost, "the same at any length")


def _fill(store: Store, size: int) -> None:
    session = Session.of(store, policy.EVERYBODY)
    resources.update(session, {"resourceType": "Patient", "id": "load"}, PATIENT)
    for start in range(0, size, _COMMIT):
        writes = []
        for number in range(start, min(start + _COMMIT, size)):
            resource = clinic.observation(number, {"reference": PATIENT}) | {
                "code": {"coding": [{"system": "http://loinc.org", "code": f"c{number % CODES}"}]},
                "effectiveDateTime": (_NEWEST - timedelta(hours=number)).isoformat(),
            }
            key = f"Observation/{number:08d}"
            writes.append(resources.prepare_create(session, resource | {"id": key.partition("/")[2]}, key, fresh=True))
        for first in range(0, len(writes), 100):
            store.commit(writes[first : first + 100])


def _search(store: Store, path: str, text: str) -> None:
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in text.split("&"))]
    *target, resource_type = path.split("/")
    more: dict[str, Any] = {}
    if target:
        its = membership.checked(store, target[0], resource_type)
        more = {"compartment": "/".join(target), "compartment_types": tuple(its.parameters)}
    query = parse.parse(pairs, resource_type, **more)
    known = membership.in_force(store)
    bundle = run.search(
        store,
        query,
        base="http://load",
        represent=lambda version: resources.splice(version, known) or resources.represent(version, known),
        fence=everything,
        consulted=unrecorded,
    )
    assert bundle["entry"]
