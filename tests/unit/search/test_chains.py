"""Chained parameters and `_has`, on made-up wards: what they find, what they read, and what a fence hides."""

from __future__ import annotations

import pytest

from bulkhead.search.run import Limits
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, observation, patient
from tests.support.searches import keys, pages, search


def clinic() -> MemoryStore:
    store = MemoryStore()
    for number, name in enumerate(["North", "South"]):
        store.put({"resourceType": "Organization", "id": f"o{number}", "name": name})
    for number in range(6):
        store.put(
            patient(
                str(number),
                name=[{"family": "Smith" if number % 2 else "Jones"}],
                birthDate=f"19{number}0-01-01",
                managingOrganization={"reference": f"Organization/o{number // 3}"},
            )
        )
    for number in range(24):
        store.put(
            observation(
                f"{number:02d}",
                code="a" if number % 4 else "b",
                subject=f"Patient/{number % 6}",
                issued="2020-01-01T00:00:00Z",
            )
        )
    store.put(observation("group", subject="Group/1"))
    store.put({"resourceType": "Group", "id": "1", "member": [{"entity": {"reference": "Patient/1"}}], "actual": True})
    store.put({"resourceType": "AuditEvent", "id": "e", "entity": [{"what": {"reference": "Observation/01"}}]})
    return store


def observed(*patients: int) -> list[str]:
    return [f"Observation/{number:02d}" for number in range(24) if number % 6 in patients]


CASES = [
    ("Observation", "subject:Patient.name=smith", observed(1, 3, 5)),
    ("Observation", "subject.name=smith", observed(1, 3, 5)),
    ("Observation", "patient.family:exact=Smith&patient.birthdate=lt1940", observed(1, 3)),
    ("Observation", "patient.organization.name=north", observed(0, 1, 2)),
    ("Observation", "patient.organization:Organization.name=south&code=b", ["Observation/04", "Observation/16"]),
    ("Observation", "patient.birthdate:missing=true", []),
    ("Observation", "patient._id=1,2", observed(1, 2)),
    ("Observation", "patient._has:Group:member:_id=1", observed(1)),
    ("Patient", "_has:Observation:patient:code=b", ["Patient/0", "Patient/2", "Patient/4"]),
    ("Patient", f"_has:Observation:patient:code={LOINC}|b&name=jones&birthdate=gt1930", ["Patient/4"]),
    ("Patient", "_has:Observation:patient:_has:AuditEvent:entity:_id=e", ["Patient/1"]),
    ("Patient", "_has:Group:member:actual=true", ["Patient/1"]),
    ("Patient", "_has:Observation:patient:code=nothing", []),
    (
        "Organization",
        "_has:Patient:organization:_has:Observation:patient:code=b",
        ["Organization/o0", "Organization/o1"],
    ),
    ("Organization", "_has:Patient:organization:birthdate=1900", ["Organization/o0"]),
]


@pytest.mark.parametrize(("resource_type", "query", "expected"), CASES)
@pytest.mark.parametrize("limits", [Limits(), Limits(inner=1)], ids=["led by the chain", "led by something else"])
def test_what_a_chain_finds(resource_type: str, query: str, expected: list[str], limits: Limits) -> None:
    store = clinic()
    assert sorted(pages(store, resource_type, f"{query}&_count=2", limits=limits)) == expected
    assert search(store, resource_type, f"{query}&_summary=count", limits=limits)["total"] == len(expected)


def test_a_stale_entry_leads_to_nothing() -> None:
    store = MemoryStore(keep_stale=True)
    store.put(patient("1", name=[{"family": "Smith"}]))
    store.put(patient("2", name=[{"family": "Jones"}]))
    store.put(observation("1", code="a", subject="Patient/1"))
    store.put(observation("1", code="b", subject="Patient/2"))
    assert search(store, "Observation", "patient.name=smith")["total"] == 0
    assert keys(search(store, "Observation", "patient.name=jones")) == ["Observation/1"]
    assert search(store, "Patient", "_has:Observation:patient:code=a")["total"] == 0
    assert keys(search(store, "Patient", "_has:Observation:patient:code=b")) == ["Patient/2"]
    store.delete("Patient/2")
    assert search(store, "Observation", "patient.name=jones")["total"] == 0


@pytest.mark.parametrize(
    ("resource_type", "query", "hidden"),
    [
        ("Observation", "patient.name=smith", "Patient/"),
        ("Observation", "patient.organization.name=north", "Patient/"),
        ("Observation", "patient.organization.name=north", "Organization/"),
        ("Patient", "_has:Observation:patient:code=b", "Observation/"),
        ("Organization", "_has:Patient:organization:_has:Observation:patient:code=b", "Patient/"),
        ("Organization", "_has:Patient:organization:_has:Observation:patient:code=b", "Observation/"),
    ],
)
@pytest.mark.parametrize("limits", [Limits(), Limits(inner=1)])
def test_no_step_goes_through_what_the_caller_may_not_see(
    resource_type: str, query: str, hidden: str, limits: Limits
) -> None:
    def fence(candidate: Version) -> bool:
        return not candidate.key.startswith(hidden)

    assert search(clinic(), resource_type, query, limits=limits)["total"] > 0
    assert search(clinic(), resource_type, query, limits=limits, fence=fence)["total"] == 0


def test_a_chain_reads_each_resource_behind_it_once() -> None:
    store = clinic()
    search(store, "Observation", "code=a&patient.name=smith&_count=50")
    # The third asks how many resources the code leads to.
    ahead = ["Query", "BatchGetItem", "Query"]
    assert store.reads == [*ahead, "Query", "BatchGetItem", "BatchGetItem"]


def test_a_chain_to_one_resource_leads_with_a_code() -> None:
    store = clinic()
    store.put(patient("1", identifier=[{"system": "s", "value": "v"}]))
    store.reads.clear()
    found = search(store, "Observation", "patient.identifier=s|v&code=a&_count=50")
    assert sorted(keys(found)) == [f"Observation/{number:02d}" for number in (1, 7, 13, 19)]
    # The second asks whether a contained Patient may be meant, the fourth what has no date.
    assert store.reads == ["Query", "BatchGetItem", "Query", "Query", "Query", "BatchGetItem", "BatchGetItem"]
    assert search(store, "Observation", "patient.identifier=s|nobody&code=a")["total"] == 0


def uneven(large: int) -> MemoryStore:
    """`large` Smiths, each with one observation of a common code; one Rare with three of a rare one and one that is common."""
    store = MemoryStore()
    store.put(patient("rare", name=[{"family": "Rare"}]))
    for number in range(large):
        store.put(patient(f"s{number:05d}", name=[{"family": "Smith"}]))
        store.put(observation(f"c{number:05d}", code="common", subject=f"Patient/s{number:05d}"))
    for number in range(3):
        store.put(observation(f"r{number}", code="rare", subject="Patient/rare"))
    store.put(observation("rare-common", code="common", subject="Patient/rare"))
    store.put(observation("smith-rare", code="rare", subject="Patient/s00007"))
    store.reads.clear()
    return store


@pytest.mark.parametrize(
    ("resource_type", "query", "expected"),
    [
        ("Observation", "patient.name=rare&code=common", ["Observation/rare-common"]),
        ("Observation", "code=rare&patient.name=smith", ["Observation/smith-rare"]),
        ("Patient", "name=smith&_has:Observation:patient:code=rare", ["Patient/s00007"]),
        ("Patient", "name=rare&_has:Observation:patient:code=common", ["Patient/rare"]),
        ("Patient", "_has:Observation:patient:code=rare", ["Patient/rare", "Patient/s00007"]),
        ("Observation", "patient.name=rare&code=rare,common", ["Observation/r0", "Observation/r1", "Observation/r2", "Observation/rare-common"]),
    ],
)  # fmt: skip
def test_the_side_that_leads_to_few_leads(resource_type: str, query: str, expected: list[str]) -> None:
    reads = []
    for large in (150, 1_100):
        store = uneven(large)
        assert keys(search(store, resource_type, f"{query}&_count=10")) == expected
        reads.append(store.reads.copy())
        assert sorted(pages(store, resource_type, f"{query}&_count=1")) == expected
        assert sorted(pages(store, resource_type, f"{query}&_sort=-_lastUpdated&_count=1")) == expected
    assert len(reads[0]) == len(reads[1]) < 20


def test_few_resources_are_asked_one_by_one_instead_of_reading_what_points_at_them() -> None:
    reads = []
    for large in (300, 900):
        store = MemoryStore()
        for number in range(3):
            store.put(patient(f"{number}"))
        for number in range(large):
            store.put(observation(f"{number:04d}", code="a", subject=f"Patient/{number % 2}"))
        store.reads.clear()
        assert keys(search(store, "Patient", "_has:Observation:patient:code=a")) == ["Patient/0", "Patient/1"]
        reads.append(len(store.reads))
    assert reads[0] == reads[1]
