"""Counts of one Patient's resources and of a code, from keys: whatever the indexes hold, they are those of the matches, and heads are read for the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import TooCostly
from bulkhead.search.run import Limits
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, SNOMED, coding, observation, patient
from tests.support.searches import pages, search, ward
from tests.unit.search.test_widening import CHAIN, clinic

CODES = ((LOINC, "a"), (LOINC, "B"), (SNOMED, "b"), (None, "a"), (None, "c"))
QUERIES = [
    ("Observation", "patient=1"),
    ("Observation", "subject=Patient/1"),
    ("Observation", "subject=Patient/2&_sort=-date"),
    ("Observation", "performer=1"),
    ("Observation", "code=a"),
    ("Observation", f"code={LOINC}|b&_sort=date"),
    ("Observation", "code=|a"),
    ("Observation", "code=b&_sort=_id"),
    ("Patient/1/Observation", ""),
    ("Patient/2/*", ""),
    ("Patient/2/*", "_type=Observation,Goal"),
    ("Observation", f"code=a,{LOINC}|b,|c"),
    ("Observation", "patient=1,2"),
    ("Observation", "performer=Practitioner/1,Patient/2"),
    ("Observation", f"code={LOINC}|,c"),
    # These are counted by heads.
    ("Observation", "code:not=a"),
    ("Observation", "patient=1&code=a"),
    ("Observation", "subject=Patient/1/_history/1"),
    ("Observation", f"code={LOINC}|"),
    ("", "_type=Observation,Condition&patient=1"),
]

NAMES = st.sampled_from("abcdefghijklmnop")
PEOPLE = st.lists(st.sampled_from(("Patient/1", "Patient/2", "Practitioner/1")), max_size=3, unique=True)
CODED = st.lists(st.sampled_from(CODES), max_size=3, unique=True)
WRITES = st.lists(st.one_of(st.tuples(NAMES, PEOPLE, CODED), NAMES), max_size=40)


def filled(writes: list[Any]) -> MemoryStore:
    """A store in which every entry that there ever was is left behind."""
    store = MemoryStore(keep_stale=True)
    for one in "12":
        store.put(patient(one))
    for written in writes:
        if isinstance(written, str):
            if f"Observation/{written}" in store.current:
                store.delete(f"Observation/{written}")
            continue
        name, people, codes = written
        subject, performers = (people or ["Group/1"])[0], [{"reference": one} for one in people[1:]]
        more: dict[str, Any] = {"performer": performers} if performers else {}
        made = observation(name, subject=subject, effectiveDateTime=f"2020-0{len(codes) + 1}", **more)
        store.put(made | {"code": {"text": "x", "coding": [coding(*code) for code in codes]}})
    return store


@settings(max_examples=60)
@given(writes=WRITES)
def test_what_is_counted_is_what_is_found(writes: list[Any]) -> None:
    store = filled(writes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bulkhead.search.confirming.FEW", 0)
        for path, query in QUERIES:
            found = pages(store, path, query)
            assert search(store, path, f"{query}&_summary=count")["total"] == len(set(found)), (path, query)


def reads(store: MemoryStore, path: str, query: str, **more: Any) -> tuple[int, int]:
    """The total, and the requests for heads."""
    store.reads.clear()
    total = search(store, path, query, **more)["total"]
    return total, store.reads.count("BatchGetItem")


@pytest.mark.parametrize(
    ("path", "query", "total", "heads"),
    [
        ("Observation", "code=a", 12, 0),
        ("Observation", f"code={LOINC}|A", 12, 0),
        ("Observation", f"code={SNOMED}|a", 0, 1),
        ("Observation", "code=nothing", 0, 0),
        ("Observation", "code=a,b", 25, 0),
        ("Observation", "patient=1,2", 25, 1),
        ("Observation", "patient=1", 13, 1),
        ("Observation", "subject=Patient/1&_sort=-date", 13, 1),
        ("Patient/1/Observation", "", 13, 1),
        ("Patient/1/*", "", 13, 1),
        ("Patient/nobody/Observation", "", 0, 1),
    ],
)
def test_only_the_patient_is_read(path: str, query: str, total: int, heads: int) -> None:
    assert reads(ward(), path, f"{query}&_summary=count") == (total, heads)


def test_a_page_with_a_total_reads_no_more_heads_than_the_page() -> None:
    store = ward()
    _, heads = reads(store, "Observation", "code=a&_count=2&_total=accurate")
    store.reads.clear()
    search(store, "Observation", "code=a&_count=2")
    assert heads == store.reads.count("BatchGetItem")


@pytest.mark.parametrize(
    ("path", "query"), [("Observation", "patient=1"), ("Patient/1/Observation", ""), ("Patient/1/*", "")]
)
def test_who_replaces_others_answers_for_them(path: str, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = clinic(*CHAIN)
    monkeypatch.setattr("bulkhead.search.confirming.FEW", 0)
    found = len(pages(store, path, query))
    # The heads of the Patients, in turn.
    assert reads(store, path, f"{query}&_summary=count") == (found, 3 if path == "Observation" else 4)
    assert found > 2


def test_under_a_fence_heads_decide() -> None:
    def fence(candidate: Version) -> bool:
        return candidate.key.endswith("1")

    store = ward()
    for path, query in (("Observation", "code=a"), ("Observation", "patient=2"), ("Patient/2/Observation", "")):
        found = pages(store, path, query, fence=fence)
        assert search(store, path, f"{query}&_summary=count", fence=fence)["total"] == len(found)


def test_an_older_table_is_counted_by_heads() -> None:
    store = ward()
    store.heads_can_count = lambda: False  # type: ignore[method-assign] # as a table that older code has written
    assert reads(store, "Observation", "code=a&_summary=count") == (12, 1)


def moved(number: int) -> MemoryStore:
    """A store with entries of this many resources that now have another code."""
    store = MemoryStore(keep_stale=True)
    for code in "ab":
        for name in range(number):
            store.put(observation(f"{name}", code=code))
    return store


def test_what_has_to_be_read_is_bounded() -> None:
    store = moved(30)
    assert search(store, "Observation", "code=a&_summary=count", limits=Limits(counted=30))["total"] == 0
    with pytest.raises(TooCostly) as refused:
        search(store, "Observation", "code=a&_summary=count", limits=Limits(counted=29))
    assert refused.value.issues[0].expression == "_summary"


def test_what_is_listed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.search.confirming.ENTRIES", 10)
    store = moved(30)
    assert search(store, "Observation", "code=b&_summary=count", limits=Limits(names=40))["total"] == 30
    with pytest.raises(TooCostly):
        search(store, "Observation", "code=b&_total=accurate&_count=1", limits=Limits(names=20))
