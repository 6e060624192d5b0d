"""The compiled tables against what HL7's packages are known to hold, and against each other."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, DATATYPES, PRIMITIVES, RESOURCE_TYPES

ALL_PARAMETERS = [
    parameter for name in sorted(RESOURCE_TYPES) for parameter in definitions.search_parameters(name).values()
]


def test_resource_types() -> None:
    assert len(RESOURCE_TYPES) == 146
    assert {"Patient", "Bundle", "Parameters", "CompartmentDefinition", "ExplanationOfBenefit"} <= RESOURCE_TYPES
    assert not {"Resource", "DomainResource", "MetadataResource", "HumanName"} & RESOURCE_TYPES


def test_twenty_primitives_each_with_an_expression_that_compiles() -> None:
    assert len(PRIMITIVES) == 20
    assert [name for name, expression in PRIMITIVES.items() if not expression] == ["xhtml"]
    assert all(re.compile(expression) for expression in PRIMITIVES.values())


def test_search_parameter_counts() -> None:
    """1,400 in the package: 1,376 of the specification (1,372 with an expression), 24 experimental examples."""
    assert len({parameter.url for parameter in ALL_PARAMETERS}) == 1376
    assert len({parameter.url for parameter in ALL_PARAMETERS if parameter.expression}) == 1372


def test_every_type_has_the_common_parameters() -> None:
    common = {"_id", "_lastUpdated", "_profile", "_security", "_source", "_tag", "_content", "_query", "_filter"}
    for name in RESOURCE_TYPES:
        assert common <= definitions.search_parameters(name).keys(), name
    assert "_text" in definitions.search_parameters("Patient")
    assert "_text" not in definitions.search_parameters("Bundle"), "Bundle is no DomainResource"


@pytest.mark.parametrize(
    ("resource_type", "code", "expression"),
    [
        ("Patient", "_id", "Resource.id"),
        ("Patient", "given", "Patient.name.given"),
        ("Practitioner", "given", "Practitioner.name.given"),
        ("Organization", "name", "Organization.name | Organization.alias"),
        ("Consent", "patient", "Consent.patient"),
        ("Encounter", "patient", "Encounter.subject.where(resolve() is Patient)"),
        (
            "ValueSet",
            "context-quantity",
            "(ValueSet.useContext.value as Quantity) | (ValueSet.useContext.value as Range)",
        ),
    ],
)
def test_expressions_hold_only_the_branches_of_the_type(resource_type: str, code: str, expression: str) -> None:
    assert definitions.search_parameters(resource_type)[code].expression == expression


def test_only_the_four_parameters_without_an_expression_have_none() -> None:
    assert {p.code for p in ALL_PARAMETERS if not p.expression} == {"_text", "_content", "_query", "_filter"}


def test_composites_name_components_that_exist() -> None:
    urls = {parameter.url for parameter in ALL_PARAMETERS}
    composites = [parameter for parameter in ALL_PARAMETERS if parameter.type == "composite"]
    assert len({parameter.url for parameter in composites}) == 46
    assert all(len(p.components) > 1 and all(url in urls for url, _ in p.components) for p in composites)


def test_targets_of_references_are_resource_types() -> None:
    targets = definitions.search_parameters("Observation")["subject"].targets
    assert set(targets) == {"Group", "Device", "Patient", "Location"}
    assert all(set(parameter.targets) <= RESOURCE_TYPES for parameter in ALL_PARAMETERS)


@pytest.mark.parametrize(
    ("code", "types", "parameters"),
    [
        ("Patient", 66, 100),
        ("Encounter", 25, 25),
        ("Practitioner", 59, 88),
        ("Device", 32, 49),
        ("RelatedPerson", 32, 40),
    ],
)
def test_compartment_counts(code: str, types: int, parameters: int) -> None:
    table = definitions.compartment_parameters(code)
    assert (len(table), sum(map(len, table.values()))) == (types, parameters)


def test_compartment_parameters_exist_for_their_type() -> None:
    for code in definitions.COMPARTMENTS:
        for resource_type, parameters in definitions.compartment_parameters(code).items():
            known = definitions.search_parameters(resource_type).keys() | {"{def}"}
            assert known >= set(parameters), (code, resource_type)


def test_compartments_of_the_specification() -> None:
    assert definitions.compartment_parameters("Patient")["Communication"] == ("subject", "sender", "recipient")
    assert "Task" not in definitions.compartment_parameters("Patient"), "R4 has no Task there"
    assert definitions.compartment_parameters("Organization") == {}


def test_required_value_sets() -> None:
    codes = definitions.value_set_codes("http://hl7.org/fhir/ValueSet/administrative-gender")
    assert codes == {"male", "female", "other", "unknown"}
    assert definitions.value_set_codes("http://hl7.org/fhir/ValueSet/mimetypes") == frozenset()
    systems = definitions.value_set_systems("http://hl7.org/fhir/ValueSet/condition-clinical")
    assert systems["http://terminology.hl7.org/CodeSystem/condition-clinical"] >= {"active", "resolved"}


def test_every_element_type_has_a_table() -> None:
    for name in sorted(RESOURCE_TYPES | DATATYPES):
        for table in definitions.tables.element_tables(name).values():
            for code in (code for element in table.elements for code in element.types):
                assert code in PRIMITIVES or code == ANY_RESOURCE or definitions.elements(code).elements, (name, code)


def test_enumerable_required_bindings_have_codes() -> None:
    bound = {
        element.binding
        for name in RESOURCE_TYPES | DATATYPES
        for table in definitions.tables.element_tables(name).values()
        for element in table.elements
        if element.binding
    }
    without_codes = {url for url in bound if not definitions.value_set_codes(url)}
    assert len(bound) == 224
    assert without_codes == {
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    }


def test_elements_keep_the_order_of_the_specification() -> None:
    names = [element.name for element in definitions.elements("HumanName").elements]
    assert names == ["id", "extension", "use", "text", "family", "given", "prefix", "suffix", "period"]


def test_choices_are_spelt_out() -> None:
    table = definitions.elements("Observation")
    assert table.properties["valueQuantity"].type == "Quantity"
    assert table.properties["valueQuantity"].element is table.properties["valueString"].element
    assert "value" not in table.properties
    assert table.properties["value" + "DateTime"].type == "dateTime"


def test_facts_of_single_elements() -> None:
    patient = definitions.elements("Patient").properties
    assert patient["id"].type == "id"
    assert patient["contact"].type == "Patient.contact"
    assert patient["name"].element.repeats
    assert patient["name"].element.summary
    assert not patient["photo"].element.summary
    assert patient["gender"].element.binding == "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert patient["managingOrganization"].element.targets == {"Reference": ("Organization",)}
    assert definitions.elements("Observation").properties["status"].element.min == 1
    assert definitions.elements("Extension").properties["url"].element.attribute
    assert definitions.elements("HumanName").properties["id"].element.attribute
    assert not patient["id"].element.attribute
    assert definitions.elements("Questionnaire.item").properties["item"].type == "Questionnaire.item"
    assert definitions.elements("Bundle.entry").properties["link"].type == "Bundle.link"
    assert definitions.elements("Provenance").properties["target"].element.targets == {}, "any type"


@pytest.mark.parametrize("name", ["Nothing", "", "../types", "Patient.nothing", "string", "patient"])
def test_unknown_types_are_key_errors(name: str) -> None:
    with pytest.raises(KeyError):
        definitions.elements(name)
    with pytest.raises(KeyError):
        definitions.search_parameters(name)


def test_a_table_is_read_on_first_use_only() -> None:
    """A process that needs Observations opens neither Patient's table nor the value sets."""
    script = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from bulkhead import definitions\n"
        "definitions.elements('Observation'); definitions.search_parameters('Observation')\n"
        "print(*sorted(name.rpartition('/data/')[2] for name in opened if '/definitions/data/' in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["elements/Observation.json", "search_parameters/Observation.json", "types.json"]
