"""The CapabilityStatement and the OperationDefinitions: valid R4, and true of the tables that serve."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from bulkhead.api.routes import BASE, OPERATION_DEFINITIONS
from bulkhead.compartments import membership
from bulkhead.errors import BulkheadError
from bulkhead.fhir import definitions, json, validation
from bulkhead.operations import capabilities, metadata, operation_definitions
from bulkhead.search import parse
from bulkhead.version import RELEASED, VERSION

HERE = "https://server.example/fhir/R4"
SHARED = frozenset({"Practitioner", "ValueSet"})


def made(served: operation_definitions.Served = metadata.SERVED, authorization: Any = None) -> dict[str, Any]:
    server = capabilities.Server(HERE, served, ("json",), (), "not-match", "single", authorization, SHARED)
    return capabilities.statement(server, [its.url for its in membership.built_in().values()])


def rest(statement: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = statement["rest"][0]
    return found


def of_type(statement: dict[str, Any], resource_type: str) -> dict[str, Any]:
    return next(each for each in rest(statement)["resource"] if each["type"] == resource_type)


@pytest.fixture(scope="module")
def statement() -> dict[str, Any]:
    return made(authorization={"authorize": "https://issuer.example/a", "token": "https://issuer.example/t"})


def test_it_is_valid(statement: dict[str, Any]) -> None:
    assert validation.faults(statement) == []
    assert validation.faults(capabilities.terminology(HERE)) == []


def test_fhir_resources_reads_it(statement: dict[str, Any]) -> None:
    from fhir.resources.R4B.capabilitystatement import CapabilityStatement

    read = CapabilityStatement.model_validate_json(json.dumps(statement))
    assert read.rest
    assert (read.fhirVersion, len(read.rest[0].resource or ())) == ("4.0.1", 146)


def test_it_names_the_shared_types(statement: dict[str, Any]) -> None:
    assert "Practitioner, ValueSet" in rest(statement)["documentation"]
    assert {each["type"] for each in rest(statement)["resource"] if "shared" in each.get("documentation", "")} == SHARED


def test_every_type_once(statement: dict[str, Any]) -> None:
    assert [each["type"] for each in rest(statement)["resource"]] == sorted(definitions.RESOURCE_TYPES)


def test_it_fits_an_answer_of_lambda(statement: dict[str, Any]) -> None:
    assert len(json.dumps(statement)) < 2_000_000


def test_names_of_search_parameters_are_unique(statement: dict[str, Any]) -> None:
    for each in rest(statement)["resource"]:
        names = [parameter["name"] for parameter in each["searchParam"]]
        assert len(names) == len(set(names))


VALUES = {
    "special": "1|2|3|km",
    "date": "2020",
    "number": "1",
    "quantity": "1",
    "reference": "Patient/1",
    "uri": "urn:x",
    "token": "a",
    "string": "aa",
}


@pytest.mark.parametrize("resource_type", ["Patient", "Observation", "Location", "MolecularSequence", "Group"])
def test_what_is_listed_is_parsed_and_what_is_not_is_not(statement: dict[str, Any], resource_type: str) -> None:
    listed = {parameter["name"] for parameter in of_type(statement, resource_type)["searchParam"]}
    for parameter in definitions.search_parameters(resource_type).values():
        values = [VALUES.get(part, "a") for part in _parts(resource_type, parameter)]
        try:
            query = parse.parse([(parameter.code, "$".join(values))], resource_type, strict=True)
            assert parameter.code in listed, query
        except BulkheadError:
            assert parameter.code not in listed


def _parts(resource_type: str, parameter: definitions.SearchParameter) -> list[str]:
    if parameter.type != "composite":
        return [parameter.type]
    urls = [url for url, _ in parameter.components]
    own = definitions.search_parameters(resource_type).values()
    return [next(one.type for one in own if one.url == url) for url in urls]


def test_accounts_and_compartments_can_be_searched_everywhere(statement: dict[str, Any]) -> None:
    for each in [*rest(statement)["resource"], rest(statement)]:
        assert {"_account", "_compartment"} <= {parameter["name"] for parameter in each["searchParam"]}


@pytest.mark.parametrize(("kind", "name"), [("searchInclude", "_include"), ("searchRevInclude", "_revinclude")])
def test_includes_are_taken(statement: dict[str, Any], kind: str, name: str) -> None:
    for value in of_type(statement, "Patient")[kind]:
        parse.parse([(name, value)], "Patient", strict=True)


def test_reverse_includes_point_at_the_type(statement: dict[str, Any]) -> None:
    listed = of_type(statement, "Encounter")["searchRevInclude"]
    assert "Observation:encounter" in listed
    assert "Observation:device" not in listed


def test_interactions_are_those_of_the_routes() -> None:
    served = {("GET", "{type}/{id}"), ("PUT", "{type}"), ("POST", "")}
    found = of_type(made(served), "Patient")
    assert found["interaction"] == [{"code": "read"}]
    assert (found["conditionalUpdate"], found["conditionalDelete"], found["updateCreate"]) == (
        True,
        "not-supported",
        False,
    )
    assert rest(made(served))["interaction"] == [{"code": "transaction"}, {"code": "batch"}]
    assert "operation" not in found


def test_compartments_in_force(statement: dict[str, Any]) -> None:
    codes = [url.rpartition("/")[2] for url in rest(statement)["compartment"]]
    assert codes == ["device", "encounter", "patient", "practitioner", "relatedPerson"]


def test_security_says_whether_a_token_is_needed(statement: dict[str, Any]) -> None:
    [uris] = rest(statement)["security"]["extension"]
    assert {each["url"]: each["valueUri"] for each in uris["extension"]} == {
        "authorize": "https://issuer.example/a",
        "token": "https://issuer.example/t",
    }
    assert "extension" not in rest(made())["security"]
    assert "service" not in rest(made())["security"]


def test_everything_is_an_operation_of_patients_and_encounters_only(statement: dict[str, Any]) -> None:
    having = [
        each["type"]
        for each in rest(statement)["resource"]
        if any(operation["name"] == "everything" for operation in each["operation"])
    ]
    assert having == ["Encounter", "Patient"]


def test_every_operation_listed_can_be_read(statement: dict[str, Any]) -> None:
    found = rest(statement)
    listed = {operation["definition"] for each in (found, *found["resource"]) for operation in each["operation"]}
    assert listed == {f"{HERE}/OperationDefinition/{name}" for name in OPERATION_DEFINITIONS}
    assert set(OPERATION_DEFINITIONS) == set(operation_definitions.BY_ID)


@pytest.mark.parametrize("name", OPERATION_DEFINITIONS)
def test_operation_definitions_are_valid(name: str) -> None:
    found = operation_definitions.definition(operation_definitions.BY_ID[name], HERE, metadata.SERVED)
    assert validation.faults(found) == []
    assert found["system"] is not (found["instance"] or found["type"])
    assert found["type"] is (
        name in ("bulkhead-validate", "bulkhead-lastn", "bulkhead-list-find", "bulkhead-patient-merge")
    )


def test_served_is_relative_to_the_base() -> None:
    assert {("POST", ""), ("GET", "metadata"), ("GET", "{type}/{id}")} <= metadata.SERVED
    assert not any(path.startswith(BASE) for _, path in metadata.SERVED)


def test_the_version_is_the_one_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert RELEASED.count("-") == 2
