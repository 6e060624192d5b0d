"""`_sort` (R4 search.html, 3.1.1.6.1) by any parameters: puts matches in order, and finds the place where the next page begins.

If a resource has several values, the first in the requested order counts. A resource without a value comes last in either
direction. Equal resources are in order of type and id. Dates sort as the index has them: see `facts.care_dates`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

from bulkhead.compartments.membership import Definitions
from bulkhead.facts import care_dates, extract
from bulkhead.facts.normalise import fold
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.search import matching, ranges
from bulkhead.search.query import Sort
from bulkhead.store.version import Version

SORTABLE = frozenset({"token", "string", "date", "number", "quantity", "uri", "reference"})

Key = tuple[tuple[Any, ...], str]
"""A value (None: missing) for each sort, and the resource's key."""


def ordered(found: Sequence[Key], sorts: Sequence[Sort]) -> list[Key]:
    """The sort keys in the requested order."""
    return sorted(found, key=cmp_to_key(comparison(sorts)))


def after(found: Sequence[Key], last: Key, sorts: Sequence[Sort]) -> list[Key]:
    """The sort keys after `last`, the last match of the page before, as it was at that time."""
    compare = comparison(sorts)
    return [one for one in found if compare(one, last) > 0]


def comparison(sorts: Sequence[Sort]) -> Callable[[Key, Key], int]:
    def compare(one: Key, other: Key) -> int:
        for sort, left, right in zip(sorts, one[0], other[0], strict=True):
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return (1 if left > right else -1) * (-1 if sort.descending else 1)
        return (one[1] > other[1]) - (one[1] < other[1])

    return compare


def key(candidate: Version, sorts: Sequence[Sort], known: Definitions) -> Key:
    """The sort key of a resource. `known` are the compartment definitions in force."""
    return tuple(value(candidate, sort, known) for sort in sorts), candidate.key


def value(candidate: Version, sort: Sort, known: Definitions) -> str | Decimal | None:
    """The value that a resource sorts by; None if it has none for the parameter."""
    assert sort.parameter is not None
    if sort.parameter.type == "date":
        spans = (
            period for item in matching.values(candidate, sort.parameter, known) for period in extract.periods(*item)
        )
        texts = care_dates.texts(spans)
        return texts[sort.descending] if texts else None
    found: list[str | Decimal] = [
        one
        for kind, content in matching.values(candidate, sort.parameter, known)
        for one in values(kind, content, sort.parameter, descending=sort.descending)
    ]
    if not found:
        return None
    return (max if sort.descending else min)(found)


def values(kind: str, content: Any, parameter: SearchParameter, *, descending: bool) -> list[Any]:
    match parameter.type:
        case "token":
            texts = [code.casefold() for _, code in extract.tokens(kind, content)]
            return texts or [fold(text) for text in matching.texts(kind, content)]
        case "string":
            return [folded for text in extract.strings(kind, content) if (folded := fold(text))]
        case "number" | "quantity":
            return [span.high if descending else span.low for span in ranges.amounts(kind, content)]
        case "reference":
            text = content.get("reference") if kind == "Reference" else content
            return [text] if isinstance(text, str) else []
    return [content] if isinstance(content, str) else []
