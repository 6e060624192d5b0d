"""`:above` and `:below` of references: a house, its wards and their beds; organisations in the same way."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest, NotSupported, TooCostly
from bulkhead.search import hierarchy
from tests.support.memory_store import MemoryStore
from tests.support.searches import pages, search

WITHIN = {"house": None, "ward": "house", "bed": "ward", "cot": "ward", "annex": None, "this": "that", "that": "this"}


def house() -> MemoryStore:
    store = MemoryStore()
    for name, within in WITHIN.items():
        part_of = {"partOf": {"reference": f"Location/{within}"}} if within else {}
        store.put({"resourceType": "Location", "id": name, "status": "active", **part_of})
        store.put(
            {
                "resourceType": "Procedure",
                "id": f"in-{name}",
                "status": "completed",
                "location": {"reference": f"Location/{name}"},
            }
        )
    store.put({"resourceType": "Organization", "id": "group"})
    store.put({"resourceType": "Organization", "id": "clinic", "partOf": {"reference": "Organization/group"}})
    patient: dict[str, Any] = {"resourceType": "Patient", "id": "p"}
    store.put({**patient, "managingOrganization": {"reference": "Organization/clinic"}})
    encounter: dict[str, Any] = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "IMP"}}
    store.put({**encounter, "subject": {"reference": "Patient/p"}})
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("location:below=Location/house", "bed cot house ward"),
        ("location:below=house", "bed cot house ward"),
        ("location:below=Location/ward", "bed cot ward"),
        ("location:below=Location/bed", "bed"),
        ("location:below=Location/annex,Location/bed", "annex bed"),
        ("location:below=Location/nowhere", ""),
        ("location:above=Location/bed", "bed house ward"),
        ("location:above=Location/house", "house"),
        ("location:below=Location/this", "that this"),
        ("location:above=Location/this", "that this"),
        ("location:below=Location/house&location:above=Location/ward", "house ward"),
    ],
)
def test_places_and_their_parts(query: str, expected: str) -> None:
    found = pages(house(), "Procedure", f"{query}&_count=2")
    assert sorted(found) == [f"Procedure/in-{name}" for name in expected.split()]


def test_on_the_hierarchy_itself_and_behind_chains() -> None:
    assert sorted(pages(house(), "Location", "partof:below=Location/house")) == [
        "Location/bed",
        "Location/cot",
        "Location/ward",
    ]
    assert pages(house(), "Patient", "organization:below=group") == ["Patient/p"]
    assert pages(house(), "Encounter", "patient.organization:below=Organization/group") == ["Encounter/e"]
    assert pages(house(), "Encounter", "patient.organization:above=Organization/group") == []


def test_what_the_caller_may_not_see_leads_no_further() -> None:
    found = search(house(), "Procedure", "location:below=house", fence=lambda one: one.key != "Location/ward")
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["in-house"]


@pytest.mark.parametrize(
    ("resource_type", "query", "error"),
    [
        ("Observation", "subject:below=Patient/1", BadRequest),
        ("Observation", "encounter:below=Patient/1", BadRequest),
        ("Observation", "derived-from:below=1", NotSupported),
        ("Procedure", "location:below=http://there/Location/1", BadRequest),
        ("Procedure", "location:below=Location/1/_history/2", BadRequest),
    ],
)
def test_what_has_no_parts_is_refused(resource_type: str, query: str, error: type[BadRequest]) -> None:
    with pytest.raises(error) as caught:
        search(house(), resource_type, query)
    assert caught.value.issues[0].expression == query.partition("=")[0]


def test_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierarchy, "MOST", 3)
    with pytest.raises(TooCostly):
        search(house(), "Procedure", "location:below=house")


@pytest.mark.parametrize("modifier", ["above", "below"])
def test_what_several_values_have_in_common_is_walked_once(modifier: str) -> None:
    """A thousand values of one long line would be a million steps."""
    store = house()
    count = 30
    for n in range(count):
        part_of = {"partOf": {"reference": f"Location/{n - 1}"}} if n else {}
        store.put({"resourceType": "Location", "id": str(n), "status": "active", **part_of})
    spent = []
    for asked in ([count - 1 if modifier == "above" else 0], range(count)):
        store.reads.clear()
        values = ",".join(f"Location/{n}" for n in asked)
        assert pages(store, "Procedure", f"location:{modifier}={values}") == []
        spent.append(len(store.reads))
    assert spent[1] < spent[0] + 5
