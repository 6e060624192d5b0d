"""Searches that a value of real data suggests, each with what it is to find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from bulkhead.fhir.definitions import SearchParameter
from tests.support import naive_search

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
IDS = ("_id", "response-id")
"""Codes that are ids, in which case counts."""
_LOCAL = r"[A-Z]\w+/[\w.-]+"


class Asked(NamedTuple):
    """A search by one parameter, and whether the values that a resource holds for it meet the search."""

    name: str
    text: str
    test: Callable[[list[Any]], bool]


def questions(parameter: SearchParameter, value: Any) -> Iterator[Asked]:
    """Of every kind of parameter but composites; none about the whole resources in a Bundle."""
    code = parameter.code
    if isinstance(value, dict) and "resourceType" in value:
        return
    yield Asked(f"{code}:missing", "true", is_missing)
    yield Asked(f"{code}:missing", "false", bool)
    match parameter.type:
        case "token":
            yield from about_tokens(code, value)
        case "string":
            yield from about_strings(code, value)
        case "date":
            yield from about_dates(code, value)
        case "quantity" | "number":
            yield from about_amounts(code, value)
        case "reference":
            yield from about_references(code, value)
        case "uri":
            yield Asked(code, escaped(value), partial(is_held, value))
            yield Asked(f"{code}:below", escaped(value), partial(is_held, value))


def escaped(text: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", text)


def is_missing(held: list[Any]) -> bool:
    return not held


def is_held(value: str, held: list[Any]) -> bool:
    return value in held


def about_tokens(code: str, value: Any) -> Iterator[Asked]:
    for system, text, exact in naive_search.tokens(value):
        yield Asked(code, escaped(text), partial(any_token, None, text))
        yield Asked(f"{code}:not", escaped(text), partial(no_token, None, text))
        if not exact and code not in IDS:
            yield Asked(code, escaped(text.swapcase()), partial(any_token, None, text))
        if system is not None:
            yield Asked(code, f"{escaped(system)}|{escaped(text)}", partial(any_token, system, text))


def any_token(system: str | None, text: str, held: list[Any]) -> bool:
    found = [token for one in held for token in naive_search.tokens(one)]
    return any(
        (its == text if exact else its.casefold() == text.casefold())
        for own, its, exact in found
        if system is None or own == system
    )


def no_token(system: str | None, text: str, held: list[Any]) -> bool:
    return not any_token(system, text, held)


def about_strings(code: str, value: Any) -> Iterator[Asked]:
    for text in naive_search.strings(value):
        start, middle = text[:4], text[1:5] or text
        if is_plain(start) and is_plain(middle):
            # How a name sounds is no matter of its letters.
            if code != "phonetic":
                yield Asked(code, escaped(start), partial(any_start, start))
                yield Asked(code, escaped(start.replace("-", " ")), partial(any_start, start.replace("-", " ")))
            yield Asked(f"{code}:contains", escaped(middle), partial(any_part, middle))
            yield Asked(f"{code}:text", escaped(start), partial(any_words, start))
        yield Asked(f"{code}:exact", escaped(text), partial(any_exact, text))


def is_plain(text: str) -> bool:
    return any(one.isalnum() for one in text)


def any_start(start: str, held: list[Any]) -> bool:
    return any(
        reading.startswith(asked)
        for one in held
        for text in naive_search.strings(one)
        for reading in naive_search.readings(text)
        for asked in naive_search.readings(start)
    )


def any_part(part: str, held: list[Any]) -> bool:
    return any(
        asked in reading
        for one in held
        for text in naive_search.strings(one)
        for reading in naive_search.readings(text)
        for asked in naive_search.readings(part)
    )


def any_words(asked: str, held: list[Any]) -> bool:
    """Whether every word begins a word of one element."""
    elements = [
        [
            word
            for text in naive_search.strings(one)
            for reading in naive_search.readings(text)
            for word in reading.split()
        ]
        for one in held
    ]
    return any(
        all(any(word.startswith(wanted) for word in words) for wanted in reading.split())
        for words in elements
        for reading in naive_search.readings(asked)
    )


def any_exact(wanted: str, held: list[Any]) -> bool:
    return any(text == wanted for one in held for text in naive_search.strings(one))


def about_dates(code: str, value: Any) -> Iterator[Asked]:
    for first, _ in naive_search.spans(value):
        if first == naive_search.START:
            continue
        for text in (f"{first:%Y}", f"{first:%Y-%m}", f"{first:%Y-%m-%d}", f"{first:%Y-%m-%dT%H:%M:%SZ}"):
            for prefix in PREFIXES:
                yield Asked(code, f"{prefix}{text}", partial(any_time, prefix, naive_search.span(text)))


def any_time(prefix: str, asked: naive_search.Span, held: list[Any]) -> bool:
    return any(naive_search.in_time(prefix, asked, span) for one in held for span in naive_search.spans(one))


def about_amounts(code: str, value: Any) -> Iterator[Asked]:
    number = value.get("value") if isinstance(value, dict) else value
    if number is None:
        return
    text = f"{Decimal(str(number)):f}"
    unit = value.get("code") if isinstance(value, dict) else None
    for prefix in PREFIXES:
        yield Asked(code, f"{prefix}{text}", partial(any_amount, prefix, text, None))
        if unit:
            yield Asked(code, f"{prefix}{text}||{escaped(unit)}", partial(any_amount, prefix, text, unit))


def any_amount(prefix: str, text: str, unit: str | None, held: list[Any]) -> bool:
    quantities = [one if isinstance(one, dict) else {"value": one} for one in held]
    return any(
        naive_search.in_amount(prefix, text, Decimal(str(one["value"])))
        for one in quantities
        if "value" in one and (unit is None or unit in (one.get("code"), one.get("unit")))
    )


def about_references(code: str, value: Any) -> Iterator[Asked]:
    (text,) = referred([value])
    # Contained references are not searched by.
    if ":" in text:
        yield Asked(code, escaped(text), partial(any_reference, text))
        yield Asked(code, escaped(text.partition("|")[0]), partial(any_version, text.partition("|")[0]))
    elif re.fullmatch(_LOCAL, text):
        resource_type, _, identifier = text.partition("/")
        yield Asked(code, text, partial(any_reference, text))
        yield Asked(code, identifier, partial(any_id, identifier))
        yield Asked(f"{code}:{resource_type}", identifier, partial(any_reference, text))
    if isinstance(value, dict) and "identifier" in value:
        system, number = value["identifier"].get("system", ""), value["identifier"].get("value", "")
        test = partial(any_logical, system, number)
        yield Asked(f"{code}:identifier", f"{escaped(system)}|{escaped(number)}", test)


def referred(held: list[Any]) -> list[str]:
    """What references say, their versions left out."""
    texts = [one.get("reference", "") if isinstance(one, dict) else one for one in held]
    return [text.partition("/_history/")[0] if re.match(_LOCAL, text) else text for text in texts]


def any_reference(text: str, held: list[Any]) -> bool:
    return text in referred(held)


def any_version(url: str, held: list[Any]) -> bool:
    return any(text.partition("|")[0] == url for text in referred(held))


def any_id(identifier: str, held: list[Any]) -> bool:
    return any(one.endswith(f"/{identifier}") for one in referred(held))


def any_logical(system: str, number: str, held: list[Any]) -> bool:
    identifiers = [one["identifier"] for one in held if "identifier" in one]
    return any(one.get("value") == number and one.get("system", "") == system for one in identifiers)
