"""The order of all resources of a type by one of their dates, as by-value has it: a partition per month, and within it a text per resource.

Oldest first, a resource stands at the first instant of its earliest value: the entries that a search for a range of dates reads have that
text already (`index_facts.index_values`). Newest first, it stands at the last instant of its latest value. For a moment or a day the same
entry serves. Anything else (a period, a month, several values) has one more entry, in a partition of its own: `2026-11+`.

A day stands at its first instant in both directions. Equal texts are in order of id.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

from bulkhead.facts import care_dates, extract
from bulkhead.facts.expressions import types
from bulkhead.fhir.definitions import SearchParameter

ENDS = "+"
"""The end of the name of a partition of last instants: `2026-11+`."""
_MONTH = len("2026-11")
_INSTANT = len("2026-11-22T00:00:00.000Z")
_PERIODS = frozenset({"Period", "Timing"})

Span = tuple[str, str]
"""The first and the last instant of a value, inclusive."""


class Ending(NamedTuple):
    """The entry of a resource in a partition of last instants."""

    partition: str
    text: str
    """Its last instant, `+`, its first instant."""


@cache
def has_periods_only(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether every value of a date parameter is a period: then all resources have entries of last instants, and no other is read."""
    kinds = types(parameter.expression, resource_type)
    return bool(kinds) and kinds <= _PERIODS


def ending(resource_type: str, parameter: SearchParameter, spans: Collection[Span]) -> Ending | None:
    """The entry of a resource, with these values, in a partition of last instants; None if it needs none."""
    texts = care_dates.texts(spans)
    if texts is None or (texts.oldest_first == texts.newest_first and not has_periods_only(resource_type, parameter)):
        return None
    first, last = min(min(span) for span in spans), max(max(span) for span in spans)
    return Ending(last[:_MONTH] + ENDS, f"{last}{ENDS}{first}")


def text(resource: dict[str, Any], parameter: SearchParameter, *, newest_first: bool) -> str | None:
    """What a resource sorts by; None if it has no value for the parameter."""
    spans = [span for item in extract.values(resource, parameter) for span in extract.periods(*item)]
    if not spans:
        return None
    its = ending(resource["resourceType"], parameter, spans) if newest_first else None
    return its.text if its else min(min(span) for span in spans)


def begins_by(found: str, instant: str) -> bool:
    """Whether a resource, by its text, begins at an instant or before."""
    return (found[_INSTANT + 1 :] or found) <= instant
