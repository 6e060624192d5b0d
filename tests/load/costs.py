"""What each operation costs, at a given number of resources in the table: requests to DynamoDB, units, own CPU, and dollars per million.

Own CPU is that of this process, without the emulator's. The prices are those of docs/operations/cost.md: us-east-1, on demand; of Lambda
the call and the CPU at 1,769 MB, where a function has one core; of the API the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.compartments import membership, propagation
from bulkhead.search import parse, run
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Store, Version
from bulkhead.store.capacity import Meter, metered
from bulkhead.store.version import everything
from tests.load import clinic
from tests.load.tables import EACH, TABLE, Filled
from tests.support.searches import unrecorded

Say = Callable[[str, str, str], None]
WHO = policy.EVERYBODY
READS = 20
"""How often a read, a search and a create are done: their CPU is small beside the clock's steps."""
WRITE_UNIT, READ_UNIT, CALL, GB_SECOND = 0.625e-6, 0.125e-6, 1.2e-6, 13.3334e-6
GIGABYTES = 1.769


def report(table: Filled, say: Say) -> None:
    """Count what each operation asks of DynamoDB on the table."""
    store = Store(table.client, None, Settings(table=TABLE))
    say(f"[{table.size}] imported in process", f"{table.rate:.0f} resources/s", "-")
    for name, count, work in _work(store, table.patients[0]):
        with metered(table.client) as meter:
            begun, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        say(f"[{table.size}] {name}", _cost(meter, count, cpu=cpu, wall=wall), "the same at any size")


def _cost(meter: Meter, count: int, *, cpu: float, wall: float) -> str:
    dollars = meter.read * READ_UNIT + meter.written * WRITE_UNIT + cpu * GIGABYTES * GB_SECOND + CALL * count
    return (
        f"{meter.total / count:6.2f} requests {meter.read / count:7.2f} read {meter.written / count:7.2f} write units "
        f"{cpu / count * 1000:6.2f} ms CPU {wall / count * 1000:6.2f} ms ${dollars / count * 1e6:6.2f} a million"
    )


def repeated(work: Callable[[], object]) -> Callable[[], None]:
    """The same `READS` times."""

    def several() -> None:
        for _ in range(READS):
            work()

    return several


def _work(store: Store, patient: str) -> list[tuple[str, int, Callable[[], object]]]:
    # What is created here is not in the compartment that is measured.
    subject = {"reference": resources.create(Session.of(store, WHO), {"resourceType": "Patient"})[0].key}
    page, coded = [("patient", patient), ("_count", "100")], [("patient", patient), ("code", "8302-1")]
    made: list[Any] = []

    def create() -> None:
        made.append(resources.create(Session.of(store, WHO), clinic.observation(1, subject))[0])

    def update() -> None:
        resource = clinic.observation(2, subject) | {"id": made[0].id}
        resources.update(Session.of(store, WHO), resource, made[0].key, if_match=None)

    def shown(version: Version) -> dict[str, Any] | Raw:
        known = membership.in_force(store)
        return resources.splice(version, known) or resources.represent(version, known)

    def search(query: list[tuple[str, str]], resource_type: str | None, compartment: str | None = None) -> None:
        types = ("Observation", "Encounter") if compartment else ()
        parsed = parse.parse(query, resource_type, compartment=compartment, compartment_types=types)
        run.search(store, parsed, base="http://load", represent=shown, fence=everything, consulted=unrecorded)

    def propagate(accounts: tuple[str, ...]) -> None:
        target = store.read(patient)
        assert target is not None
        write = resources.prepare_update(Session.of(store, WHO), store.decode(target), target, partial=False)
        assert write is None
        changed = target_write(store, patient, accounts)
        store.commit([changed])
        members = [pointer.source for pointer in store.pointing_at(patient, limit=5000)]
        propagation.propagate(store, patient, members, changed_at=None, fence=None, naming=True)

    return [
        ("create an Observation", READS, repeated(create)),
        ("read", READS, repeated(lambda: resources.read(Session.of(store, WHO), patient))),
        ("update it, code and month changed", 1, update),
        ("delete it", 1, lambda: resources.delete(Session.of(store, WHO), made[0].key, None)),
        ("a page of 100 of Patient/x/*", READS, repeated(lambda: search([("_count", "100")], None, patient))),
        ("a page of 100 of Observation?patient=x", READS, repeated(lambda: search(page, "Observation"))),
        ("Observation?patient=x&code=y", READS, repeated(lambda: search(coded, "Observation"))),
        ("$set-accounts, per 100 members, account given", EACH // 100, lambda: propagate(("Organization/a",))),
        ("$set-accounts, per 100 members, another instead", EACH // 100, lambda: propagate(("Organization/b",))),
        ("$set-accounts, per 100 members, nothing to do", EACH // 100, lambda: propagate(("Organization/b",))),
    ]


def target_write(store: Store, key: str, accounts: tuple[str, ...]) -> Any:
    """The patient with these accounts of its own."""
    from bulkhead.store import Write

    head = store.read(key)
    assert head is not None
    return Write(key, head, head.body, explicit=accounts, propagate=True)
