"""OperationOutcome."""

from __future__ import annotations

from bulkhead.errors import Gone, InvalidResource, Issue
from bulkhead.fhir import outcome, validation


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
