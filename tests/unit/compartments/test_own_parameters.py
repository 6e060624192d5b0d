"""Search parameters of the project's own in compartments: what is listed, what is a member, and what an ordinary search finds are one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.compartments import membership, own_parameters
from bulkhead.facts import index_facts
from bulkhead.fhir import references
from bulkhead.search import custom, run
from bulkhead.search.parse import parse
from bulkhead.store import keys
from bulkhead.store.version import everything
from tests.support.memory_store import MemoryStore
from tests.support.searches import pages
from tests.unit.compartments.test_compartment_definitions import definition

Json = dict[str, Any]
ROOTS = ("ResearchStudy/s", "ResearchStudy/t")
MINE, OTHER = "http://x.example/mine", "http://x.example/other"
TEXTS = st.sampled_from(
    (*ROOTS, f"{ROOTS[0]}/_history/1", f"http://elsewhere/{ROOTS[0]}", "#c", "urn:uuid:1", "Patient/p")
)


def reference(text: str) -> Json:
    return {"reference": text}


def parameter(code: str, base: str, expression: str) -> Json:
    made: Json = {"resourceType": "SearchParameter", "id": code, "code": code, "base": [base], "status": "active"}
    return made | {"url": f"http://x.example/{code}", "type": "reference", "expression": expression}


EXPRESSIONS = {
    "by-extension": f"RiskAssessment.extension('{MINE}').value",
    "by-element": "RiskAssessment.basis",
    "by-either": f"RiskAssessment.basis | RiskAssessment.extension.where(url='{MINE}').value.as(Reference)",
    "by-patient-or-reason": "RiskAssessment.subject | RiskAssessment.reasonReference",
}

assessments = st.builds(
    lambda mine, other, basis, reason, subject, contained: {
        "resourceType": "RiskAssessment",
        "status": "final",
        "extension": [{"url": MINE, "valueReference": reference(one)} for one in mine]
        + [{"url": OTHER, "valueReference": reference(one)} for one in other],
        "basis": [reference(one) for one in basis],
        "reasonReference": [reference(one) for one in reason],
        "subject": reference(subject),
        "contained": [{"resourceType": "Provenance", "id": "c", "target": [reference(one) for one in contained]}],
    },
    *[st.lists(TEXTS, max_size=2)] * 4,
    TEXTS,
    st.lists(TEXTS, max_size=1),
)


def store_with(resources: list[Json], codes: list[str]) -> MemoryStore:
    store = MemoryStore(keep_stale=True)
    for root in ROOTS:
        store.put({"resourceType": "ResearchStudy", "id": root[-1]})
    for n, resource in enumerate(resources):
        # One version more: what it pointed at before stays in the index for a while.
        store.put({**resources[n - 1], "id": str(n)})
        store.put({**resource, "id": str(n)})
    for code, expression in EXPRESSIONS.items():
        store.put(parameter(code, "RiskAssessment", expression))
    store.put(definition("study", "ResearchStudy", RiskAssessment=codes))
    return store


def found(store: MemoryStore, code: str, root: str) -> list[str]:
    """What the ordinary search by one of the parameters finds."""
    query = parse([(code, root)], "RiskAssessment", custom=custom.stored_in(store, everything))
    return [one.key for one in run.find(store, query, 100, fence=everything)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(assessments, min_size=1, max_size=4),
    st.lists(st.sampled_from(sorted(EXPRESSIONS)), min_size=1, max_size=2, unique=True),
)
def test_members_are_what_the_parameters_find(resources: list[Json], codes: list[str]) -> None:
    store = store_with(resources, codes)
    known = membership.in_force(store)
    for root in ROOTS:
        versions = {key: store.version(head) for key, head in store.current.items() if head.type == "RiskAssessment"}
        inside = {key for key, one in versions.items() if root in membership.memberships(one, known)}
        listed = membership.members(store, root).members
        assert inside == {
            pointer.source
            for pointer in listed
            if membership.is_member(known["ResearchStudy"], root, versions[pointer.source])
        }
        union = {key for code in codes for key in found(store, code, root)}
        assert inside == union == set(pages(store, f"{root}/RiskAssessment", "")) == set(pages(store, f"{root}/*", ""))


@given(assessments)
def test_the_index_has_every_literal_reference(resource: Json) -> None:
    named = index_facts.facts({**resource, "id": "1"}).named
    texts = {one["reference"] for _, one in references.walk(resource)}
    assert {key for text in texts if (key := references.local(text))} == {key for key in named if key[0] != "#"}


def test_references_within_what_a_bundle_carries_are_not_its_own() -> None:
    entry = {"resource": {"resourceType": "Basic", "id": "b", "subject": reference(ROOTS[0])}}
    bundle = {"resourceType": "Bundle", "id": "1", "type": "collection", "entry": [entry]}
    assert index_facts.facts(bundle).literals == frozenset()
    assert index_facts.facts(entry["resource"]).named == {ROOTS[0]}


def test_literals_have_items_of_their_own_beside_those_of_older_code() -> None:
    resource = {
        "resourceType": "RiskAssessment",
        "id": "1",
        "basis": [reference(ROOTS[0])],
        "subject": reference("Patient/p"),
    }
    with_literals = keys.index_entries("RiskAssessment/1", index_facts.facts(resource))
    without = keys.index_entries("RiskAssessment/1", index_facts.facts({**resource, "basis": []}))
    assert with_literals.keys() - without.keys() == {("RiskAssessment/1", keys.entry_sort(ROOTS[0], None))}
    assert without.items() <= with_literals.items()


@pytest.mark.parametrize("fault", ["retired", "gone", "fenced"])
def test_what_is_not_in_force_makes_no_members(fault: str) -> None:
    resource = {"resourceType": "RiskAssessment", "basis": [reference(ROOTS[0])]}
    store = store_with([resource], ["by-element"])
    known = membership.in_force(store)
    assert known["ResearchStudy"].own["RiskAssessment"].keys() == {"by-element"}
    given_up = parameter("by-element", "RiskAssessment", EXPRESSIONS["by-element"])
    if fault == "gone":
        store.delete("SearchParameter/by-element")
    elif fault == "retired":
        store.put(given_up | {"status": "retired"})
    else:
        store.put(given_up, unfenced=False)
    known = membership.in_force(store, fresh=True)
    assert known["ResearchStudy"].own == {}
    candidate = store.version(store.current["RiskAssessment/0"])
    assert membership.memberships(candidate, known) == []
    assert membership.through(known["ResearchStudy"], ROOTS[0], candidate) == frozenset()


def test_canonicals_do_not_count() -> None:
    made = own_parameters.lookup(
        {"x": [parameter("x", "Library", "Library.relatedArtifact.resource | Library.subject")]}
    )
    parameter_of = made("Library", "x")
    assert parameter_of
    library = {"resourceType": "Library", "id": "1", "relatedArtifact": [{"type": "citation", "resource": ROOTS[0]}],
        "subjectReference": reference(ROOTS[1])}  # fmt: skip
    assert own_parameters.targets(parameter_of, library) == {ROOTS[1]}
