"""Clinical order by the index is what sorting everything by hand gives: page by page, with writes and stale entries in between."""

from __future__ import annotations

from datetime import datetime
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import BadRequest, TooCostly
from bulkhead.facts import care_dates, extract
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import dated
from bulkhead.search.parse import parse
from bulkhead.search.plan import Complete, plan
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient, quantity
from tests.support.searches import keys, pages, search

DAYS = ["2020-02-28", "2020-02-29", "2020-03-01", "2020-03-02"]
TIMES = ["T00:00:00Z", "T00:00:00.500Z", "T12:00:00Z", "T23:59:59Z", "T01:00:00+02:00"]
DATE = search_parameters("Observation")["date"]

days = st.sampled_from(DAYS)
moments = st.builds(str.__add__, days, st.sampled_from(TIMES))
simple = st.one_of(days, moments, st.sampled_from(["2020", "2020-02"])).map(lambda text: {"effectiveDateTime": text})
periods = st.tuples(st.one_of(days, moments), st.one_of(days, moments)).map(
    lambda ends: {"effectivePeriod": {"start": ends[0], "end": ends[1]}}
)
open_periods = st.builds(lambda name, text: {"effectivePeriod": {name: text}}, st.sampled_from(["start", "end"]), days)
timings = st.lists(moments, min_size=1, max_size=3).map(lambda events: {"effectiveTiming": {"event": events}})
effective = st.one_of(simple, simple, periods, open_periods, timings, st.just({}))


@st.composite
def results(draw: st.DrawFn, number: int) -> dict[str, Any]:
    code, subject = (
        draw(st.sampled_from("ab")),
        draw(st.sampled_from(["Patient/1", "Patient/1", "Patient/2", "Group/1"])),
    )
    categories = [{"coding": [{"code": one}]} for one in draw(st.sampled_from(["", "k", "l", "kl", "K"]))]
    more = {"status": draw(st.sampled_from(["final", "amended"])), "category": categories, **draw(effective)}
    return observation(f"{number:02d}", code, subject, **more)


@st.composite
def histories(draw: st.DrawFn) -> MemoryStore:
    """Observations of two patients; some were written before with other dates, and their entries are still there."""
    store = MemoryStore(keep_stale=draw(st.booleans()))
    for number in (1, 2):
        store.put(patient(str(number)))
    for number in range(draw(st.integers(0, 14))):
        for _ in range(draw(st.integers(1, 2))):
            store.put(draw(results(number)))
    return store


WHAT = [
    "patient=1",
    "patient=1,2",
    "subject=Patient/2",
    "code=a",
    "code=a,b",
    "patient=1&code=a",
    "patient=1,2&code=a,b",
    "patient=1&category=k",
    "patient=1,2&category=k,l",
    "patient=1&category=k&category=l",
    "patient=1&category=k&code=a",
]
BOUNDS = ["", "ge2020-02-29", "lt2020-03-01", "ge2020-02-29 le2020-03-01", "eq2020-02-29", "gt2020-02-29T12:00:00Z", "le2020-03-01T12:00:00Z"]  # fmt: skip


def by_hand(store: MemoryStore, query: str, sort: str) -> list[str]:
    """All matches as a search without any order gives them, sorted."""
    found = pages(store, "Observation", query + "&_count=1000")
    bodies = {key: store.decode(store.current[key]) for key in found}

    def text(key: str) -> str:
        return care_dates.of_resource(bodies[key], DATE)[sort == "-date"]

    def compare(one: str, other: str) -> int:
        left, right = text(one), text(other)
        if left == right:
            return (one > other) - (one < other)
        if care_dates.NONE in (left, right):
            return 1 if left == care_dates.NONE else -1
        return ((left > right) - (left < right)) * (-1 if sort == "-date" else 1)

    return sorted(found, key=cmp_to_key(compare))


@settings(max_examples=150, deadline=None)
@given(
    histories(),
    st.sampled_from(WHAT),
    st.sampled_from(BOUNDS),
    st.sampled_from(["date", "-date"]),
    st.sampled_from(["", "&status=final"]),
    st.integers(1, 6),
)
def test_sorted_pages_are_what_sorting_by_hand_gives(
    store: MemoryStore, what: str, bounds: str, sort: str, more: str, count: int
) -> None:
    query = "&".join([what, *(f"date={bound}" for bound in bounds.split())]).replace("+", "%2B") + more
    chosen = plan(parse([pair.split("=") for pair in f"{query}&_sort={sort}".split("&")], "Observation"), None, dates.now(), has=Complete(True, True, True))  # type: ignore[misc] # fmt: skip
    assert isinstance(chosen.driver, dated.Dated)
    # Led by a filter that nothing indexes, so that everything is looked at.
    expected = by_hand(store, f"{query}&_id={','.join(f'{n:02d}' for n in range(14))}", sort)
    assert pages(store, "Observation", f"{query}&_sort={sort}&_count={count}") == expected
    assert sorted(pages(store, "Observation", f"{query}&_count={count}")) == sorted(expected)


@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from(["date", "-date"]), st.integers(1, 4), st.data())
def test_writes_between_pages_move_nothing_else(store: MemoryStore, sort: str, count: int, data: st.DataObject) -> None:
    before = {key for key in store.current if key.startswith("Observation/")}
    expected = by_hand(store, f"patient=1&_id={','.join(f'{n:02d}' for n in range(14))}", sort)
    touched: set[str] = set()

    def write(page: int) -> None:
        number = data.draw(st.integers(0, 20))
        store.put(data.draw(results(number)))
        touched.add(f"Observation/{number:02d}")

    found = pages(store, "Observation", f"patient=1&_sort={sort}&_count={count}", write)
    assert [key for key in found if key in before - touched] == [key for key in expected if key not in touched]


@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from(WHAT), st.sampled_from(BOUNDS), st.sampled_from(["", "_sort=date", "_sort=-date"]))
def test_before_all_have_their_entries_the_answer_is_the_same(
    store: MemoryStore, what: str, bounds: str, sort: str
) -> None:
    query = "&".join([what, *(f"date={bound}" for bound in bounds.split()), *([sort] if sort else []), "_count=3"])
    found = pages(store, "Observation", query)
    store.in_clinical_order = False
    again = pages(store, "Observation", query)
    assert (again if sort else sorted(again)) == (found if sort else sorted(found))


def test_before_all_have_their_entries_a_code_of_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.in_clinical_order = False
    for number in range(4):
        store.put(observation(str(number)))
    assert len(pages(store, "Observation", "code=1234-5&_count=3")) == 4
    monkeypatch.setattr(dated, "MOST", 3)
    with pytest.raises(TooCostly, match="narrow the search"):
        search(store, "Observation", "code=1234-5")


def test_a_compartment_is_in_clinical_order_too() -> None:
    store = MemoryStore()
    store.put(patient("1"))
    for number, day in enumerate(DAYS):
        store.put(observation(str(number), effectiveDateTime=day, subject="Patient/1"))
    assert keys(search(store, "Patient/1/Observation", "_sort=-date&_count=2")) == ["Observation/3", "Observation/2"]
    assert keys(search(store, "Patient/1/Observation", "date=ge2020-03-02")) == ["Observation/3"]


@pytest.mark.parametrize("query", ["patient=1&_sort=-date", "patient=1&date=ge2019", "code=1234-5&_sort=-date", "patient=1&code=1234-5&_sort=date", "code=1234-5&date=ge2019&_sort=-date", "patient=1&category=k", "patient=1&category=k&_sort=-date"])  # fmt: skip
@pytest.mark.parametrize("day", [False, True])
def test_what_a_page_reads_does_not_grow_with_the_history(query: str, day: bool) -> None:
    read = []
    for size in (60, 600):
        store = MemoryStore()
        store.put(patient("1"))
        for number in range(size):
            text = datetime.fromordinal(738_000 + number).strftime("%Y-%m-%d") + ("" if day else "T10:00:00Z")
            # Not all, so that what leads to all of a patient's would show.
            kind = [{"coding": [{"code": "kl"[number % 4 == 0]}]}]
            store.put(
                observation(f"{number:04d}", effectiveDateTime=text, valueQuantity=quantity(number), category=kind)
            )
        store.reads.clear()
        assert len(keys(search(store, "Observation", f"{query}&_count=20"))) == 20
        read.append(list(store.reads))
    assert read[0] == read[1]
    assert len(read[0]) <= 6


def test_many_of_one_day_are_paged_by_id_without_reading_them_all() -> None:
    store = MemoryStore()
    store.put(patient("1"))
    for number in range(300):
        store.put(observation(f"{number:04d}", effectiveDateTime="2020-02-29"))
    store.reads.clear()
    found = keys(search(store, "Observation", "patient=1&_sort=-date&_count=10"))
    assert found == [f"Observation/{number:04d}" for number in range(10)]
    assert len(store.reads) <= 6
    assert pages(store, "Observation", "patient=1&_sort=-date&_count=70") == sorted(
        store.current.keys() - {"Patient/1"}
    )


def test_a_link_of_another_order_is_refused() -> None:
    with pytest.raises(BadRequest, match="begin the search anew"):
        search(MemoryStore(), "Observation", "patient=1&_sort=-date&_cursor=abc")


def test_extracted_periods_are_those_of_the_texts() -> None:
    resource = observation(effectiveTiming={"event": ["2020-03-01T12:00:00Z", "2020-02-28"]})
    found = [period for item in extract.values(resource, DATE) for period in extract.periods(*item)]
    assert care_dates.of_resource(resource, DATE) == care_dates.texts(found)
