"""Which dates the conditions of a search leave: an index lists what lies between them (R4 search.html, 3.1.1.4.4)."""

from __future__ import annotations

from collections.abc import Iterable

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
