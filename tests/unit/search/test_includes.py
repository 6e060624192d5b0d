"""`_include`, `_revinclude`, `:iterate` and `*`; what of a resource is shown."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest, TooCostly
from bulkhead.search import canonicals
from bulkhead.search.run import Limits
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient
from tests.support.searches import keys, search


def ward() -> MemoryStore:
    store = MemoryStore()
    store.put({"resourceType": "Organization", "id": "1", "name": "One", "partOf": {"reference": "Organization/2"}})
    store.put({"resourceType": "Organization", "id": "2", "name": "Two", "partOf": {"reference": "Organization/1"}})
    store.put({"resourceType": "Practitioner", "id": "1"})
    store.put(patient("1", managingOrganization={"reference": "Organization/1"}, name=[{"family": "Smith"}]))
    store.put(observation("1", performer=[{"reference": "Practitioner/1"}], text={"status": "empty", "div": "<div/>"}))
    store.put({"resourceType": "Provenance", "id": "1", "target": [{"reference": "Observation/1"}]})
    store.put({"resourceType": "Provenance", "id": "2", "target": [{"reference": "Provenance/1"}]})
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_include=Observation:subject", ["Patient/1"]),
        ("_include=Observation:subject&_include=Patient:organization", ["Patient/1"]),
        ("_include=Observation:subject&_include:iterate=Patient:organization", ["Organization/1", "Patient/1"]),
        (
            "_include=Observation:subject&_include:iterate=Patient:organization&_include:iterate=Organization:partof",
            ["Organization/1", "Organization/2", "Patient/1"],
        ),
        ("_include=*", ["Patient/1", "Practitioner/1"]),
        # `*` stands for the type that is searched: what it brings along has other types.
        ("_include:iterate=*", ["Patient/1", "Practitioner/1"]),
        ("_include=Observation:*", ["Patient/1", "Practitioner/1"]),
        ("_include=Observation:performer:Organization", []),
        ("_revinclude=Provenance:target", ["Provenance/1"]),
        ("_revinclude:iterate=Provenance:target", ["Provenance/1", "Provenance/2"]),
        ("_revinclude=Provenance:target:Patient", []),
        ("_revinclude=*", ["Provenance/1"]),
    ],
)
def test_what_comes_along(query: str, expected: list[str]) -> None:
    bundle = search(ward(), "Observation", query)
    assert keys(bundle) == ["Observation/1"]
    assert keys(bundle, "include") == expected
    assert bundle["total"] == 1


def test_nothing_is_included_through_what_the_caller_may_not_see() -> None:
    def fence(candidate: Version) -> bool:
        return candidate.head.type != "Patient"

    query = "_include=Observation:subject&_include:iterate=Patient:organization"
    assert keys(search(ward(), "Observation", query, fence=fence), "include") == []


def test_parts_of_resources() -> None:
    def first(query: str, mode: str = "match") -> dict[str, Any]:
        entries = search(ward(), "Observation", query)["entry"]
        found: dict[str, Any] = next(one["resource"] for one in entries if one["search"]["mode"] == mode)
        return found

    assert "text" in first("")
    assert "text" not in first("_summary=data")
    assert {"text", "status"} <= first("_summary=text").keys()
    assert "subject" not in first("_summary=text")
    assert "text" not in first("_summary=true")
    cut = first("_elements=subject&_include=Observation:subject")
    assert {"subject", "status", "code"} <= cut.keys()
    assert "performer" not in cut
    assert cut["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "name" in first("_elements=subject&_include=Observation:subject", "include")
    assert "name" not in first("_elements=Patient.id&_include=Observation:subject", "include")


def test_a_narrative_summary_takes_no_includes() -> None:
    with pytest.raises(BadRequest):
        search(ward(), "Observation", "_summary=text&_include=Observation:subject")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """A plan that depends on thirty libraries, where a search looks up ten urls."""
    monkeypatch.setattr(canonicals, "LOOKED_UP", 10)
    store = MemoryStore()
    urls = [f"http://libraries/{n}" for n in range(30)]
    for n, url in enumerate(urls):
        store.put({"resourceType": "Library", "id": f"l{n:02}", "url": url, "name": "x"})
    related = [{"type": "depends-on", "resource": url} for url in urls]
    store.put({"resourceType": "PlanDefinition", "id": "p", "status": "draft", "relatedArtifact": related})
    return store


def test_thousands_of_canonicals_are_not_all_looked_up(shelf: MemoryStore) -> None:
    """A resource of a few megabytes has a hundred thousand: an answer shows the first, and says so."""
    bundle = search(shelf, "PlanDefinition", "_include=PlanDefinition:depends-on:Library")
    assert keys(bundle, "include") == [f"Library/l{n:02}" for n in range(10)]
    (note,) = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "outcome"]
    assert note["issue"][0]["code"] == "too-costly"


@pytest.mark.parametrize(
    ("path", "query"),
    [("PlanDefinition", "depends-on:Library.name=y"), ("PlanDefinition", "status=draft&depends-on:Library.name=y")],
)
def test_nor_does_a_chain_follow_them(shelf: MemoryStore, path: str, query: str) -> None:
    with pytest.raises(TooCostly):
        search(shelf, path, query, limits=Limits(inner=0))
