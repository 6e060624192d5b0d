"""The rules of a Choice state of the Amazon States Language."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from infra.local import paths

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "String": lambda value: isinstance(value, str),
    "Boolean": lambda value: isinstance(value, bool),
    "Numeric": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "Null": lambda value: value is None,
}


def choose(state: Mapping[str, Any], value: Any, context: Mapping[str, Any]) -> str:
    """The next state by the first rule that holds, otherwise the default; PathError if there is none."""
    for rule in state["Choices"]:
        if holds(rule, value, context):
            return str(rule["Next"])
    if "Default" not in state:
        raise paths.PathError("no rule of the Choice holds, and it has no Default")
    return str(state["Default"])


def holds(rule: Mapping[str, Any], value: Any, context: Mapping[str, Any]) -> bool:
    """Whether `rule` holds for the state's input. PathError for an unsupported comparison."""
    if "And" in rule:
        return all(holds(each, value, context) for each in rule["And"])
    if "Or" in rule:
        return any(holds(each, value, context) for each in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], value, context)
    (test,) = set(rule) - {"Variable", "Next", "Comment"}
    expected = rule[test]
    if test == "IsPresent":
        return paths.exists(rule["Variable"], value, context) is expected
    actual = paths.read(rule["Variable"], value, context)
    if test.startswith("Is") and test[2:] in TYPES:
        return TYPES[test[2:]](actual) is expected
    return _compare(test, actual, expected, value=value, context=context)


def _compare(test: str, actual: Any, expected: Any, *, value: Any, context: Mapping[str, Any]) -> bool:
    if test.endswith("Path"):
        test, expected = test.removesuffix("Path"), paths.read(expected, value, context)
    for kind, is_of_kind in TYPES.items():
        comparison = COMPARISONS.get(test.removeprefix(kind)) if test.startswith(kind) else None
        if comparison is not None:
            return is_of_kind(actual) and is_of_kind(expected) and comparison(actual, expected)
    raise paths.PathError(f"the comparison {test} is not supported")
