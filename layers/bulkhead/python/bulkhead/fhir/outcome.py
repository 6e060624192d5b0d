"""OperationOutcome as a plain dict (R4 operationoutcome.html)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bulkhead.errors import BulkheadError, Issue

# What a string of FHIR and XML cannot hold (R4 datatypes.html#string, XML 1.0 2.2): it comes from what a message repeats of a request.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_ALL_OK = Issue(code="informational", diagnostics="All OK", severity="information")


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome of these issues, in their order; of none, one that says that all is well."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues] or [_issue(_ALL_OK)]}


def from_error(error: BulkheadError) -> dict[str, Any]:
    """The OperationOutcome that a client gets for `error`."""
    return outcome(error.issues)


def _issue(issue: Issue) -> dict[str, Any]:
    content: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": _printable(issue.diagnostics),
    }
    if issue.expression and not issue.expression.isspace():
        content["expression"] = [_printable(issue.expression)]
    return content


def _printable(text: str) -> str:
    """The text with U+FFFD for each character that cannot be sent."""
    return _UNPRINTABLE.sub("\ufffd", text)
