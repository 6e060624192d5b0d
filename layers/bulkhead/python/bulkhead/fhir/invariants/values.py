"""Values in constraints: how they compare, and which values lie below them.

A collection is a list of JSON values, as in FHIRPath. A truth value is a collection of one boolean, or the empty collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from bulkhead.errors import BadRequest
from bulkhead.fhir import dates, definitions

Values = list[Any]

TRUE: Final[Values] = [True]
FALSE: Final[Values] = [False]
NOTHING: Final[Values] = []
"""Shared: no caller may change them."""


_DATE = len("2020-02-29")


class _NoValue:
    """A primitive that has extensions only: it exists, but equals no value."""


NO_VALUE: Final = _NoValue()


def truth(*, holds: bool) -> Values:
    return TRUE if holds else FALSE


def equal(left: Values, right: Values) -> Values:
    """FHIRPath's `=`: empty where either side is empty or has no value."""
    if not left or not right or NO_VALUE in left or NO_VALUE in right:
        return NOTHING
    return truth(holds=len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True)))


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values; `true` is not 1."""
    return (type(left) is bool) == (type(right) is bool) and bool(left == right)


def distinct(values: Values) -> bool:
    """Whether no two values are equal. Hashable values are not compared pair by pair."""
    if all(isinstance(value, str) for value in values):
        return len(set(values)) == len(values)
    return not any(same(value, other) for n, value in enumerate(values) for other in values[:n])


def compare(operator: str, left: Values, right: Values) -> Values:
    """`<`, `<=`, `>`, `>=`: empty where either side is empty; true where the two cannot be compared.

    Dates of different precision (2020 and 2020-05-01) compare as R5 defines it for per-1: by the bounds that could make the result
    true. R4's own rule gives no answer, which would refuse every period with such dates. Quantities of different units, and
    primitives without a value, cannot be compared either.
    """
    if len(left) != 1 or len(right) != 1:
        return NOTHING
    if operator.startswith(">"):
        left, right = right, left
    one, other = left[0], right[0]
    if type(one) is str and type(other) is str and _alike(one, other):
        return truth(holds=one <= other if operator.endswith("=") else one < other)
    low, high = _lowest(left[0]), _highest(right[0])
    if low is None or high is None or not _comparable(left[0], right[0]):
        return TRUE
    return truth(holds=low <= high if operator.endswith("=") else low < high)


def _alike(one: str, other: str) -> bool:
    """Whether two dates have the same form and time zone, so that their texts compare."""
    if len(one) != len(other):
        return False
    return len(one) <= _DATE or one[-1] == other[-1] == "Z" or one[-6:] == other[-6:]


def _comparable(left: Any, right: Any) -> bool:
    if type(left) is dict and type(right) is dict:
        return all(left.get(name) == right.get(name) for name in ("system", "code", "unit", "comparator"))
    return isinstance(left, str) == isinstance(right, str) and type(left) is not dict and type(right) is not dict


def _lowest(value: Any) -> Any:
    return _bound(value, 0)


def _highest(value: Any) -> Any:
    return _bound(value, 1)


def _bound(value: Any, end: int) -> Any:
    """A number, or the first (0) or last (1) instant of a date; None for anything else."""
    if type(value) is dict:
        value = value.get("value")
    if isinstance(value, str):
        try:
            return dates.bounds(value)[end]
        except BadRequest:
            return None
    return value if isinstance(value, int | Decimal) else None


def resolved(values: Values, contained: Callable[[], Mapping[str, Any]]) -> Values:
    """The resources that references lead to, as far as they tell, as `{"resourceType": ...}`; `contained` gives types by id.

    Nothing for a reference that does not tell the type: an absolute URL of another form, or a `urn:uuid:`.
    """
    found = []
    for value in values:
        name = _target_type(value, contained) if type(value) is dict else None
        if name is not None:
            found.append({"resourceType": name})
    return found


def _target_type(reference: dict[str, Any], contained: Callable[[], Mapping[str, Any]]) -> str | None:
    text, declared = reference.get("reference", ""), reference.get("type")
    if type(declared) is str:
        return declared.rpartition("/")[2]
    if text.startswith("#"):
        return contained().get(text[1:])
    parts = text.partition("?")[0].partition("/_history/")[0].split("/")
    name = parts[0] if "?" in text and len(parts) == 1 else parts[-2] if len(parts) > 1 else ""
    return name if name in definitions.RESOURCE_TYPES else None


def descendants(value: Any) -> Iterator[Any]:
    """Everything below a JSON value, with lists flattened."""
    waiting = [value]
    while waiting:
        for child in children(waiting.pop()):
            yield child
            waiting.append(child)


def children(value: Any) -> Values:
    if type(value) is not dict:
        return []
    return [
        item for child in value.values() for item in (child if type(child) is list else (child,)) if item is not None
    ]
