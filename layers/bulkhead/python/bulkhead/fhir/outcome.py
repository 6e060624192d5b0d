"""OperationOutcome as a plain dict (R4 operationoutcome.html)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bulkhead.errors import BulkheadError, Issue

_ALL_OK = Issue(code="informational", diagnostics="All OK", severity="information")


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome of these issues, in their order; of none, one that says that all is well."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues] or [_issue(_ALL_OK)]}


def from_error(error: BulkheadError) -> dict[str, Any]:
    """The OperationOutcome that a client gets for `error`."""
    return outcome(error.issues)


def _issue(issue: Issue) -> dict[str, Any]:
    content: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.diagnostics}
    if issue.expression:
        content["expression"] = [issue.expression]
    return content
