"""Compares spans by prefix (R4 search.html, 3.1.1.4.4): of time, and of numbers with their precision."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from bulkhead.search.query import DateValue, NumberValue

LEAST, MOST = Decimal("-Infinity"), Decimal("Infinity")


class Span(NamedTuple):
    """Numbers from `low` to `high`; `above` and `below` say that the end itself is excluded, as in `<100`."""

    low: Decimal
    high: Decimal
    above: bool = False
    below: bool = False

    def times(self, scale: Decimal) -> Span:
        return Span(self.low * scale, self.high * scale, self.above, self.below)


_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money"})
CURRENCIES = "urn:iso:std:iso:4217"


def dates(value: DateValue, first: str, last: str) -> bool:
    """Whether the span from `first` to `last` (instants, inclusive) of a resource meets a searched date."""
    match value.prefix:
        case "eq":
            return value.first <= first and last <= value.last
        case "ne":
            return not (value.first <= first and last <= value.last)
        case "gt":
            return last > value.last
        case "lt":
            return first < value.first
        case "ge":
            return last > value.last or (value.first <= first and last <= value.last)
        case "le":
            return first < value.first or (value.first <= first and last <= value.last)
        case "sa":
            return first > value.last
        case "eb":
            return last < value.first
    return first <= value.last and value.first <= last


def numbers(value: NumberValue, span: Span) -> bool:
    """Whether the numbers that a resource may mean meet a searched one. Its precision counts only for eq, ne and ap."""
    low, high, above, below = span
    match value.prefix:
        case "eq":
            return within(value, low, high)
        case "ne":
            return not within(value, low, high)
        case "gt":
            return high > value.number
        case "lt":
            return low < value.number
        case "ge":
            return high > value.number or (high == value.number and not below)
        case "le":
            return low < value.number or (low == value.number and not above)
        case "sa":
            return low > value.number or (low == value.number and above)
        case "eb":
            return high < value.number or (high == value.number and below)
    margin = max(abs(value.number) / 10, value.margin)
    return low <= value.number + margin and high >= value.number - margin


def within(value: NumberValue, low: Decimal, high: Decimal) -> bool:
    return value.number - value.margin <= low and high < value.number + value.margin


def amounts(kind: str, content: Any) -> Iterator[Span]:
    """The numbers of one value: of a number, a quantity with its comparator, or a range."""
    if kind == "Range":
        low, high = content.get("low", {}).get("value"), content.get("high", {}).get("value")
        if low is not None or high is not None:
            yield Span(LEAST if low is None else decimal(low), MOST if high is None else decimal(high))
    elif kind in _QUANTITIES:
        if "value" in content:
            yield compared(decimal(content["value"]), content.get("comparator"))
    elif isinstance(content, int | float | Decimal) and not isinstance(content, bool):
        yield Span(decimal(content), decimal(content))


def compared(number: Decimal, comparator: str | None) -> Span:
    match comparator:
        case "<" | "<=":
            return Span(LEAST, number, below=comparator == "<")
        case ">" | ">=":
            return Span(number, MOST, above=comparator == ">")
    return Span(number, number)


def units(kind: str, content: Any) -> Iterator[tuple[str | None, str | None, str | None]]:
    """(system, code, printed unit) of a quantity; for a Money its currency; for a Range those of both ends."""
    if kind == "Range":
        for end in ("low", "high"):
            if end in content:
                yield from units("Quantity", content[end])
    elif kind == "Money":
        yield CURRENCIES, content.get("currency"), None
    elif kind in _QUANTITIES:
        yield content.get("system"), content.get("code"), content.get("unit")


def decimal(number: Any) -> Decimal:
    return number if isinstance(number, Decimal) else Decimal(str(number))
