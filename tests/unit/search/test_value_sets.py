"""`:in` and `:not-in`: value sets stored and built in, and those that cannot be spelt out."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest, NotSupported, TooCostly
from bulkhead.fhir.definitions import tables
from bulkhead.search import code_systems
from bulkhead.search.code_systems import Lookups
from bulkhead.search.value_sets import NESTED, composed
from bulkhead.store.version import ListedFence, everything
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, observation, patient
from tests.support.searches import keys, pages, search


def value_set(id: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "id": id, "url": f"http://sets/{id}", "status": "active", **content}


def ward() -> MemoryStore:
    store = MemoryStore()
    for code in "abcd":
        store.put(observation(code, code=code))
    store.put(patient("f", gender="female"))
    store.put(patient("x"))
    store.put(value_set("listed", compose={"include": [{"system": LOINC, "concept": [{"code": "a"}, {"code": "b"}]}]}))
    store.put(
        value_set(
            "nested",
            compose={
                "include": [{"valueSet": ["http://sets/listed"]}, {"system": "http://all"}],
                "exclude": [{"system": LOINC, "concept": [{"code": "a"}]}],
            },
        )
    )
    contains = [{"abstract": True, "code": "d", "contains": [{"system": LOINC, "code": "c"}]}]
    store.put(value_set("expanded", expansion={"contains": contains}))
    is_x = {"property": "concept", "op": "is-a", "value": "x"}
    store.put(value_set("subsumed", compose={"include": [{"system": "http://all", "filter": [is_x]}]}))
    below_x = {"property": "concept", "op": "descendent-of", "value": "x"}
    store.put(value_set("below", compose={"include": [{"system": "http://all", "filter": [below_x]}]}))
    not_y = {"property": "concept", "op": "is-not-a", "value": "y"}
    store.put(value_set("without", compose={"include": [{"system": "http://all", "filter": [is_x, not_y]}]}))
    by_regex = {"property": "code", "op": "regex", "value": ".*"}
    store.put(value_set("filtered", compose={"include": [{"system": "http://all", "filter": [by_regex]}]}))
    store.put(value_set("unknown", compose={"include": [{"system": "http://nowhere"}]}))
    store.put(value_set("circular", compose={"include": [{"valueSet": ["http://sets/circular"]}]}))
    store.put(
        {
            "resourceType": "CodeSystem",
            "id": "all",
            "url": "http://all",
            "content": "complete",
            "status": "active",
            "concept": [{"code": "x", "concept": [{"code": "y"}]}],
        }
    )
    store.put(observation("y", code="y") | {"code": {"coding": [{"system": "http://all", "code": "y"}]}})
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("code:in=http://sets/listed", "ab"),
        ("code:in=http://sets/listed|1.0", "ab"),
        ("code:in=ValueSet/listed", "ab"),
        ("code:not-in=http://sets/listed", "cdy"),
        ("code:in=http://sets/nested", "by"),
        ("code:in=http://sets/expanded,http://sets/listed", "abc"),
        ("code:in=http://sets/subsumed", "y"),
        ("code:in=http://sets/below", "y"),
        ("code:in=http://sets/without", ""),
        ("code:not-in=http://sets/below", "abcd"),
        ("code:in=http://sets/circular", ""),
        ("code:not-in=http://sets/circular", "abcdy"),
    ],
)
def test_codes_of_a_set(query: str, expected: str) -> None:
    found = pages(ward(), "Observation", f"{query}&_count=2")
    assert sorted(found) == [f"Observation/{name}" for name in expected]


def test_a_built_in_set() -> None:
    query = "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender"
    assert keys(search(ward(), "Patient", query)) == ["Patient/f"]
    assert keys(search(ward(), "Patient", query.replace(":in", ":not-in"))) == ["Patient/x"]


def test_a_built_in_set_that_no_element_requires() -> None:
    """By a filter, with parts taken out again."""
    store = MemoryStore()
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    for code in ("AMB", "PBILLACCT"):
        encounter = {"resourceType": "Encounter", "id": code, "status": "planned"}
        store.put(encounter | {"class": {"system": act, "code": code}})
    query = "class:in=http://terminology.hl7.org/ValueSet/v3-ActEncounterCode"
    assert pages(store, "Encounter", query) == ["Encounter/AMB"]
    assert pages(store, "Encounter", query.replace(":in", ":not-in")) == ["Encounter/PBILLACCT"]
    with pytest.raises(NotSupported):
        search(store, "Encounter", "reason-code:in=http://hl7.org/fhir/ValueSet/encounter-reason")


def test_what_a_built_in_set_is_made_of_gives_the_codes_that_hl7_gives() -> None:
    """`composes.json` evaluated here against HL7's own expansions, of every required value set."""
    checked = 0
    for url, expanded in tables.value_sets().items():
        compose = tables.value_set_compose(url)
        if compose is None:
            continue
        try:
            found = composed(compose, Lookups(lambda *asked: []), "", within=())
        except NotSupported:
            continue
        listed = {(system, code) for system, codes in expanded.items() for code in codes}
        assert listed <= found, url
        # HL7 leaves out what is not selectable.
        assert len(found) - len(listed) <= 5, url
        checked += 1
    assert checked > 200


def test_a_set_behind_a_chain() -> None:
    query = "_has:Observation:patient:code:in=http://sets/listed"
    store = ward()
    store.put(patient("1"))
    assert keys(search(store, "Patient", query)) == ["Patient/1"]
    chained = "patient.gender:in=http://hl7.org/fhir/ValueSet/administrative-gender"
    assert keys(search(store, "Observation", chained)) == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://sets/nothing", BadRequest),
        ("http://sets/filtered", NotSupported),
        ("http://sets/unknown", NotSupported),
        ("nonsense", BadRequest),
    ],
)
def test_what_cannot_be_spelt_out_is_refused(url: str, error: type[BadRequest]) -> None:
    with pytest.raises(error) as caught:
        search(ward(), "Observation", f"code:in={url}")
    assert caught.value.issues[0].expression == "code:in"


def test_a_tenants_own_set_serves_that_tenant_alone() -> None:
    """A set in force for all serves whoever may search; one that carries an account, callers within that account's fence."""
    store, codes = ward(), {"include": [{"system": "http://codes", "concept": [{"code": "x"}]}]}
    own = {"resourceType": "ValueSet", "id": "own", "url": "http://sets/own", "status": "active", "compose": codes}
    store.put(own, accounts=("Organization/a",))

    def look(account: str) -> ListedFence:
        return ListedFence(
            lambda candidate: candidate.head.type != "ValueSet" or account in candidate.head.accounts, lambda name: None
        )

    assert search(store, "Observation", "code:in=http://sets/own", fence=look("Organization/a"))["total"] == 0
    for fence in (look("Organization/b"), everything):
        for name in ("http://sets/own", "ValueSet/own"):
            with pytest.raises(BadRequest):
                search(store, "Observation", f"code:in={name}", fence=fence)
    assert search(store, "Observation", "code:in=http://sets/listed", fence=look("Organization/b"))["total"] > 0


def test_what_a_fenced_caller_wrote_and_gave_up_serves_nobody() -> None:
    store, codes = ward(), {"include": [{"system": "http://codes", "concept": [{"code": "x"}]}]}
    store.put(
        {"resourceType": "ValueSet", "id": "left", "url": "http://sets/left", "status": "active", "compose": codes},
        unfenced=False,
    )
    for name in ("http://sets/left", "ValueSet/left"):
        with pytest.raises(BadRequest):
            search(store, "Observation", f"code:in={name}")


def test_hl7s_own_are_never_shadowed() -> None:
    store, gender = ward(), "http://hl7.org/fhir/ValueSet/administrative-gender"
    system = "http://hl7.org/fhir/administrative-gender"
    store.put(patient("m", gender="male"))
    store.put({"resourceType": "ValueSet", "id": "g", "url": gender, "status": "active", "compose": {"include": []}})
    shadow = {"resourceType": "CodeSystem", "id": "g", "url": system, "status": "active", "content": "complete"}
    store.put({**shadow, "concept": [{"code": "other"}]})
    assert keys(search(store, "Patient", f"gender:in={gender}")) == ["Patient/f", "Patient/m"]
    assert keys(search(store, "Patient", f"gender:below={system}|male")) == ["Patient/m"]


def including(store: MemoryStore, count: int, times: int) -> None:
    """Value sets 0 to `count`, of which each includes the next `times`."""
    for n in range(count):
        include: list[dict[str, Any]] = [{"valueSet": [f"http://sets/{n + 1}"]}] * times
        store.put(value_set(str(n), compose={"include": include}))
    store.put(value_set(str(count), compose={"include": [{"system": LOINC, "concept": [{"code": "a"}]}]}))


def test_sets_that_include_each_other_in_many_ways_are_looked_up_once_each() -> None:
    store = ward()
    including(store, 8, 2)
    assert keys(search(store, "Observation", "code:in=http://sets/8")) == ["Observation/a"]
    store.reads.clear()
    assert keys(search(store, "Observation", "code:in=http://sets/0")) == ["Observation/a"]
    assert len(store.reads) < 50


def test_sets_that_include_each_other_in_too_many_ways_are_too_costly() -> None:
    """Thirty of a few bytes would be a billion."""
    store = ward()
    including(store, 15, 30)
    with pytest.raises(TooCostly) as refused:
        search(store, "Observation", "code:in=http://sets/0")
    assert refused.value.issues[0].expression == "code:in"


def test_sets_that_include_each_other_in_a_long_row_are_too_costly() -> None:
    store = ward()
    including(store, NESTED - 1, 1)
    assert keys(search(store, "Observation", "code:in=http://sets/0")) == ["Observation/a"]
    including(store, 400, 1)
    with pytest.raises(TooCostly):
        search(store, "Observation", "code:in=http://sets/0")


def test_what_expanding_looks_up_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_systems, "LOOKED_UP", 30)
    store = ward()
    contains = [{"system": LOINC, "code": "a"}]
    for n in range(40):
        store.put(value_set(str(n), expansion={"contains": contains}))
    assert keys(search(store, "Observation", f"code:in={','.join(f'http://sets/{n}' for n in range(30))}"))
    with pytest.raises(TooCostly):
        search(store, "Observation", f"code:in={','.join(f'http://sets/{n}' for n in range(40))}")


def test_a_chain_expands_its_set_once_for_all_candidates() -> None:
    store = ward()
    including(store, 0, 1)
    for n in range(30):
        store.put(patient(f"p{n}", gender="male"))
        store.put(observation(f"o{n}", subject=f"Patient/p{n}"))
        store.put(observation(f"q{n}", subject=f"Patient/p{n}", code="a"))
    plain = "gender=male&_has:Observation:patient:code=a&_count=40"
    expanded = "gender=male&_has:Observation:patient:code:in=http://sets/0&_count=40"
    spent = []
    for query in (plain, expanded):
        store.reads.clear()
        assert len(keys(search(store, "Patient", query))) == 30
        spent.append(len(store.reads))
    assert spent[1] < spent[0] + 10
