"""CompartmentDefinitions: what one defines, whether it can, and which of several decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.compartments import compartment_definitions
from bulkhead.compartments.compartment_definitions import built_in, check, deciding, defined
from bulkhead.errors import Unprocessable
from bulkhead.facts.index_facts import facts
from bulkhead.fhir import definitions, json, validation

Json = dict[str, Any]
SIZE = 300_000


def definition(identifier: str, code: str, /, **parameters: list[str]) -> Json:
    """`definition("x", "Patient", Observation=["subject"])`."""
    listed = [{"code": name, **({"param": codes} if codes else {})} for name, codes in parameters.items()]
    found: Json = {"resourceType": "CompartmentDefinition", "id": identifier, "url": f"http://x.example/{identifier}"}
    found |= {"name": "x", "status": "active", "code": code, "search": True}
    return found | ({"resource": listed} if listed else {})


def nothing(resource_type: str, code: str) -> None:
    """The lookup of a server without SearchParameters of its own."""


def faults(resource: Json) -> dict[str | None, str]:
    found = list(compartment_definitions.faults(resource, nothing))
    if not any(is_own(issue.diagnostics) for issue in found):
        with pytest.raises(Unprocessable) as refused:
            check(resource, SIZE)
        found = list(refused.value.issues)
    return {issue.expression: issue.diagnostics for issue in found}


NOT_DEFINED = "and no SearchParameter that is in force for everybody defines it"


def is_own(fault: str) -> bool:
    """Whether the fault is one that only the commit can tell: the same commit may write the parameter."""
    return fault.endswith(NOT_DEFINED)


@pytest.mark.parametrize("code", definitions.COMPARTMENTS)
def test_those_of_r4_are_valid_and_can_be(code: str) -> None:
    resource = json.loads(json.dumps(definitions.compartment_definitions()[code]))
    assert validation.faults(resource) == []
    check(resource, SIZE)
    assert defined(resource) == built_in()[code]


def test_types_without_parameters_are_not_in_it() -> None:
    its = defined(definition("x", "Patient", Observation=["subject"], Condition=[]))
    assert its.parameters == {"Observation": {"subject"}}


def test_a_type_may_be_listed_twice() -> None:
    resource = definition("x", "Patient", Observation=["subject"])
    resource["resource"].append({"code": "Observation", "param": ["performer"]})
    assert defined(resource).parameters == {"Observation": {"subject", "performer"}}


@pytest.mark.parametrize("code", ["Organization", "Observation", "Binary"])
def test_any_type_may_have_a_compartment(code: str) -> None:
    resource = definition("x", code)
    assert validation.faults(resource) == []
    check(resource, SIZE)


@pytest.mark.parametrize("code", ["Company", "patient", "Resource", "DomainResource"])
def test_what_is_no_type_is_named(code: str) -> None:
    resource = definition("x", code, Observation=["subject"])
    assert validation.faults(resource) == []
    assert faults(resource) == {"CompartmentDefinition.code": f"{code} is not a resource type of R4"}


@pytest.mark.parametrize(
    ("code", "listed", "place", "fault"),
    [
        ("Patient", {"Company": ["x"]}, "resource[0].code", "Company is not a resource type of R4"),
        ("Patient", {"Observation": ["nope"]}, "resource[0].param[0]", f"nope is not a search parameter of Observation in R4, {NOT_DEFINED}"),
        ("Patient", {"Observation": ["subject", "code"]}, "resource[0].param[1]", "code of Observation is not a reference"),
        ("Patient", {"Condition": [], "Observation": ["encounter"]}, "resource[1].param[0]", "encounter of Observation does not refer to resources of the type Patient"),
        ("Patient", {"Observation": ["{def}"]}, "resource[0].param[0]", "{def} means the Patient itself: it is valid only for that type"),
        ("Patient", {"Observation": ["_id"]}, "resource[0].param[0]", "_id of Observation is not a reference"),
        ("Patient", {"Observation": ["a b"]}, "resource[0].param[0]", f"this text is not a search parameter of Observation in R4, {NOT_DEFINED}"),
        ("Group", {"Condition": ["patient"]}, "resource[0].param[0]", "patient of Condition does not refer to resources of the type Group"),
        ("Questionnaire", {"QuestionnaireResponse": ["questionnaire"]}, "resource[0].param[0]", "questionnaire of QuestionnaireResponse holds canonical URLs, not references to resources on this server"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_place(code: str, listed: Any, place: str, fault: str) -> None:
    assert faults(definition("x", code, **listed)) == {f"CompartmentDefinition.{place}": fault}


def test_every_fault_is_told_at_once() -> None:
    assert len(faults(definition("x", "Nothing", Company=["x"], Observation=["code", "nope"]))) == 1
    assert len(faults(definition("x", "Patient", Company=["x"], Observation=["code", "nope"]))) == 3


def test_a_code_that_is_an_extension_only_is_a_fault() -> None:
    resource = definition("x", "Patient")
    del resource["code"]
    resource["_code"] = {"extension": [{"url": "http://x.example", "valueString": "unknown"}]}
    assert validation.faults(resource) == []
    assert list(faults(resource)) == ["CompartmentDefinition.code"]


def test_the_size_has_a_limit() -> None:
    resource = definition("x", "Patient") | {"description": "x" * SIZE}
    assert list(faults(resource)) == ["CompartmentDefinition.resource"]


def test_the_id_says_the_type_where_it_is_one() -> None:
    """R4 binds `code` to its five: who must keep to that names the type by the id."""
    resource = definition("Organization", "Patient", Encounter=["service-provider"])
    check(resource, SIZE)
    assert defined(resource).code == "Organization"
    assert deciding([resource]).keys() == built_in().keys() | {"Organization"}
    assert deciding([resource])["Patient"] == built_in()["Patient"]
    wrong = definition("Organization", "Patient", Observation=["encounter"])
    assert list(faults(wrong)) == ["CompartmentDefinition.resource[0].param[0]"]


def decides(*stored: Json, code: str = "Patient") -> str:
    return deciding(stored)[code].url


def test_the_id_decides_then_the_code_then_r4() -> None:
    by_id = definition("Patient", "Patient", Observation=["subject"])
    by_code, other = definition("b", "Patient"), definition("c", "Patient")
    assert decides() == "http://hl7.org/fhir/CompartmentDefinition/patient"
    assert decides(other, by_code) == decides(by_code, other) == by_code["url"]
    assert decides(by_code, by_id, other) == by_id["url"]


def test_what_is_retired_is_not_in_force() -> None:
    retired = definition("Patient", "Patient") | {"status": "retired"}
    assert decides(retired) == "http://hl7.org/fhir/CompartmentDefinition/patient"
    assert decides(retired, definition("b", "Patient")) == "http://x.example/b"


def test_one_of_r4_as_it_was_gives_way_to_what_clients_have_written() -> None:
    as_it_was = dict(definitions.compartment_definitions()["Patient"]) | {"meta": {"tag": [{"code": "x"}]}}
    assert decides(as_it_was, definition("zebra", "Patient")) == "http://x.example/zebra"
    assert decides(as_it_was | {"search": False}, definition("zebra", "Patient")) == as_it_was["url"]


def test_what_was_stored_before_it_was_checked_does_no_harm() -> None:
    nonsense = [{"resourceType": "CompartmentDefinition", "id": "x"}, definition("y", "Nothing", Company=["z"])]
    assert deciding(nonsense) == built_in()


names = st.sampled_from(["Patient", "Observation", "Company", "Encounter", "Bundle", "subject", "{def}", "code", "x y"])


@given(names, st.dictionaries(names, st.lists(names, max_size=3), max_size=4), st.sampled_from(["x", "Patient"]))
def test_what_does_not_pass_is_refused_with_places(code: str, listed: dict[str, list[str]], identifier: str) -> None:
    found = list(compartment_definitions.faults(definition(identifier, code, **listed), nothing))
    assert all(issue.expression and issue.expression.startswith("CompartmentDefinition.") for issue in found)


def test_what_passes_makes_members() -> None:
    """Each parameter of a definition that is not refused is one by which `facts.targets` tells members, for every type of target."""
    passed = set()
    for code in definitions.RESOURCE_TYPES:
        for resource_type in ("Observation", "Encounter", "MedicationRequest"):
            for name in ("subject", "encounter", "device", "specimen", "status", "nonsense"):
                resource = definition("x", code, **{resource_type: [name]})
                if list(compartment_definitions.faults(resource, nothing)):
                    continue
                pointing = {"resourceType": resource_type, name: {"reference": f"{code}/1"}}
                assert compartment_definitions.target_type(resource) == code
                assert defined(resource).parameters == {resource_type: {name}}
                assert name in facts(pointing).targets[f"{code}/1"]
                passed.add((code, resource_type, name))
    assert {
        ("Patient", "Observation", "subject"),
        ("Patient", "MedicationRequest", "subject"),
        ("Group", "Encounter", "subject"),
        ("Encounter", "Observation", "encounter"),
        ("Encounter", "MedicationRequest", "encounter"),
        ("Device", "Observation", "device"),
        ("Specimen", "Observation", "specimen"),
    } <= passed
    assert not [one for one in passed if one[2] in ("status", "nonsense")]
