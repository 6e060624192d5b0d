"""`$validate`: what it takes, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import BadRequest
from bulkhead.operations.validation_report import Asked, issues, parse
from bulkhead.search.query import no_custom

BASE = "http://server.example/fhir/R4"
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female"}
READER = Caller("reader", (Scope("system", "*", "rs"),))


def wrapped(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parameters)}


def test_a_resource_by_itself_or_in_parameters() -> None:
    assert parse(PATIENT, [("mode", "update")], "Patient") == Asked(PATIENT, "update")
    body = wrapped({"name": "resource", "resource": PATIENT}, {"name": "mode", "valueCode": "create"})
    assert parse(body, [], "Patient") == Asked(PATIENT, "create")


def test_parameters_can_be_validated_themselves() -> None:
    body = wrapped({"name": "anything", "valueString": "x"})
    assert parse(body, [], "Parameters") == Asked(body)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (None, []),
        (wrapped(), []),
        (PATIENT, [("mode", "destroy")]),
        (wrapped({"name": "resource", "resource": PATIENT}, {"name": "mode", "valueString": "create"}), []),
        (wrapped({"name": "resource", "resource": PATIENT}, {"name": "resource", "resource": PATIENT}), []),
        (wrapped({"name": "other", "valueCode": "create"}), []),
        ({"resourceType": "Parameters", "parameter": "no list"}, []),
        ({"resourceType": "Parameters", "parameter": ["no object"]}, []),
        (wrapped({"name": {"no": "name"}}), []),
    ],
)
def test_what_cannot_be_understood_is_refused(body: dict[str, Any] | None, query: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body, query, "Patient")
    assert refused.value.issues[0].expression


def test_all_is_well() -> None:
    assert issues(EVERYBODY, "Patient", None, asked=Asked(PATIENT), base=BASE, look=no_custom) == []


def test_every_fault_is_named() -> None:
    wrong = {**PATIENT, "birthDate": "2020-13-01", "active": "yes", "nonsense": 1}
    found = issues(EVERYBODY, "Patient", None, asked=Asked(wrong), base=BASE, look=no_custom)
    assert {issue.expression for issue in found} == {"Patient.birthDate", "Patient.active", "Patient.nonsense"}


def test_another_type_is_a_fault() -> None:
    assert (
        issues(EVERYBODY, "Observation", None, asked=Asked(PATIENT), base=BASE, look=no_custom)[0].expression
        == "Patient.resourceType"
    )


@pytest.mark.parametrize("resource", [None, 3, [], "text", {}])
def test_no_resource_at_all_is_a_fault(resource: Any) -> None:
    assert issues(EVERYBODY, "Patient", None, asked=Asked(resource, "update"), base=BASE, look=no_custom)


@pytest.mark.parametrize(
    ("identifier", "resource", "code"),
    [
        ("p", PATIENT, []),
        (None, PATIENT, []),
        ("q", PATIENT, ["value"]),
        ("p", {"resourceType": "Patient"}, ["required"]),
    ],
)
def test_an_update_has_the_id_of_its_url(identifier: str | None, resource: Any, code: list[str]) -> None:
    assert [
        issue.code
        for issue in issues(
            EVERYBODY, "Patient", identifier, asked=Asked(resource, "update"), base=BASE, look=no_custom
        )
    ] == code


@pytest.mark.parametrize("mode", ["create", "update", "delete"])
def test_the_right_is_part_of_the_answer(mode: str) -> None:
    assert [
        issue.code for issue in issues(READER, "Patient", "p", asked=Asked(PATIENT, mode), base=BASE, look=no_custom)
    ] == ["forbidden"]
    assert issues(EVERYBODY, "Patient", "p", asked=Asked(PATIENT, mode), base=BASE, look=no_custom) == []


def test_a_deletion_is_of_an_instance() -> None:
    assert [
        issue.code
        for issue in issues(EVERYBODY, "Patient", None, asked=Asked(None, "delete"), base=BASE, look=no_custom)
    ] == ["required"]


def test_profiles_are_not_claimed_to_be_checked() -> None:
    own = "http://hl7.org/fhir/StructureDefinition/Patient"
    assert (
        issues(EVERYBODY, "Patient", None, asked=Asked(PATIENT, profile=f"{own}|4.0.1"), base=BASE, look=no_custom)
        == []
    )
    [unknown] = issues(
        EVERYBODY, "Patient", None, asked=Asked(PATIENT, profile="http://example.org/p"), base=BASE, look=no_custom
    )
    assert (unknown.code, unknown.severity) == ("not-supported", "error")
    [claimed] = issues(
        EVERYBODY,
        "Patient",
        None,
        asked=Asked({**PATIENT, "meta": {"profile": ["http://example.org/p"]}}),
        base=BASE,
        look=no_custom,
    )
    assert claimed.severity == "information"


def parameter(expression: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "url": "http://x.example/sp", "name": "sp", "description": "d", "status": "active",
        "code": "sp", "base": ["Patient"], "type": "string", "expression": expression, **more,
    }  # fmt: skip


SUBSCRIPTION = {
    "resourceType": "Subscription", "reason": "r", "criteria": "Observation?", "channel": {"type": "rest-hook"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (parameter("Patient.name.family"), []),
        (parameter("Patient.name.family", status="draft"), []),
        (parameter("Patient.name["), [("warning", "not-supported", "SearchParameter.expression")]),
        (parameter("Patient.name.family.lower()"), [("warning", "not-supported", "SearchParameter.expression")]),
        (
            parameter("Patient.name.family", type="special"),
            [("warning", "not-supported", "SearchParameter.type")],
        ),
        (parameter("(" * 21 + "Patient.name" + ")" * 21), [("error", "processing", "SearchParameter.expression")]),
        (SUBSCRIPTION | {"status": "off"}, []),
        (SUBSCRIPTION | {"status": "requested"}, [("error", "processing", "Subscription.status")]),
    ],
)
def test_what_no_write_would_accept_or_no_search_would_use_is_told(
    resource: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    found = issues(EVERYBODY, resource["resourceType"], None, asked=Asked(resource), base=BASE, look=no_custom)
    assert [(one.severity, one.code, one.expression) for one in found] == expected
