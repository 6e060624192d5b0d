"""The same searches on the table itself: that the store in memory, which the other tests use, is no fiction."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.facts.index_facts import facts
from bulkhead.store import Store, Write
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, observation, patient
from tests.support.searches import pages, ward

QUERIES = [
    ("Observation", "_count=4"),
    ("Observation", "status=final&_count=7"),
    ("Observation", "code=a,b&_count=4"),
    ("Observation", f"code={LOINC}|a&_count=5"),
    ("Observation", "subject=Patient/1,Patient/2&_count=7"),
    ("Observation", "subject=1&code=b&_count=3"),
    ("Observation", "date=ge2020-02&date=le2020-11&_count=5"),
    ("Observation", "_lastUpdated=ge2020&_count=9"),
    ("Observation", "_sort=-_lastUpdated&_count=9"),
    ("Observation", "_compartment=Patient/1&_count=5"),
    ("Observation", "_account=Organization/a&_count=5"),
    ("Observation", "_id=01,03,99"),
    ("Patient", "name=smi&_count=1"),
    ("Patient", "family=smithson"),
    ("Patient/1/*", "_count=3"),
    ("Observation", f"patient=1&code={LOINC}|b&_count=3"),
    ("Observation", "patient=1,2&code=a,b&_count=3"),
    ("Observation", "patient.name=smithson&_count=3"),
    ("Observation", "patient.gender=male&_sort=-date,_id&_count=3"),
    ("Patient", "_has:Observation:patient:code=b"),
    ("", "_type=Observation,Patient&_id=1,03"),
    ("", "_type=Condition,Observation&patient=1&_count=5"),
    ("Patient/1/Observation", "code=b&_count=3"),
    ("Observation", "_sort=date&_count=4"),
    ("Observation", "_sort=-date&_count=4"),
    ("Observation", "date=ge2020-05&_count=4"),
    ("Observation", "date=le2020-05&status=final&_sort=-date,_id&_count=2"),
]


@pytest.fixture(scope="module")
def memory() -> MemoryStore:
    store = ward()
    store.put(observation("acc", subject="Patient/3"), accounts=("Organization/a",))
    store.touch("Observation/01")
    store.delete("Observation/02")
    return store


@pytest.fixture
def table(store: Store, memory: MemoryStore) -> Store:
    copied(store, memory)
    store.commit([Write("Patient/later", None, store.encode(patient("later")), new=facts(patient("later")))])
    return store


def copied(store: Store, memory: MemoryStore) -> Store:
    """The table with the same resources and the same history."""
    for head in [*memory.past.values(), *memory.current.values()]:
        base = store.read(head.key)
        body: dict[str, Any] | None = memory.decode(head) if head.body is not None else None
        store.commit(
            [
                Write(
                    head.key,
                    base,
                    store.encode(body) if body else None,
                    old=facts(store.decode(base)) if base else None,
                    new=facts(body) if body else None,
                    explicit=head.explicit,
                )
            ]
        )
    return store


def test_the_table_answers_as_memory_does(table: Store, memory: MemoryStore) -> None:
    for path, query in QUERIES:
        found = pages(table, path, query)
        expected = pages(memory, path, query)
        assert sorted(found) == sorted(expected), f"{path}?{query}"
        assert found, f"{path}?{query} finds nothing"
