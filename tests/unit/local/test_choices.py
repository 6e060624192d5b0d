from __future__ import annotations

from typing import Any

import pytest

from infra.local import choices
from infra.local.paths import PathError

INPUT = {"count": 3, "limit": 3, "text": "plan", "flag": True, "nothing": None}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"Variable": "$.count", "NumericGreaterThan": 2}, True),
        ({"Variable": "$.count", "NumericGreaterThan": 3}, False),
        ({"Variable": "$.count", "NumericGreaterThanEquals": 3}, True),
        ({"Variable": "$.count", "NumericLessThan": 4}, True),
        ({"Variable": "$.count", "NumericEqualsPath": "$.limit"}, True),
        ({"Variable": "$.text", "StringEquals": "plan"}, True),
        ({"Variable": "$.text", "NumericEquals": 3}, False),
        ({"Variable": "$.flag", "NumericEquals": 1}, False),
        ({"Variable": "$.flag", "BooleanEquals": True}, True),
        ({"Variable": "$.missing", "IsPresent": False}, True),
        ({"Variable": "$.nothing", "IsNull": True}, True),
        ({"Variable": "$.text", "IsNumeric": True}, False),
        ({"Not": {"Variable": "$.count", "NumericEquals": 3}}, False),
        ({"And": [{"Variable": "$.count", "IsNumeric": True}, {"Variable": "$.count", "NumericEquals": 4}]}, False),
        ({"Or": [{"Variable": "$.count", "NumericEquals": 9}, {"Variable": "$.flag", "BooleanEquals": True}]}, True),
    ],
)
def test_rules(rule: dict[str, Any], expected: bool) -> None:
    assert choices.holds(rule, INPUT, {}) is expected


def test_the_first_rule_that_holds_decides_else_the_default() -> None:
    rules = [
        {"Variable": "$.count", "NumericEquals": 9, "Next": "Nine"},
        {"Variable": "$.count", "NumericEquals": 3, "Next": "Three"},
        {"Variable": "$.count", "NumericEquals": 3, "Next": "Again"},
    ]
    assert choices.choose({"Choices": rules, "Default": "Other"}, INPUT, {}) == "Three"
    assert choices.choose({"Choices": rules[:1], "Default": "Other"}, INPUT, {}) == "Other"
    with pytest.raises(PathError):
        choices.choose({"Choices": rules[:1]}, INPUT, {})


@pytest.mark.parametrize("test", ["StringMatches", "TimestampEquals", "NumericAbout"])
def test_an_unknown_comparison_fails_instead_of_being_false(test: str) -> None:
    with pytest.raises(PathError):
        choices.holds({"Variable": "$.text", test: "p*"}, INPUT, {})
