"""R4's constraints: each is understood, the official examples meet them, and what breaks one is told its key and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulkhead.fhir import definitions, validation
from bulkhead.fhir.definitions.tables import all_constraints
from bulkhead.fhir.invariants.compiling import compile_constraint
from bulkhead.fhir.invariants.values import FALSE, NOTHING, TRUE, compare
from bulkhead.fhir.rules.faults import Scope
from bulkhead.fhir.rules.invariants import CORRECTED, QUICKER, invariants_of, unchecked
from infra.local.door import Door
from tests.support.constraints import without_constraints
from tests.support.counting import contained_and_named

CODE = {"text": "x"}
TYPED_ELEMENTS = {"Organization.address": "Address", "Organization.telecom": "ContactPoint"}


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": CODE, **elements}


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **elements}


def bundle(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", **elements}


def questionnaire(*items: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Questionnaire", "status": "draft", "item": [{"text": "q", **item} for item in items]}


def condition(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"display": "x"}, **elements}


def timed(**repeat: Any) -> dict[str, Any]:
    order = {"status": "active", "intent": "order", "subject": {"display": "x"}}
    return {"resourceType": "ServiceRequest", **order, "occurrenceTiming": {"repeat": repeat}}


def team(**member: Any) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "participant": [{"member": member, "onBehalfOf": {"reference": "Organization/1"}}],
    }


def contained_team(resource_type: str) -> dict[str, Any]:
    named = {"name": "x"} if resource_type == "Organization" else {}
    return {**team(reference="#a"), "contained": [{"resourceType": resource_type, "id": "a", **named}]}


ERRONEOUS = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "code": "entered-in-error"}
    ]
}
CODED = {"coding": [{"system": "http://l", "code": "a"}]}
STATUS = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
OVER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "resolved"}]}
SENT = {"method": "GET", "url": "Patient"}

# Key, place, what breaks it, what meets it.
EXAMPLES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("org-1", "Organization", {"resourceType": "Organization"}, {"resourceType": "Organization", "name": "x"}),
    ("org-2", "Organization.address[0]", {"resourceType": "Organization", "name": "x", "address": [{"use": "home"}]}, {"resourceType": "Organization", "name": "x", "address": [{"use": "work"}]}),
    ("pat-1", "Patient.contact[0]", patient(contact=[{"gender": "male"}]), patient(contact=[{"name": {"text": "x"}}])),
    ("per-1", "Patient.name[0].period", patient(name=[{"family": "x", "period": {"start": "2024-05-01", "end": "2023-01-01"}}]), patient(name=[{"family": "x", "period": {"start": "2024-05-01", "end": "2024"}}])),
    ("obs-6", "Observation", observation(valueString="v", dataAbsentReason=CODE), observation(dataAbsentReason=CODE)),
    ("obs-7", "Observation", {**observation(valueString="v", component=[{"code": CODED, "valueString": "w"}]), "code": CODED}, observation(valueString="v", component=[{"code": CODED, "valueString": "w"}])),
    ("obs-3", "Observation.referenceRange[0]", observation(referenceRange=[{"age": {"low": {"value": 1}}}]), observation(referenceRange=[{"text": "x"}])),
    ("qty-3", "Observation.value", observation(valueQuantity={"value": 1, "code": "mg"}), observation(valueQuantity={"value": 1, "code": "mg", "system": "http://unitsofmeasure.org"})),
    ("rng-2", "Observation.value", observation(valueRange={"low": {"value": 9}, "high": {"value": 1}}), observation(valueRange={"low": {"value": 1}, "high": {"value": 9}})),
    ("rat-1", "Observation.value", observation(valueRatio={"numerator": {"value": 1}}), observation(valueRatio={"numerator": {"value": 1}, "denominator": {"value": 2}})),
    ("cpt-2", "Patient.telecom[0]", patient(telecom=[{"value": "555"}]), patient(telecom=[{"value": "555", "system": "phone"}])),
    ("att-1", "Patient.photo[0]", patient(photo=[{"data": "QUFB"}]), patient(photo=[{"data": "QUFB", "contentType": "image/png"}])),
    ("con-4", "Condition", condition(clinicalStatus=STATUS, abatementDateTime="2020"), condition(clinicalStatus=OVER, abatementDateTime="2020")),
    ("bdl-1", "Bundle", bundle(total=3), bundle(type="searchset", total=3)),
    ("bdl-3", "Bundle", bundle(entry=[{"request": SENT}]), bundle(type="batch", entry=[{"request": SENT}])),
    ("bdl-5", "Bundle.entry[0]", bundle(entry=[{"fullUrl": "http://e/Patient/1"}]), bundle(entry=[{"fullUrl": "http://e/Patient/1", "resource": patient()}])),
    ("bdl-7", "Bundle", bundle(entry=[{"fullUrl": "http://e/Patient/1", "resource": patient(id="1")}] * 2), bundle(entry=[{"resource": patient()}, {"resource": patient()}])),
    ("bdl-8", "Bundle.entry[0]", bundle(entry=[{"fullUrl": "http://e/Patient/1/_history/1", "resource": patient(id="1")}]), bundle(entry=[{"resource": patient()}])),
    ("que-2", "Questionnaire", questionnaire({"linkId": "1", "type": "string"}, {"linkId": "1", "type": "string"}), questionnaire({"linkId": "1", "type": "string"}, {"linkId": "2", "type": "string"})),
    ("que-1", "Questionnaire.item[0]", questionnaire({"linkId": "1", "type": "group"}), questionnaire({"linkId": "1", "type": "display"})),
    ("tim-1", "ServiceRequest.occurrence.repeat", timed(duration=3), timed(duration=3, durationUnit="d")),
    ("tim-4", "ServiceRequest.occurrence.repeat", timed(duration=-3, durationUnit="d"), timed(duration=0, durationUnit="d")),
    ("ait-1", "AllergyIntolerance", {"resourceType": "AllergyIntolerance", "patient": {"display": "x"}}, {"resourceType": "AllergyIntolerance", "patient": {"display": "x"}, "verificationStatus": ERRONEOUS}),
    ("ctm-1", "CareTeam.participant[0]", team(reference="Patient/1"), team(reference="Practitioner/1")),
    ("ctm-1", "CareTeam.participant[0]", team(reference="http://x.example/fhir/Patient/1"), team(reference="http://x.example/fhir/Practitioner/1/_history/2")),
    ("ctm-1", "CareTeam.participant[0]", team(type="Patient", reference="urn:uuid:x"), team(reference="urn:uuid:x")),
    ("ctm-1", "CareTeam.participant[0]", contained_team("Organization"), contained_team("Practitioner")),
    ("dom-3", "Patient.contained[0]", patient(contained=[patient(id="a")]), patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}], managingOrganization={"reference": "#o"})),
    ("obs-3", "Observation.contained[0].referenceRange[0]", observation(contained=[observation(id="a", referenceRange=[{"age": {"low": {"value": 1}}}])], hasMember=[{"reference": "#a"}]), observation(contained=[observation(id="a")], hasMember=[{"reference": "#a"}])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "place", "wrong", "right"), EXAMPLES, ids=lambda given: given if type(given) is str else ""
)
def test_what_breaks_a_constraint_is_told_its_key_and_place(
    key: str, place: str, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    with without_constraints(""):
        found = validation.faults(wrong)
    assert [(issue.code, issue.expression) for issue in found] == [("invariant", place)]
    assert found[0].diagnostics.endswith(f"({key})")
    assert validation.faults(right) == []


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@pytest.mark.parametrize("content", ["", " \n\t", "<p> </p>", "<!-- x -->", "<b/><br/>"])
def test_a_narrative_without_content_breaks_txt_2(content: str) -> None:
    (issue,) = validation.faults(patient(text={"status": "generated", "div": DIV.format(content)}))
    assert (issue.expression, issue.diagnostics[-7:]) == ("Patient.text.div", "(txt-2)")


@pytest.mark.parametrize("content", ["x", "<p>&#233;</p>", '<img src="#a"/>', "<![CDATA[x]]>"])
def test_a_narrative_with_content_meets_it(content: str) -> None:
    assert validation.faults(patient(text={"status": "generated", "div": DIV.format(content)})) == []


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        " java\tscript:alert(1)",
        "&#106;avascript:alert(1)",
        "VBScript:x",
        "data:text/html,x",
        "data:text/h&#10;tml;base64,eA==",
        "data:image/svg+xml,x",
        "data:application/xhtml+xml,x",
    ],
)
def test_a_link_that_runs_a_script_is_refused(link: str) -> None:
    div = DIV.format(f'<a href="{link}">x</a>')
    (issue,) = validation.faults(patient(text={"status": "generated", "div": div}))
    assert issue.diagnostics == "Patient.text.div: has a link that runs a script"


@pytest.mark.parametrize(
    "element",
    [
        '<a href="https://example.org/javascript:x">x</a>',
        '<a href="data:application/pdf;base64,eA==">x</a>',
        '<a href="#x">x</a>',
        '<img src="data:image/svg+xml;base64,eA=="/>',
    ],
)
def test_a_link_that_runs_none_is_taken(element: str) -> None:
    assert validation.faults(patient(text={"status": "generated", "div": DIV.format(element)})) == []


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (patient(name=[{"id": "a b", "family": "x"}]), "Patient.name[0].id"),
        (patient(name=[{"id": "a\u00a0b", "family": "x"}]), "Patient.name[0].id"),
        (patient(name=[{"id": "a", "family": "x"}, {"id": "a", "family": "y"}]), "Patient.name[1].id"),
        (patient(name=[{"id": "a", "family": "x", "period": {"id": "a", "start": "2020"}}]), "Patient.name[0].period.id"),
        (patient(name=[{"id": "a", "family": "x"}], gender="male", _gender={"id": "a"}), "Patient.gender.id"),
        (patient(name=[{"family": "x", "given": ["y", "z"], "_given": [{"id": "a"}, {"id": "a"}]}]), "Patient.name[0].given[1].id"),
        (patient(extension=[{"id": "a", "url": "urn:x", "valueString": "x"}] * 2), "Patient.extension[1].id"),
    ],
)  # fmt: skip
def test_ids_of_elements_are_without_spaces_and_unique(wrong: dict[str, Any], place: str) -> None:
    assert [issue.expression for issue in validation.faults(wrong)] == [place]


def test_ids_are_unique_within_one_resource_only() -> None:
    """The resource's own id is none of an element, and what it contains and what a bundle has beside it have their own."""
    inner = {
        "resourceType": "Organization",
        "id": "c",
        "name": "x",
        "telecom": [{"id": "a", "system": "phone", "value": "1"}],
    }
    outer = patient(
        id="a", name=[{"id": "a", "family": "x"}], contained=[inner], managingOrganization={"reference": "#c"}
    )
    assert validation.faults(outer) == []
    assert validation.faults(bundle(entry=[{"id": "a", "resource": outer}, {"resource": outer}])) == []


def test_a_site_may_do_without_a_constraint() -> None:
    allergy = {"resourceType": "AllergyIntolerance", "patient": {"display": "x"}}
    empty = patient(text={"status": "generated", "div": DIV.format("")})
    assert [len(validation.faults(one)) for one in (allergy, empty)] == [0, 1]
    with without_constraints("ait-1, txt-2"):
        assert validation.faults(allergy) == validation.faults(empty) == []
    with without_constraints(""):
        assert [len(validation.faults(one)) for one in (allergy, empty)] == [1, 1]


@pytest.mark.parametrize(
    ("text", "named"),
    [("ait1", "'ait1'"), ("ait-1,txt-1", "'txt-1'"), ("ait-1;txt-2", "'ait-1;txt-2'"), ("AIT-1, dom-6", "'AIT-1', 'dom-6'")],
)  # fmt: skip
def test_a_key_that_turns_nothing_off_stops_the_start(text: str, named: str, tmp_path: Path) -> None:
    """Else the constraint is checked after all, or is thought to be. Those that code checks cannot be turned off, but for txt-2."""
    with pytest.raises(ValueError, match=f"UNCHECKED_INVARIANTS names {named};"):
        unchecked(text)
    with pytest.raises(ValueError, match="UNCHECKED_INVARIANTS"):
        Door({"UNCHECKED_INVARIANTS": text}, auth=False, key_file=tmp_path / "key.pem")


@pytest.mark.parametrize(("text", "keys"), [("", set()), (" , ", set()), (" ait-1 ,txt-2", {"ait-1", "txt-2"})])
def test_the_keys_of_the_setting(text: str, keys: set[str]) -> None:
    assert unchecked(text) == keys


def test_every_constraint_is_understood() -> None:
    keys = set()
    with without_constraints(""):
        for path, listed in all_constraints().items():
            understood = invariants_of(path, TYPED_ELEMENTS.get(path, path))
            assert len(understood) == len(listed)
            keys |= {one.key for one in listed}
    assert len(keys) > 180
    # Nothing is excepted that R4 does not have.
    assert keys >= {*CORRECTED, *QUICKER}


def test_constraints_stand_by_the_element_that_they_are_about() -> None:
    assert [one.key for one in definitions.constraints("Period")] == ["per-1"]
    assert [one.key for one in definitions.constraints("Patient.contact")] == ["pat-1"]
    assert definitions.constraints("HumanName") == ()


@pytest.mark.parametrize(
    ("left", "right", "answer"),
    [
        ("2020", "2020-05-01", TRUE),
        ("2020-05-01", "2020", TRUE),
        ("2020-06", "2020-05-01", FALSE),
        ("2020-05-01T00:30:00+02:00", "2020-04-30T23:00:00Z", TRUE),
        ("2020-05-01T01:30:00+02:00", "2020-04-30T23:00:00Z", FALSE),
        ({"value": 9, "unit": "mg"}, {"value": 1, "unit": "g"}, TRUE),
        ({"value": 9, "unit": "mg"}, {"value": 1, "unit": "mg"}, FALSE),
    ],
)
def test_what_cannot_be_compared_is_no_fault(left: Any, right: Any, answer: list[bool]) -> None:
    assert compare("<=", [left], [right]) is answer
    assert compare(">=", [right], [left]) is answer
    assert compare("<=", [left], []) is NOTHING


def test_thousands_of_references_into_a_resource_go_through_what_it_contains_once() -> None:
    resource, inside = contained_and_named(50)
    scope = Scope(conditional=False, base="")
    scope.resource = resource
    is_basic = compile_constraint("item.resolve() is Basic", "List.entry")
    assert all(is_basic(one, scope) for one in resource["entry"])
    assert inside.passes == 1
    # Another resource has others.
    scope.resource = {**resource, "contained": [{**one, "resourceType": "Organization"} for one in inside]}
    assert not any(is_basic(one, scope) for one in resource["entry"])
