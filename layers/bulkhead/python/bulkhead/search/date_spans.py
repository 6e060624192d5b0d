"""Which dates the conditions of a search leave: an index lists what lies between them (R4 search.html, 3.1.1.4.4)."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.facts import expressions
from bulkhead.search.query import Clause, DateValue


def span(clauses: Iterable[Clause]) -> tuple[str | None, str | None]:
    """(earliest last, latest first instant) of a date that meets all clauses; None for an open end."""
    lows: list[str] = []
    highs: list[str] = []
    for clause in clauses:
        bounds = [bound(value) for value in clause.values if isinstance(value, DateValue)]
        low, high = [low for low, _ in bounds], [high for _, high in bounds]
        if bounds and all(one is not None for one in low):
            lows.append(min(one for one in low if one is not None))
        if bounds and all(one is not None for one in high):
            highs.append(max(one for one in high if one is not None))
    return max(lows, default=None), min(highs, default=None)


def span_of_one(clauses: Iterable[Clause], resource_type: str) -> tuple[str | None, str | None]:
    """The instants between which one value of each match must lie: the `span` of all clauses of a parameter, if a resource has one value.

    Of several values one may meet one clause and another the next (R4 3.1.1.4.1), so there it is the span of a single clause: one
    with two ends, if there is one, or with the first.
    """
    found = list(clauses)
    if not any(expressions.can_repeat(clause.parameter.expression, resource_type) for clause in found):
        return span(found)
    spans = [span([clause]) for clause in found]
    return min(spans, key=lambda ends: (None in ends, ends[0] is None, ends[1] is None), default=(None, None))


def bound(value: DateValue) -> tuple[str | None, str | None]:
    """`span` of one value."""
    match value.prefix:
        case "eq" | "ap":
            return value.first, value.last
        case "gt" | "sa":
            return value.last, None
        case "ge":
            return value.first, None
        case "lt" | "eb":
            return None, value.first
        case "le":
            return None, value.last
    return None, None
