"""`:above` and `:below` of codes: hierarchies that are stored here, and HL7's own."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest, TooCostly
from bulkhead.search import code_systems
from bulkhead.search.code_systems import built_in, complete
from bulkhead.store.version import ListedFence, Version, everything
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, coding, observation, patient
from tests.support.searches import keys, pages, search

ANIMALS = "http://animals"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def code_system(id: str, url: str, *concepts: dict[str, Any], **more: Any) -> dict[str, Any]:
    system = {"resourceType": "CodeSystem", "id": id, "url": url, "status": "active", "content": "complete"}
    return system | {"concept": list(concepts)} | more


def concept(code: str, *within: dict[str, Any], **properties: str) -> dict[str, Any]:
    given = [{"code": name, "valueCode": value} for name, value in properties.items()]
    return {"code": code} | ({"concept": list(within)} if within else {}) | ({"property": given} if given else {})


def is_a(name: str) -> dict[str, Any]:
    return {"code": name, "uri": "http://hl7.org/fhir/concept-properties#parent", "type": "code"}


def zoo() -> MemoryStore:
    """Animals: mammal > (cat > tiger, dog), bird > eagle; bat is a mammal and a flyer by properties."""
    store = MemoryStore()
    mammal = concept("mammal", concept("cat", concept("tiger")), concept("Dog"))
    bird = concept("bird", concept("eagle"))
    flyer = concept("flyer", child="eagle")
    bat = concept("bat", parent="mammal", kind="flyer")
    store.put(code_system("animals", ANIMALS, mammal, bird, flyer, bat, property=[is_a("kind")]))
    store.put(
        code_system("parts", "http://parts", concept("hand", concept("finger")), hierarchyMeaning="part-of")
        | {"id": "parts"}
    )
    store.put(code_system("some", "http://some", concept("cat", concept("lion")), content="fragment"))
    for code in ("mammal", "cat", "tiger", "dog", "bird", "eagle", "flyer", "bat", "lizard"):
        store.put(observation(code) | {"code": {"coding": [coding(ANIMALS, code)]}})
    for code in ("hand", "finger"):
        store.put(observation(code) | {"code": {"coding": [coding("http://parts", code)]}})
    store.put(observation("other") | {"code": {"coding": [coding("http://some", "cat")]}})
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"code:below={ANIMALS}|mammal", "bat cat dog mammal tiger"),
        (f"code:below={ANIMALS}|cat", "cat tiger"),
        (f"code:below={ANIMALS}|CAT", "cat tiger"),
        (f"code:below={ANIMALS}|tiger", "tiger"),
        (f"code:below={ANIMALS}|flyer", "bat eagle flyer"),
        (f"code:below={ANIMALS}|lizard", "lizard"),
        (f"code:below={ANIMALS}|cat,{ANIMALS}|bird", "bird cat eagle tiger"),
        (f"code:above={ANIMALS}|tiger", "cat mammal tiger"),
        (f"code:above={ANIMALS}|bat", "bat flyer mammal"),
        (f"code:above={ANIMALS}|mammal", "mammal"),
        # A code alone: those of every system here, and itself in any.
        ("code:below=cat", "cat other tiger"),
        # A hand does not subsume its fingers.
        ("code:below=http://parts|hand", "hand"),
        (f"code:below={ANIMALS}|mammal&code:above={ANIMALS}|tiger", "cat mammal tiger"),
    ],
)
def test_codes_of_a_hierarchy(query: str, expected: str) -> None:
    found = pages(zoo(), "Observation", f"{query}&_count=2")
    assert sorted(found) == [f"Observation/{code}" for code in expected.split()]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("code:below=http://nowhere|x", "code:below"),
        ("code:above=http://some|cat", "code:above"),
        ("code:below=nothing-has-this", "code:below"),
        ("code:below=|cat", "code:below"),
        (f"code:below={ANIMALS}|", "code:below"),
        ("patient.identifier:below=a|b", "identifier:below"),
        ("value-quantity:below=1", "value-quantity:below"),
    ],
)
def test_what_cannot_be_known_is_refused_at_its_parameter(query: str, place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        search(zoo(), "Observation", query)
    assert caught.value.issues[0].expression == place


def test_a_hierarchy_behind_chains() -> None:
    store = zoo()
    store.put(patient("1"))
    assert keys(search(store, "Patient", f"_has:Observation:patient:code:below={ANIMALS}|cat")) == ["Patient/1"]
    assert keys(search(store, "Patient", f"_has:Observation:patient:code:below={ANIMALS}|eagle")) == ["Patient/1"]
    store.put(observation("eagle") | {"code": {"coding": [coding(LOINC, "x")]}})
    assert keys(search(store, "Patient", f"_has:Observation:patient:code:below={ANIMALS}|eagle")) == []


def test_a_hierarchy_of_hl7_is_not_shadowed_by_one_that_is_stored() -> None:
    store = MemoryStore()
    for code in ("AMB", "ACUTE", "IMP"):
        store.put({"resourceType": "Encounter", "id": code, "status": "finished", "class": coding(ACT, code)})
    assert pages(store, "Encounter", f"class:below={ACT}|IMP") == ["Encounter/ACUTE", "Encounter/IMP"]
    assert pages(store, "Encounter", "class:below=_ActEncounterCode&_count=1") == [
        "Encounter/AMB",
        "Encounter/ACUTE",
        "Encounter/IMP",
    ]
    assert pages(store, "Encounter", f"class:above={ACT}|ACUTE") == ["Encounter/ACUTE", "Encounter/IMP"]
    store.put(code_system("act", ACT, concept("AMB", concept("ACUTE")), concept("IMP")))
    assert pages(store, "Encounter", f"class:below={ACT}|IMP") == ["Encounter/ACUTE", "Encounter/IMP"]


def test_a_tenants_own_system_serves_that_tenant_alone() -> None:
    store = zoo()
    own = code_system("own", "http://own", concept("top", concept("cat")))
    store.put(own, accounts=("Organization/a",))
    for account, serves in (("Organization/a", True), ("Organization/b", False)):

        def shown(candidate: Version, account: str = account) -> bool:
            return not candidate.head.accounts or account in candidate.head.accounts

        fence = ListedFence(shown, lambda name: None)
        assert search(store, "Observation", f"code:below={ANIMALS}|cat", fence=fence)["total"] > 0
        if serves:
            assert search(store, "Observation", "code:below=http://own|top", fence=fence)["total"] == 0
            continue
        for refused in (fence, everything):
            with pytest.raises(BadRequest):
                search(store, "Observation", "code:below=http://own|top", fence=refused)


def test_a_circle_ends() -> None:
    system = complete(code_system("c", "http://c", concept("a", parent="b"), concept("b", parent="a")))
    assert system.below("a") == system.above("a") == {"a", "b"}


def test_hl7s_polyhierarchy_is_kept_whole() -> None:
    routes = built_in("http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration")
    assert routes is not None
    assert len(routes.children) == 386
    # Named as a child by one, nested in the other.
    assert {"_RouteByMethod", "_RouteBySite", "_Instillation"} <= routes.above("ETINSTL")


def test_a_system_is_read_and_gone_through_once_for_all_values() -> None:
    """Thousands of values of a large system: each one reading it again would take minutes."""
    store = MemoryStore()
    codes = [f"c{n}" for n in range(60)]
    nested = concept(codes[-1])
    for code in reversed(codes[:-1]):
        nested = concept(code, nested)
    store.put(code_system("deep", "http://deep", nested))
    store.put(observation("last") | {"code": {"coding": [coding("http://deep", codes[-1])]}})
    spent = []
    for asked in (codes[:1], codes):
        store.reads.clear()
        values = ",".join(f"http://deep|{code}" for code in asked)
        assert keys(search(store, "Observation", f"code:below={values}")) == ["Observation/last"]
        spent.append(len(store.reads))
    assert spent[0] == spent[1]


def test_what_a_search_goes_through_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_systems, "GONE_THROUGH", 60)
    with pytest.raises(TooCostly) as refused:
        search(zoo(), "Observation", "code:above=tiger,eagle,finger")
    assert refused.value.issues[0].expression == "code:above"
