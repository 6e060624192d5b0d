from typing import Any

import pytest

from bulkhead.errors import NotSupported
from bulkhead.facts.expressions import can_repeat, compiled, types
from bulkhead.fhir.definitions import RESOURCE_TYPES, search_parameters


def evaluate(expression: str, resource: dict[str, Any]) -> list[tuple[str, Any]]:
    return compiled(expression, resource["resourceType"])(resource, resource)


def test_every_expression_of_r4_compiles_and_leads_to_a_type() -> None:
    seen = set()
    for resource_type in RESOURCE_TYPES:
        for parameter in search_parameters(resource_type).values():
            if parameter.expression:
                compiled(parameter.expression, resource_type)
                found = types(parameter.expression, resource_type)
                assert found, f"{resource_type}.{parameter.code} leads nowhere"
                for _, part in parameter.components:
                    assert any(types(part, kind.partition("|")[0]) for kind in found)
                seen.add(parameter.url)
    assert len(seen) == 1372


def test_a_choice_is_the_property_of_its_type() -> None:
    resource = {"resourceType": "Observation", "valueQuantity": {"value": 1}, "valueString": "x"}
    assert evaluate("(Observation.value as Quantity)", resource) == [("Quantity", {"value": 1})]
    assert evaluate("Observation.value.ofType(string)", resource) == [("string", "x")]


def test_an_unnarrowed_choice_gives_every_type_that_is_there() -> None:
    resource = {"resourceType": "Group", "characteristic": [{"valueBoolean": True}, {"valueRange": {}}]}
    assert evaluate("Group.characteristic.value", resource) == [("boolean", True), ("Range", {})]


def test_as_uri_takes_a_canonical() -> None:
    resource = {"resourceType": "ConceptMap", "sourceCanonical": "http://x/vs"}
    assert evaluate("(ConceptMap.source as uri)", resource) == [("canonical", "http://x/vs")]


def test_the_capital_letter_that_hl7_writes_in_places() -> None:
    resource = {"resourceType": "Observation", "valueDateTime": "2020"}
    assert evaluate("value.as(DateTime) | value.as(Period)", resource) == [("dateTime", "2020")]


def test_branches_without_a_type_in_front() -> None:
    resource = {"resourceType": "InsurancePlan", "name": "a", "alias": ["b", "c"]}
    assert [value for _, value in evaluate("name | alias", resource)] == ["a", "b", "c"]


def test_a_cast_in_parentheses_goes_on() -> None:
    resource = {"resourceType": "Observation", "valueCodeableConcept": {"text": "t"}}
    expression = "(Observation.value as string) | (Observation.value as CodeableConcept).text"
    assert evaluate(expression, resource) == [("string", "t")]


def test_where_compares_with_a_literal() -> None:
    phone, email = {"system": "phone", "value": "1"}, {"system": "email", "value": "2"}
    resource = {"resourceType": "Patient", "telecom": [phone, email]}
    assert evaluate("Patient.telecom.where(system='email')", resource) == [("ContactPoint", email)]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "http://elsewhere/Patient/1"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "NotPatient/1"}, False),
        ({"reference": "urn:uuid:0", "type": "Patient"}, True),
        ({"identifier": {"value": "x"}, "type": "Patient"}, True),
        ({"identifier": {"value": "x"}}, False),
    ],
)
def test_resolve_is_reads_the_type_off_the_reference(reference: dict[str, Any], expected: bool) -> None:
    resource = {"resourceType": "Observation", "subject": reference}
    assert bool(evaluate("Observation.subject.where(resolve() is Patient)", resource)) is expected


def test_an_index_takes_one_of_a_list() -> None:
    first, second = {"resourceType": "Composition"}, {"resourceType": "Patient"}
    resource = {"resourceType": "Bundle", "entry": [{"resource": first}, {"resource": second}]}
    assert evaluate("Bundle.entry[0].resource", resource) == [("Resource", first)]


@pytest.mark.parametrize(
    ("resource", "deceased"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_deceased_is_always_true_or_false(resource: dict[str, Any], deceased: bool) -> None:
    expression = search_parameters("Patient")["deceased"].expression
    assert evaluate(expression, {"resourceType": "Patient", **resource}) == [("boolean", deceased)]


def test_an_extension_by_its_url() -> None:
    mine, other = {"url": "u", "valueCode": "x"}, {"url": "v", "valueCode": "y"}
    resource = {"resourceType": "Patient", "extension": [other, mine]}
    assert evaluate("Patient.extension('u')", resource) == [("Extension", mine)]


def test_a_code_tells_its_required_binding() -> None:
    resource = {"resourceType": "Patient", "gender": "male"}
    assert evaluate("Patient.gender", resource) == [("code|http://hl7.org/fhir/ValueSet/administrative-gender", "male")]


def test_nulls_among_primitives_are_no_values() -> None:
    resource = {"resourceType": "Patient", "name": [{"given": [None, "A"]}]}
    assert evaluate("Patient.name.given", resource) == [("string", "A")]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.name.first()",
        "Patient.name.given + Patient.name.family",
        "Patient.nonsense",
        "Patient.name.where(use = 'official' or use = 'usual')",
        "Patient.name[",
        "Patient.name.where(family.startsWith('x'))",
        "(Patient.name",
        "Patient.name;",
        "iif(Patient.active, 1, 2)",
        "",
    ],
)
def test_what_the_grammar_does_not_have_is_refused(expression: str) -> None:
    with pytest.raises(NotSupported):
        compiled(expression, "Patient")


@pytest.mark.parametrize(
    ("resource_type", "code", "several"),
    [
        ("Observation", "date", False),
        ("Condition", "onset-date", False),
        ("Patient", "birthdate", False),
        ("Goal", "target-date", True),
        ("Encounter", "location-period", True),
        # An element of the resource, and one of its reactions.
        ("AllergyIntolerance", "onset", True),
        ("MedicationRequest", "date", True),
    ],
)
def test_what_may_have_several_values(resource_type: str, code: str, several: bool) -> None:
    assert can_repeat(search_parameters(resource_type)[code].expression, resource_type) == several
