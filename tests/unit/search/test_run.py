from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.compartments import membership
from bulkhead.errors import BadRequest, NotSupported, TooCostly
from bulkhead.search import cursor, matching
from bulkhead.search.parse import REFUSED, parse
from bulkhead.search.run import Limits, find
from bulkhead.store.version import ListedFence, Version, everything
from tests.support.counting import counted
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, coding, observation, patient
from tests.support.searches import BASE, keys, link, pages, search, ward


def test_a_searchset() -> None:
    bundle = search(ward(), "Patient", "name=smith&gender=female")
    assert bundle == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": f"{BASE}/Patient?name=smith&gender=female"}],
        "entry": [
            {
                "fullUrl": f"{BASE}/Patient/1",
                "resource": {
                    **patient("1", name=[{"family": "Smith"}], gender="female"),
                    "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"},
                },
                "search": {"mode": "match"},
            }
        ],
    }


def test_nothing_found_has_no_entry() -> None:
    bundle = search(ward(), "Patient", "name=nobody")
    assert bundle["total"] == 0
    assert "entry" not in bundle


def test_a_resource_with_several_entries_comes_once() -> None:
    assert search(ward(), "Patient", "name=smi")["total"] == 2
    assert sorted(pages(ward(), "Patient", "name=smi&_count=1")) == ["Patient/1", "Patient/2"]


@pytest.mark.parametrize(
    "query",
    [
        "_count=3",
        "code=a,b&_count=4",
        f"code={LOINC}|a&_count=5",
        "subject=Patient/1,Patient/2&_count=7",
        "patient=1&code=b&_count=3",
        "date=ge2020-02&date=le2020-11&_count=2",
        "_sort=-_lastUpdated&_count=4",
        "subject=Patient/1&_sort=-_id&_count=4",
        "subject=Patient/1&_sort=_lastUpdated&_count=4",
        "value-quantity=gt5&_count=1",
        "_id=01,03,05,99&_count=2",
        "_compartment=Patient/1&_count=3",
    ],
)
def test_paging_gives_everything_once(query: str) -> None:
    store = ward()
    whole = keys(search(store, "Observation", query.rpartition("_count=")[0] + "_count=1000"))
    assert len(whole) > 2
    assert pages(store, "Observation", query) == whole


@pytest.mark.parametrize(
    "query",
    [
        "_count=3",
        "status=final&_count=3",
        "code=a,b&_count=4",
        "subject=Patient/1,Patient/2&_count=7",
        "date=ge2020&date=le2020&_count=4",
        "_sort=-_lastUpdated&_count=4",
        "_sort=_lastUpdated&_count=4",
        "_lastUpdated=ge2026&_count=2",
    ],
)
def test_paging_neither_skips_nor_repeats_while_others_write(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ward()
    monkeypatch.setattr("bulkhead.fhir.dates.now", store.now)

    def write(page: int) -> None:
        for number in range(25):
            if (number + page) % 3 == 0:
                store.touch(f"Observation/{number:02d}")
        store.put(observation(f"{page:02d}-new", code="z", subject="Patient/9"))

    found = [key for key in pages(store, "Observation", query, write) if not key.endswith("new")]
    assert sorted(found) == sorted(f"Observation/{number:02d}" for number in range(25))


def test_a_page_of_a_compartment_is_one_listing_and_one_batch() -> None:
    store = MemoryStore()
    store.put(patient("1"))
    for number in range(300):
        store.put(observation(f"{number:03d}"))
    store.reads.clear()
    bundle = search(store, "Patient/1/*", "_count=99")
    assert store.reads == ["Query", "BatchGetItem"]
    assert len(keys(bundle)) == 99
    assert link(bundle, "next")


def test_the_last_page_has_no_next_link() -> None:
    bundle = search(ward(), "Observation", "_count=25")
    assert link(bundle, "next") is None
    filtered = search(ward(), "Observation", "value-quantity=lt3&_count=3")
    assert link(filtered, "next") is None


def test_a_page_that_read_too_much_goes_on_with_the_next() -> None:
    store = ward()
    limits = Limits(page=10)
    query = "value-quantity=5,24&_count=2"
    first = search(store, "Observation", query, limits=limits)
    assert "total" not in first
    assert keys(first) == ["Observation/05"]
    assert pages(store, "Observation", query, limits=limits) == ["Observation/05", "Observation/24"]


def test_many_values_to_compare_with_count_as_reading_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of 5,000 resources and 5,000 quantities would be minutes. What sets or an index tell of costs nothing more."""
    store = MemoryStore()
    for n in range(100):
        store.put(observation(f"{n:03}", code="a", valueQuantity={"value": n}))
    compare, compared = counted(matching.matches)
    monkeypatch.setattr(matching, "matches", compare)
    many = ",".join(f"{n}.25" for n in range(200))
    first = search(store, "Observation", f"value-quantity={many}", limits=Limits(page=50, seconds=0))
    assert len(compared) <= 10
    assert link(first, "next")
    compared.clear()
    search(store, "Observation", f"code:not={many}", limits=Limits(page=50, seconds=0))
    assert len(compared) >= 20
    assert pages(store, "Observation", f"value-quantity={many},70", limits=Limits(page=50)) == ["Observation/070"]


class TestAFirstPage:
    """Clients that read one page believe it: it is empty only if nothing matches, or says why."""

    def test_goes_on_until_it_has_a_match(self) -> None:
        first = search(ward(), "Observation", "value-quantity=24&_count=2", limits=Limits(page=3))
        assert keys(first) == ["Observation/24"]
        assert first["total"] == 1

    def test_agrees_with_its_total(self) -> None:
        query = "value-quantity=20,24&_count=1&_total=accurate"
        first = search(ward(), "Observation", query, limits=Limits(page=3))
        assert (first["total"], keys(first)) == (2, ["Observation/20"])

    def test_is_without_a_note_where_nothing_matches(self) -> None:
        first = search(ward(), "Observation", "value-quantity=99", limits=Limits(page=3))
        assert first["total"] == 0
        assert "entry" not in first

    def test_says_that_its_time_is_spent(self) -> None:
        ticks = count(0, 4)
        more: dict[str, Any] = {"limits": Limits(page=3, seconds=10), "clock": lambda: float(next(ticks))}
        first = search(ward(), "Observation", "value-quantity=24", **more)
        (entry,) = first["entry"]
        assert entry["search"] == {"mode": "outcome"}
        assert entry["resource"]["issue"][0]["code"] == "timeout"
        assert "total" not in first
        assert link(first, "next")
        assert pages(ward(), "Observation", "value-quantity=24", **more) == ["Observation/24"]


def test_entries_listed_in_vain_count_as_reading_too() -> None:
    store = MemoryStore()
    store.put(observation("old"))
    for _ in range(500):
        store.touch("Observation/old")
    store.put(observation("new"))
    limits = Limits(page=12)
    first = search(store, "Observation", "_count=2", limits=limits)
    assert keys(first) == ["Observation/old"]
    assert pages(store, "Observation", "_count=2", limits=limits) == ["Observation/old", "Observation/new"]


def test_deleted_and_changed_resources_are_not_found_by_stale_entries() -> None:
    store = MemoryStore(keep_stale=True)
    store.put(observation("1", code="a"))
    store.put(observation("1", code="b"))
    store.put(observation("2", code="a"))
    store.put(observation("3", code="a", subject="Patient/7"))
    store.put(observation("3", code="a", subject="Patient/8"))
    store.delete("Observation/2")
    assert keys(search(store, "Observation", "code=a")) == ["Observation/3"]
    assert keys(search(store, "Observation", "code=a,b")) == ["Observation/3", "Observation/1"]
    assert keys(search(store, "Observation", "subject=Patient/7")) == []


def test_a_total_is_exact_or_absent() -> None:
    store = ward()
    assert "total" not in search(store, "Observation", "_count=5")
    assert search(store, "Observation", "_count=5&_total=accurate")["total"] == 25
    assert search(store, "Observation", "_count=5&_total=estimate")["total"] == 25
    assert "total" not in search(store, "Observation", "_count=50&_total=none")
    # A whole type is counted from keys, what meets a condition from heads.
    for query, limits in (("", Limits(names=10)), ("status=final&", Limits(counted=10))):
        with pytest.raises(TooCostly):
            search(store, "Observation", f"{query}_count=5&_total=accurate", limits=limits)
        assert "total" not in search(store, "Observation", f"{query}_count=5&_total=estimate", limits=limits)
    assert search(store, "Observation", "_count=5&_total=accurate", limits=Limits(counted=10))["total"] == 25


@pytest.mark.parametrize("order", ["-_lastUpdated", "-date", "_id"])
def test_a_total_is_the_same_and_costs_the_same_in_any_order(order: str) -> None:
    store, few = ward(), Limits(counted=10)
    assert search(store, "Observation", f"_sort={order}&_count=5&_total=accurate", limits=few)["total"] == 25
    store.reads.clear()
    assert search(store, "Observation", f"_sort={order}&_summary=count", limits=few)["total"] == 25
    assert "BatchGetItem" not in store.reads


def test_a_fence_counts_what_it_lets_through_by_heads() -> None:
    store = ward()
    seen: list[str] = []

    def fence(candidate: Version) -> bool:
        seen.append(candidate.key)
        return candidate.key.endswith("1")

    assert search(store, "Observation", "_summary=count", fence=fence)["total"] == 3
    assert len(seen) == 25


def test_a_counted_total_goes_along_with_the_pages() -> None:
    store = ward()
    following = link(search(store, "Observation", "_count=20&_total=accurate"), "next")
    assert following
    store.reads.clear()
    bundle = search(store, "Observation", urlsplit(following).query)
    assert bundle["total"] == 25
    assert len(keys(bundle)) == 5


@pytest.mark.parametrize("query", ["_summary=count", "_count=0", "_summary=count&_count=5"])
def test_only_counting(query: str) -> None:
    bundle = search(ward(), "Observation", f"code=a&{query}")
    assert bundle["total"] == 12
    assert "entry" not in bundle
    with pytest.raises(TooCostly):
        search(ward(), "Observation", f"code=a&status=final&{query}", limits=Limits(counted=5))


def test_sorting_too_much_is_refused() -> None:
    with pytest.raises(TooCostly):
        search(ward(), "Observation", "code=a&_sort=value-quantity", limits=Limits(gathered=5))


@pytest.mark.parametrize("sort", ["_id", "-_id", "_lastUpdated", "-_lastUpdated"])
@pytest.mark.parametrize("query", ["code=a", "status=final", "subject=Patient/1"])
def test_by_id_and_by_time_any_number_is_sorted(query: str, sort: str) -> None:
    path = f"{query}&_sort={sort}&_count=5"
    few = pages(ward(), "Observation", path)
    assert pages(ward(), "Observation", path, limits=Limits(gathered=3)) == few
    assert len(few) > 10
    assert few == sorted(few, reverse=sort[0] == "-")


def test_of_many_only_what_they_are_sorted_by_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    few = pages(ward(), "Observation", "code=a&_sort=-value-quantity&_count=5")
    monkeypatch.setattr("bulkhead.search.run.KEPT", 3)
    assert pages(ward(), "Observation", "code=a&_sort=-value-quantity&_count=5") == few


def test_what_is_ignored_is_told() -> None:
    bundle = search(ward(), "Patient", "name=smith&gender=female&nonsense=1&nonsense=2")
    assert keys(bundle) == ["Patient/1"]
    (issue,) = bundle["entry"][-1]["resource"]["issue"]
    assert bundle["entry"][-1]["search"] == {"mode": "outcome"}
    assert "nonsense" in issue["diagnostics"]
    assert "birthdate" in issue["diagnostics"]
    assert not [code for code in REFUSED if f" {code}," in issue["diagnostics"]]
    assert "nonsense" not in bundle["link"][0]["url"]


def test_a_cursor_of_another_search_is_refused() -> None:
    store = ward()
    following = link(search(store, "Observation", "_count=5"), "next")
    assert following
    with pytest.raises(BadRequest):
        search(store, "Observation", urlsplit(following).query + "&code=a")


def hidden(*keys: str) -> Callable[[Version], bool]:
    return lambda candidate: candidate.key not in keys


def test_the_fence_holds_wherever_a_resource_can_show() -> None:
    store = ward()
    store.put({"resourceType": "Encounter", "id": "e", "status": "finished", "subject": {"reference": "Patient/1"}})
    fence = hidden("Patient/1", "Observation/00")
    assert keys(search(store, "Patient", "name=smi", fence=fence)) == ["Patient/2"]
    assert search(store, "Patient", "_summary=count", fence=fence)["total"] == 1
    assert search(store, "Patient", "_total=accurate&_count=1", fence=fence)["total"] == 1
    assert keys(search(store, "Patient", "_id=1", fence=fence)) == []
    assert keys(search(store, "Encounter", "_include=Encounter:subject", fence=fence), "include") == []
    brought = search(store, "Patient", "_id=2&_revinclude=Observation:subject", fence=hidden("Observation/01"))
    assert "Observation/03" in keys(brought, "include")
    assert "Observation/01" not in keys(brought, "include")
    assert keys(search(store, "Patient/1/*", fence=fence)) == []
    parsed = parse([("name", "smi")], "Patient")
    assert [one.key for one in find(store, parsed, 2, fence=fence)] == ["Patient/2"]


def test_finding_for_a_condition_stops_at_its_limit() -> None:
    store = ward()
    parsed = parse([("status", "final")], "Observation")
    assert len(find(store, parsed, 2, fence=everything)) == 2


def test_includes_go_one_level_both_ways() -> None:
    store = ward()
    store.put({"resourceType": "Organization", "id": "o"})
    store.put(patient("3", managingOrganization={"reference": "Organization/o"}))
    store.put(observation("x", subject="Patient/3", performer=[{"reference": "Organization/o"}]))
    found = search(store, "Patient", "_id=3&_include=Patient:organization&_revinclude=Observation:patient")
    assert keys(found) == ["Patient/3"]
    assert keys(found, "include") == ["Observation/x", "Organization/o"]
    narrowed = search(store, "Observation", "_id=x&_include=Observation:performer:Practitioner")
    assert keys(narrowed, "include") == []
    every = search(store, "Observation", "_id=x&_include=*")
    assert keys(every, "include") == ["Organization/o", "Patient/3"]


def test_a_stale_revinclude_does_not_show() -> None:
    store = MemoryStore(keep_stale=True)
    store.put(patient("1"))
    store.put(observation("1", subject="Patient/1"))
    store.put(observation("1", subject="Patient/2"))
    assert keys(search(store, "Patient", "_id=1&_revinclude=Observation:subject"), "include") == []


def test_several_types_one_after_the_other() -> None:
    store = ward()
    found = pages(store, "", "_type=Observation,Patient&_count=10")
    assert len(found) == 27
    assert found[-2:] == ["Patient/1", "Patient/2"]


def compartment_of(store: MemoryStore, code: str, target: str) -> list[str]:
    """What a compartment holds by plain searches: the union over types and parameters."""
    its = membership.built_in()[code]
    found: set[str] = set()
    for resource_type, codes in its.parameters.items():
        for parameter in codes:
            query = f"_id={target}" if parameter == membership.ITSELF else f"{parameter}={code}/{target}"
            found |= set(keys(search(store, resource_type, f"{query}&_count=1000")))
    return sorted(found)


def references() -> Iterable[str]:
    return [f"{name}/{number}" for name in ("Patient", "Practitioner", "Encounter", "RelatedPerson") for number in "12"]


@st.composite
def clinics(draw: st.DrawFn) -> list[dict[str, Any]]:
    resources = [{"resourceType": key.split("/")[0], "id": key.split("/")[1]} for key in references()]
    reference = st.builds(lambda key: {"reference": key}, st.sampled_from(list(references())))
    for number in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["Observation", "Communication", "Encounter", "Patient"]))
        resource: dict[str, Any] = {"resourceType": kind, "id": f"x{number}"}
        if kind == "Observation":
            resource |= {"subject": draw(reference), "performer": draw(st.lists(reference, max_size=3))}
        elif kind == "Communication":
            resource |= {"subject": draw(reference), "sender": draw(reference), "recipient": [draw(reference)]}
        elif kind == "Encounter":
            resource |= {"subject": draw(reference), "partOf": draw(reference)}
        else:
            resource |= {"link": [{"other": draw(reference), "type": "seealso"}]}
        resources.append(resource)
    return resources


@settings(max_examples=30, deadline=None)
@given(clinics(), st.integers(1, 5))
def test_a_compartment_is_the_union_of_plain_searches(resources: list[dict[str, Any]], count: int) -> None:
    store = MemoryStore()
    for resource in resources:
        store.put(resource)
    for code in ("Patient", "Encounter", "Practitioner", "RelatedPerson"):
        found = pages(store, f"{code}/1/*", f"_count={count}")
        assert found == compartment_of(store, code, "1")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abc"), min_size=1), st.sampled_from(["s", "t", None])), max_size=12),
    st.lists(st.sampled_from(["a", "b", "s|b", "|c", "t|a"]), min_size=1, max_size=3, unique=True),
    st.integers(1, 4),
)
def test_alternatives_page_through_each_match_once(
    codes: list[tuple[set[str], str | None]], wanted: list[str], count: int
) -> None:
    store = MemoryStore()
    for number, (some, system) in enumerate(codes):
        code = {"coding": [coding(system, one) for one in sorted(some)]}
        store.put({"resourceType": "Observation", "id": str(number), "code": code})
    found = pages(store, "Observation", f"code={','.join(wanted)}&_count={count}")
    parsed = parse([("code", ",".join(wanted))], "Observation")
    naive = {
        head.key
        for head in store.current.values()
        if matching.matches(Version(head, store.decode), parsed.clauses[0], membership.built_in())
    }
    assert len(found) == len(set(found))
    assert set(found) == naive


def test_everything_may_be_seen_by_default() -> None:
    head = MemoryStore().put(patient("1"))
    assert everything(Version(head, lambda _: {}))


def test_several_types_at_once() -> None:
    store = ward()
    store.put({"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/1"}})
    found = pages(store, "", "_type=Condition,Observation&patient=1&_count=4")
    assert found[0] == "Condition/c"
    assert sorted(found[1:]) == [f"Observation/{number:02d}" for number in range(0, 25, 2)]
    assert pages(store, "", "_id=1,c") == ["Condition/c", "Patient/1"]
    assert pages(store, "", "_type=Patient,Condition&_sort=_id") == ["Patient/1", "Patient/2", "Condition/c"]


def test_a_forged_position_within_several_types_is_refused() -> None:
    store = ward()
    query = "_type=Condition,Observation&patient=1"
    parsed = parse(parse_qsl(query), None, base=BASE)
    forged = cursor.encode([1, {"a": 1}], None, parsed)
    with pytest.raises(BadRequest):
        search(store, "", f"{query}&_cursor={forged}")


def test_what_a_list_names() -> None:
    store = ward()
    items = [{"item": {"reference": f"Observation/{name}"}} for name in ("03", "04", "99")]
    gone = {"item": {"reference": "Observation/05"}, "deleted": True}
    store.put({"resourceType": "List", "id": "l", "entry": [*items, gone, {"item": {"reference": "Patient/1"}}]})
    assert pages(store, "Observation", "_list=l&_count=1") == ["Observation/03", "Observation/04"]
    assert pages(store, "Observation", "_list=List/l&code=a") == ["Observation/03"]
    assert pages(store, "Patient", "_list=l") == ["Patient/1"]
    assert pages(store, "Observation", "_list=nothing") == []
    assert pages(store, "Observation", "_list=l", fence=hidden("List/l")) == []
    for query in ("_list=$current-problems", "_list:missing=true"):
        with pytest.raises(BadRequest):
            search(store, "Observation", query)


class TestTheWholeSystem:
    """Without `_type`, by what all types have in common (R4 http.html#vsearch)."""

    @pytest.fixture
    def mixed(self) -> MemoryStore:
        store = ward()
        meta = {"tag": [{"system": "s", "code": "T"}], "profile": ["http://p|1"], "source": "http://s"}
        labelled = meta | {"security": [{"code": "R"}]}
        store.put(patient("t", meta=meta))
        store.put(observation("t", "x", "Patient/t", meta=labelled))
        store.put({"resourceType": "Condition", "id": "t", "subject": {"reference": "Patient/t"}, "meta": labelled})
        return store

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("_tag=T", "Condition Observation Patient"),
            ("_tag=s|t", "Condition Observation Patient"),
            ("_tag=other|T", ""),
            ("_profile=http://p", "Condition Observation Patient"),
            ("_source=http://s", "Condition Observation Patient"),
            ("_security=R", "Condition Observation"),
            ("_tag=T&_security=R", "Condition Observation"),
            ("_tag=T&_id=t&_lastUpdated=gt2020", "Condition Observation Patient"),
            ("_lastUpdated=ge2026-01-01T00:00:27Z", "Condition Observation Patient"),
            ("_has:Observation:subject:code=x", "Patient"),
            ("_has:Condition:patient:_tag=T&_tag=T", "Patient"),
            ("_tag:not=T&_id=t", ""),
            ("_tag:missing=false", "Condition Observation Patient"),
        ],
    )
    @pytest.mark.parametrize("shape", ["_count=1", "_sort=-_lastUpdated&_count=2", "_sort=_id&_count=50", ""])
    @pytest.mark.parametrize("fenced", [False, True])
    def test_is_searched(self, mixed: MemoryStore, query: str, expected: str, shape: str, fenced: bool) -> None:
        more: dict[str, Any] = {"fence": ListedFence(everything, lambda name: None)} if fenced else {}
        wanted = [f"{name}/t" for name in expected.split()]
        assert sorted(pages(mixed, "", f"{query}&{shape}", **more)) == wanted
        assert search(mixed, "", f"{query}&_summary=count", **more)["total"] == len(wanted)

    @pytest.mark.parametrize("parameter", ["_tag=T", "_profile=http://p", "_source=http://s", "_security=R"])
    def test_meta_leads(self, mixed: MemoryStore, parameter: str) -> None:
        mixed.reads.clear()
        assert keys(search(mixed, "", parameter))
        assert mixed.reads == ["Query", "BatchGetItem"]
        mixed.reads.clear()
        assert keys(search(mixed, "Observation", parameter)) == ["Observation/t"]
        assert mixed.reads == ["Query", "BatchGetItem"]

    def test_nothing_at_all_is_no_condition(self, mixed: MemoryStore) -> None:
        with pytest.raises(NotSupported):
            search(mixed, "", "_count=5")
