"""Extracts the values that a resource holds for a search parameter, with their FHIR types, and the parts that searches compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bulkhead.facts.expressions import Typed, compiled
from bulkhead.fhir import dates, definitions
from bulkhead.fhir.definitions import SearchParameter

BOOLEANS = "http://terminology.hl7.org/CodeSystem/special-values"
"""The system that R4 gives to true and false when they are tokens."""
_DATES = frozenset({"date", "dateTime", "instant", "Period", "Timing"})
_STRING_PARTS = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
}


def values(resource: dict[str, Any], parameter: SearchParameter) -> list[Typed]:
    """Every value of `parameter` in a resource as (FHIR type, JSON), in document order by branch of the expression.

    NotSupported where the parameter has no expression, or one that does not compile. An extension gives its value.
    A choice such as Procedure.performed may be a string or an Age: a value of the parameter, but not a date.
    """
    found = compiled(parameter.expression, resource["resourceType"])(resource, resource)
    if any(kind == "Extension" for kind, _ in found):
        found = unwrapped(found)
    return [one for one in found if one[0] in _DATES] if parameter.type == "date" else found


def unwrapped(found: Iterable[Typed]) -> list[Typed]:
    """The values, with each extension replaced by its value: `{"url": ..., "valueCode": "x"}` is ("code", "x")."""
    properties = definitions.elements("Extension").properties
    result: list[Typed] = []
    for kind, value in found:
        if kind == "Extension":
            result += [(properties[name].type, value[name]) for name in value if name.startswith("value")]
        else:
            result.append((kind, value))
    return result


def tokens(kind: str, value: Any) -> Iterator[tuple[str, str]]:
    """(system, code) pairs of one value of a token parameter. A plain code has the systems of its binding, or ""."""
    if kind == "CodeableConcept":
        for coding in value.get("coding", ()):
            yield from tokens("Coding", coding)
    elif kind == "Coding":
        if "code" in value:
            yield value.get("system", ""), value["code"]
    elif kind in ("Identifier", "ContactPoint"):
        if "value" in value:
            yield value.get("system", ""), value["value"]
    elif kind == "boolean":
        for system in ("", BOOLEANS):
            yield system, "true" if value else "false"
    elif kind.startswith("code|"):
        yield from coded(kind.partition("|")[2], value)
    elif isinstance(value, str):
        yield "", value


def coded(value_set: str, code: str) -> Iterator[tuple[str, str]]:
    """The pairs of a code bound to `value_set`: one for each of its systems that has the code; with the system "" if none has."""
    known = [system for system, codes in definitions.value_set_systems(value_set).items() if code in codes]
    for system in known or [""]:
        yield system, code


def strings(kind: str, value: Any) -> Iterator[str]:
    """The texts of one value of a string parameter: the parts of a name or an address, or the string itself."""
    if isinstance(value, str):
        yield value
    elif kind in _STRING_PARTS:
        for part in _STRING_PARTS[kind]:
            content = value.get(part)
            if isinstance(content, str):
                yield content
            elif content:
                yield from (text for text in content if text is not None)
    elif kind == "CodeableConcept" and "text" in value:
        yield value["text"]


def spoken(kind: str, value: Any) -> Iterator[str]:
    """The texts in one value of a string parameter that name somebody; for a HumanName without prefix and suffix."""
    if kind == "HumanName":
        yield from strings(kind, {part: value[part] for part in ("text", "family", "given") if part in value})
    else:
        yield from strings(kind, value)


def periods(kind: str, value: Any) -> Iterator[tuple[str, str]]:
    """First and last instant of one value of a date parameter; an open end of a Period is the first or last instant of all time.

    A Timing spans from its first event to its last, or its bounds.
    """
    if isinstance(value, str):
        if kind in _DATES:
            yield dates.bounds(value)
    elif kind == "Period":
        if "start" in value or "end" in value:
            start = dates.bounds(value["start"])[0] if "start" in value else dates.FIRST
            end = dates.bounds(value["end"])[1] if "end" in value else dates.LAST
            # A day and an instant in another time zone may stand the wrong way round, which per-1 cannot tell.
            yield min(start, end), max(start, end)
    elif kind == "Timing":
        spans = [dates.bounds(event) for event in value.get("event", ()) if event is not None]
        spans += periods("Period", value.get("repeat", {}).get("boundsPeriod", {}))
        if spans:
            yield min(span[0] for span in spans), max(span[1] for span in spans)
