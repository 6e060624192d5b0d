"""Chains into contained resources, and into the entries of documents and messages."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.facts.index_facts import facts
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import embedded
from bulkhead.search.run import Limits
from bulkhead.store import Store
from bulkhead.store.version import Version
from tests.support.counting import CountedList, contained_and_named
from tests.support.memory_store import MemoryStore, head_of
from tests.support.search_samples import patient
from tests.support.searches import pages
from tests.unit.search.test_on_store import copied

LIMITS = pytest.mark.parametrize(
    "limits", [Limits(), Limits(inner=0)], ids=["led by the chain", "led by something else"]
)


def medication(code: str, id: str = "m1") -> dict[str, Any]:
    return {
        "resourceType": "Medication",
        "id": id,
        "code": {"coding": [{"system": "http://rx", "code": code}]},
        "manufacturer": {"reference": "Organization/maker"},
        "ingredient": [{"itemCodeableConcept": {"coding": [{"code": f"{code}-i"}]}}],
    }


def request(id: str, to: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/pa"},
        "medicationReference": {"reference": to},
        **more,
    }


def entry(url: str, **resource: Any) -> dict[str, Any]:
    return {"fullUrl": url, "resource": resource}


UUID = "urn:uuid:11111111-1111-4111-8111-11111111111"


def pharmacy() -> MemoryStore:
    store = MemoryStore()
    store.put(patient("pa", identifier=[{"value": "outer"}]))
    store.put(patient("p9", identifier=[{"value": "not the document's"}]))
    store.put({"resourceType": "Organization", "id": "maker", "name": "Maker"})
    store.put(medication("abc", "outer"))
    store.put(medication("xyz", "m1"))
    store.put(request("inner", "#m1", contained=[medication("abc")]))
    store.put(request("other", "#m1", contained=[medication("def"), medication("abc", "m2")]))
    store.put(request("outer", "Medication/outer"))
    store.put(
        {
            "resourceType": "DiagnosticReport",
            "id": "report",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/pa"},
            "result": [{"reference": "#o1"}, {"reference": "Observation/none"}],
            "contained": [
                {
                    "resourceType": "Observation",
                    "id": "o1",
                    "status": "final",
                    "code": {"coding": [{"code": "gluc"}]},
                    "subject": {"reference": "#p"},
                    "device": {"reference": "Device/d"},
                },
                {"resourceType": "Patient", "id": "p", "name": [{"family": "Inside"}]},
            ],
        }
    )
    store.put(
        {
            "resourceType": "QuestionnaireResponse",
            "id": "form",
            "status": "completed",
            "questionnaire": "#q",
            "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active", "title": "Pain"}],
        }
    )
    store.put(
        {
            "resourceType": "Bundle",
            "id": "document",
            "type": "document",
            "entry": [
                entry(
                    "http://e/Composition/c1",
                    resourceType="Composition",
                    id="c1",
                    status="final",
                    type={"coding": [{"code": "34133-9"}]},
                    subject={"reference": "Patient/p9"},
                    author=[{"reference": f"{UUID}2"}],
                ),
                entry("http://e/Patient/p9", **patient("p9", identifier=[{"value": "mrn9"}])),
                entry(f"{UUID}2", resourceType="Practitioner", name=[{"family": "Author"}]),
            ],
        }
    )
    store.put(
        {
            "resourceType": "Bundle",
            "id": "message",
            "type": "message",
            "entry": [
                entry(
                    f"{UUID}1",
                    resourceType="MessageHeader",
                    eventCoding={"system": "http://ev", "code": "admit"},
                    focus=[{"reference": "Patient/pa"}],
                )
            ],
        }
    )
    store.put({"resourceType": "Composition", "id": "c1", "status": "amended", "title": "outside"})
    store.put({"resourceType": "Bundle", "id": "plain", "type": "collection", "entry": []})
    return store


CASES = [
    ("MedicationRequest", "medication.code=http://rx|abc", "inner outer"),
    ("MedicationRequest", "medication.code=xyz", ""),
    ("MedicationRequest", "medication.ingredient-code=abc-i", "inner outer"),
    ("MedicationRequest", "medication:Medication.code=def", "other"),
    ("MedicationRequest", "medication.code:missing=true", ""),
    ("MedicationRequest", "medication.manufacturer.name=maker", "inner other outer"),
    ("MedicationRequest", "medication._id=m1", ""),
    ("MedicationRequest", "medication._lastUpdated=ge2020", "outer"),
    ("MedicationRequest", "medication.code=abc&subject:Patient.identifier=outer", "inner outer"),
    ("MedicationRequest", "medication._has:MedicationRequest:medication:status=active", "outer"),
    ("Patient/pa/MedicationRequest", "medication.code=abc", "inner outer"),
    ("Patient", "_has:MedicationRequest:patient:medication.code=def", "pa"),
    ("DiagnosticReport", "result.code=gluc", "report"),
    ("DiagnosticReport", "result.code=other", ""),
    ("DiagnosticReport", "result.subject:Patient.name=inside", "report"),
    ("DiagnosticReport", "subject:Patient.name=inside", ""),
    ("QuestionnaireResponse", "questionnaire.title=pain", "form"),
    ("Bundle", "composition=Composition/c1", "document"),
    ("Bundle", "composition.status=final", "document"),
    ("Bundle", "composition.status=amended", ""),
    ("Bundle", "composition:Composition.type=34133-9", "document"),
    ("Bundle", "composition._id=c1", "document"),
    ("Bundle", "composition.patient.identifier=mrn9", "document"),
    ("Bundle", "composition.patient.identifier=not the document's", ""),
    ("Bundle", "composition.author:Practitioner.name=author", "document"),
    ("Bundle", "message.event=http://ev|admit", "message"),
    ("Bundle", "message.event=discharge", ""),
    ("Bundle", "message.focus:Patient.identifier=outer", "message"),
    ("Composition", "_has:Bundle:composition:type=document", "c1"),
]


def ids(keys: list[str]) -> list[str]:
    return sorted(key.partition("/")[2] for key in keys)


@LIMITS
@pytest.mark.parametrize(("path", "query", "expected"), CASES)
def test_what_a_chain_finds_within(path: str, query: str, expected: str, limits: Limits) -> None:
    assert ids(pages(pharmacy(), path, query, limits=limits)) == sorted(expected.split())
    assert ids(pages(pharmacy(), path, f"{query}&_count=1", limits=limits)) == sorted(expected.split())


def test_a_fence_holds_for_what_lies_behind_a_contained_resource() -> None:
    def fence(candidate: Version) -> bool:
        return candidate.key != "Organization/maker"

    assert pages(pharmacy(), "MedicationRequest", "medication.manufacturer.name=maker", fence=fence) == []
    hidden = pages(
        pharmacy(), "MedicationRequest", "medication.code=abc", fence=lambda one: one.key != "MedicationRequest/inner"
    )
    assert ids(hidden) == ["outer"]


def test_the_index_knows_by_which_parameter_which_type_is_within() -> None:
    store = pharmacy()
    marks = {
        head.key: {target: set(via) for target, via in facts(store.decode(head)).targets.items() if target[0] == "#"}
        for head in store.current.values()
    }
    assert {key: found for key, found in marks.items() if found} == {
        "MedicationRequest/inner": {"#Medication": {"medication"}},
        "MedicationRequest/other": {"#Medication": {"medication"}},
        "DiagnosticReport/report": {"#Observation": {"result"}},
        "QuestionnaireResponse/form": {"#Questionnaire": {"questionnaire"}},
        "Bundle/document": {"#Composition": {"composition"}},
        "Bundle/message": {"#MessageHeader": {"message"}},
    }


def test_the_chain_leads_to_few() -> None:
    """The resources that have such a resource within are listed; the many others are not read."""
    store = pharmacy()
    for number in range(300):
        store.put(request(f"r{number}", "Medication/none"))
    store.reads.clear()
    assert ids(pages(store, "MedicationRequest", "medication.code=abc")) == ["inner", "outer"]
    assert store.reads.count("BatchGetItem") <= 4


def test_the_table_answers_as_memory_does(store: Store) -> None:
    memory = pharmacy()
    table = copied(store, memory)
    for path, query, expected in CASES:
        assert ids(pages(table, path, query)) == sorted(expected.split()), query


def test_thousands_of_references_go_through_what_is_inside_once() -> None:
    """Whoever may write a resource of a few megabytes would keep a process busy for hours otherwise, by one search."""
    resource, inside = contained_and_named(50)
    version = Version(head_of(resource), lambda _: resource)
    found = embedded.pointed_at(version, search_parameters("List")["item"])
    assert sorted(found) == sorted(f"#c{n}" for n in range(50))
    assert inside.passes < 5

    names = [f"urn:uuid:{n:08}-1111-4111-8111-111111111111" for n in range(50)]
    composition = {"resourceType": "Composition", "section": [{"entry": [{"reference": name} for name in names]}]}
    entries = CountedList([entry(UUID, **composition), *(entry(name, resourceType="Basic") for name in names)])
    document = {"resourceType": "Bundle", "id": "d", "type": "document", "entry": entries}
    first = embedded.Embedded(composition, embedded.Inside(Version(head_of(document), lambda _: document)), UUID)
    found = embedded.pointed_at(first, search_parameters("Composition")["entry"])
    assert sorted(found) == names
    assert entries.passes < 5
