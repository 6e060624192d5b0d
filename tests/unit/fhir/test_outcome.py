"""OperationOutcome."""

from __future__ import annotations

import pytest

from bulkhead.errors import Gone, InvalidResource, Issue
from bulkhead.fhir import json, outcome, validation, xml


def test_issues_keep_their_order_and_parts() -> None:
    issues = [Issue("value", "Patient.id: is wrong", "Patient.id"), Issue("not-found", "none", severity="warning")]
    assert outcome.outcome(issues) == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "value",
                "diagnostics": "Patient.id: is wrong",
                "expression": ["Patient.id"],
            },
            {"severity": "warning", "code": "not-found", "diagnostics": "none"},
        ],
    }


def test_from_error_carries_code_and_all_issues() -> None:
    assert outcome.from_error(Gone("Patient/1 is deleted"))["issue"][0]["code"] == "deleted"
    issues = [Issue("value", "one"), Issue("value", "two")]
    assert len(outcome.from_error(InvalidResource("invalid", issues=issues))["issue"]) == 2


def test_an_outcome_is_itself_a_valid_resource() -> None:
    validation.check(outcome.outcome([]))
    validation.check(outcome.outcome([Issue("structure", "x", "Patient.name[0]")]))


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1b", "\ud800", "\uffff"])
def test_what_it_repeats_of_a_request_can_be_sent(character: str) -> None:
    found = outcome.outcome([Issue("not-found", f"{character} is not known", f"a{character}")])
    validation.check(found)
    assert xml.loads(xml.dumps(found)) == json.loads(json.dumps(found)) == found
    assert found["issue"][0]["expression"] == ["a\ufffd"]


def test_a_blank_expression_is_left_out() -> None:
    assert "expression" not in outcome.outcome([Issue("invalid", "x", " ")])["issue"][0]
