"""All of a type in order of a date, from the index, is what sorting everything by hand gives; and a page costs what it shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.access import policy
from bulkhead.access.policy import Caller, Scope
from bulkhead.facts import extract
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.date_order import DateOrder
from bulkhead.search.parse import parse
from bulkhead.search.plan import Complete, plan
from bulkhead.store.version import everything
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient
from tests.support.searches import keys, link, pages, search

TENANTS = ("Organization/a", "Organization/b")
OF_A = Caller("a", (Scope("system", "*", "cruds"),), accounts=TENANTS[:1])

days = st.sampled_from(["2019-11-30", "2020-01-01", "2020-01-31", "2020-02-01", "2020-05-05", "2021-03-01"])
moments = st.builds(str.__add__, days, st.sampled_from(["T00:00:00Z", "T12:00:00Z", "T23:59:59.999Z", "T01:00:00+02:00"]))  # fmt: skip
texts = st.one_of(days, moments, st.sampled_from(["2020", "2020-01", "2020-02"]))
spans = st.tuples(texts, texts).map(sorted)
WHAT: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "Observation date": st.one_of(
        texts.map(lambda text: {"effectiveDateTime": text}),
        spans.map(lambda ends: {"effectivePeriod": {"start": ends[0], "end": ends[1]}}),
        days.map(lambda text: {"effectivePeriod": {"end": text}}),
        st.lists(moments, min_size=1, max_size=2).map(lambda events: {"effectiveTiming": {"event": events}}),
        st.just({}),
    ),
    "Encounter date": st.one_of(
        spans.map(lambda ends: {"period": {"start": ends[0], "end": ends[1]}}),
        days.map(lambda text: {"period": {"start": text}}),
        days.map(lambda text: {"period": {"start": text, "end": text}}),
        st.just({}),
    ),
    "Goal target-date": st.lists(days, max_size=3).map(
        lambda found: {"target": [{"dueDate": text, "measure": {"text": "x"}} for text in found]}
    ),
    "Patient birthdate": st.one_of(days, st.just("1950")).map(lambda text: {"birthDate": text}),
}
BOUNDS = ["", "", "ge2020-01-15", "lt2020-02-01", "ge2020-01-01 le2020-02", "eq2020", "gt2020-02-01T12:00:00Z", "ge2018 lt2022"]  # fmt: skip


@st.composite
def wards(draw: st.DrawFn) -> tuple[MemoryStore, str, str]:
    """A store with resources of one type, some written twice, so that there are entries of before."""
    store, chosen = MemoryStore(keep_stale=draw(st.booleans())), draw(st.sampled_from(sorted(WHAT)))
    resource_type, parameter = chosen.split()
    for number in range(draw(st.integers(0, 14))):
        accounts = draw(st.sampled_from([(), TENANTS[:1], TENANTS[1:]]))
        for _ in range(draw(st.integers(1, 2))):
            store.put({"resourceType": resource_type, "id": f"{number:02d}", **draw(WHAT[chosen])}, accounts)
    return store, resource_type, parameter


def spans_of(store: MemoryStore, key: str, parameter: str) -> list[tuple[str, str]]:
    found = extract.values(store.decode(store.current[key]), search_parameters(key.partition("/")[0])[parameter])
    return [(min(span), max(span)) for item in found for span in extract.periods(*item)]


def place(store: MemoryStore, key: str, parameter: str, descending: bool, since: str) -> tuple[bool, str]:
    """Whether a resource has no date, and the instant that it sorts by: ascending, of dates from `since` on."""
    found = spans_of(store, key, parameter)
    if not found:
        return True, ""
    if not descending:
        return False, min(first for first, last in found if last[:7] >= since[:7])
    only = found[0]
    # A day or a second stands at its first instant, unless all dates of its kind are periods.
    is_day = only[0][:10] == only[1][:10] and only[0][11:] == "00:00:00.000Z" and only[1][11:] == "23:59:59.999Z"
    if len(found) == 1 and (is_day or only[0][:19] == only[1][:19]) and not key.startswith("Encounter"):
        return False, only[0]
    return False, max(last for _, last in found)


def by_dates(resource_type: str, query: str) -> bool:
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&"))]
    return isinstance(
        plan(parse(pairs, resource_type), None, dates.now(), has=Complete(True, True, True)).driver, DateOrder
    )


@settings(max_examples=60, deadline=None)
@given(wards(), st.sampled_from(BOUNDS), st.booleans(), st.integers(1, 5), st.booleans())
def test_pages_are_what_sorting_by_hand_gives(
    ward: tuple[MemoryStore, str, str], bounds: str, descending: bool, count: int, fenced: bool
) -> None:
    store, resource_type, parameter = ward
    query = "".join(f"{parameter}={bound}&" for bound in bounds.split())
    ordered = f"{query}_sort={'-' * descending}{parameter}&_count={count}"
    assert by_dates(resource_type, ordered)
    fence = policy.fence(store, OF_A, policy.SEARCH) if fenced else everything
    every = f"_id={','.join(f'{number:02d}' for number in range(14))}&_count=1000"
    matches = keys(search(store, resource_type, f"{query}{every}", fence=fence))
    found = pages(store, resource_type, ordered, fence=fence)
    assert sorted(found) == sorted(matches)
    since = next((bound[2:] for bound in bounds.split() if bound[:2] in ("ge", "gt", "eq")), "")
    places = [place(store, key, parameter, descending, since) for key in found]
    dated = [instant for missing, instant in places if not missing]
    assert dated == sorted(dated, reverse=descending)
    assert [missing for missing, _ in places] == sorted(missing for missing, _ in places)


@settings(max_examples=40, deadline=None)
@given(wards(), st.sampled_from(BOUNDS[2:]), st.integers(1, 5))
def test_a_range_of_dates_finds_the_same_without_an_order(
    ward: tuple[MemoryStore, str, str], bounds: str, count: int
) -> None:
    store, resource_type, parameter = ward
    query = "&".join(f"{parameter}={bound}" for bound in bounds.split())
    every = f"_id={','.join(f'{number:02d}' for number in range(14))}&_count=1000"
    expected = keys(search(store, resource_type, f"{query}&{every}"))
    assert sorted(pages(store, resource_type, f"{query}&_count={count}")) == sorted(expected)


@pytest.mark.parametrize("order", ["", "&_sort=target-date", "&_sort=-target-date"])
def test_of_several_dates_one_may_meet_each_bound(order: str) -> None:
    """Neither is between the bounds (R4 3.1.1.4.1); a resource with one date has to have it there."""
    store = MemoryStore()
    for name, found in {"both": ["2019-11-30", "2020-05-05"], "one": ["2020-05-05"]}.items():
        target = [{"dueDate": text, "measure": {"text": "x"}} for text in found]
        store.put({"resourceType": "Goal", "id": name, "target": target}, ())
    query = "target-date=ge2020-01-01&target-date=le2020-02"
    assert pages(store, "Goal", f"{query}{order}&_count=1") == ["Goal/both"]


@settings(max_examples=40, deadline=None)
@given(wards(), st.booleans(), st.integers(1, 4), st.data())
def test_writes_between_pages_move_nothing_else(
    ward: tuple[MemoryStore, str, str], descending: bool, count: int, data: st.DataObject
) -> None:
    store, resource_type, parameter = ward
    kind, before, touched = WHAT[f"{resource_type} {parameter}"], sorted(store.current), set()
    query = f"_sort={'-' * descending}{parameter}&_count={count}"
    expected = pages(store, resource_type, query)

    def write(page: int) -> None:
        if before:
            key = data.draw(st.sampled_from(before))
            touched.add(key)
            store.put({"resourceType": resource_type, "id": key.partition("/")[2], **data.draw(kind)})

    found = pages(store, resource_type, query, between=write)
    assert [key for key in found if key not in touched] == [key for key in expected if key not in touched]


def many(months: int = 3, of_each: int = 300) -> MemoryStore:
    store = MemoryStore()
    for number in range(months * of_each):
        minute = number // months
        day = f"2020-{number % months + 1:02d}-01T{minute // 60:02d}:{minute % 60:02d}:00Z"
        store.put(observation(f"{number:04d}", effectiveDateTime=day))
    return store


@pytest.mark.parametrize("query", ["_sort=-date", "_sort=date", "_sort=-date,_id", "_sort=-date&status=final", "date=ge2020-02", "date=lt2020-03&_sort=date"])  # fmt: skip
def test_a_page_costs_the_same_however_many_resources_there_are(query: str) -> None:
    costs = []
    for store in (many(of_each=100), many(of_each=400)):
        store.reads.clear()
        bundle = search(store, "Observation", f"{query}&_count=20")
        assert len(keys(bundle)) == 20
        assert link(bundle, "next")
        costs.append(len(store.reads))
    assert costs[1] <= costs[0] <= 8


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_sort=-date", True),
        ("_sort=date,_id", True),
        ("_sort=-date&status=final", True),
        ("_sort=value-date", True),
        ("date=ge2020", True),
        ("date=ge2020&_sort=-date", True),
        ("date=ge2020-01&date=lt2020-03&_sort=-date", True),
        ("date=ge2020-01&date=lt2020-03", False),
        ("_sort=-date,code", False),
        ("_sort=-date&patient=1", False),
        ("_sort=-date&performer=Practitioner/1", False),
        ("_sort=-date&code=a", False),
        ("_sort=-date&_id=1,2", False),
        ("_sort=-date&_lastUpdated=ge2026", False),
        ("_sort=-date&patient.name=x", False),
        ("date:missing=true", False),
        ("date=ne2020", False),
    ],
)  # fmt: skip
def test_when_it_leads(query: str, expected: bool) -> None:
    assert by_dates("Observation", query) is expected


def test_a_table_of_older_code_is_searched_as_before() -> None:
    store = many(of_each=10)
    expected = pages(store, "Observation", "_sort=-date&_count=7")
    store.in_date_order = False
    assert pages(store, "Observation", "_sort=-date&_count=7") == expected


def test_counting_reads_no_months_and_nothing_twice() -> None:
    store = many(of_each=10)
    store.put(observation("without"))
    store.reads.clear()
    assert search(store, "Observation", "_sort=-date&_summary=count")["total"] == 31
    assert "BatchGetItem" not in store.reads
    assert search(store, "Observation", "_sort=-date&status=final&_summary=count")["total"] == 31
    assert store.reads.count("BatchGetItem") == 1
    assert search(store, "Observation", "_sort=-date&status=final&_count=5&_total=accurate")["total"] == 31


def test_many_months_are_read_a_few_at_a_time() -> None:
    store = MemoryStore()
    for number in range(200):
        store.put(patient(f"{number:03d}", birthDate=f"{1900 + number // 12}-{number % 12 + 1:02d}-01"))
    expected = [f"Patient/{number:03d}" for number in range(200)]
    assert pages(store, "Patient", "_sort=birthdate&_count=90") == expected
    assert pages(store, "Patient", "_sort=-birthdate&_count=90") == expected[::-1]
    assert pages(store, "Patient", "_sort=birthdate&gender:missing=false&_count=5") == []
