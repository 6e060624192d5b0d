"""Search as anybody would do it by hand: HL7's expressions walked over plain JSON, values compared by their shape.

Shares with the engine the grammar of the expressions and nothing else: no tables of types, no compiled routes, no
index, no dates or numbers of ours. Slow, and short enough to be believed.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from bulkhead.fhir.fhirpath import Call, Child, Index, Literal, Name, Node, Operation, parse

Found = tuple[str, Any]
"""The name of a property ("valueQuantity") and what it holds."""
Span = tuple[datetime, datetime]

PARTS = ("text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "postalCode", "country")
CONTACTS = {"phone", "fax", "email", "pager", "url", "sms", "other"}
START, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def values(resource: dict[str, Any], expression: str, without: str | tuple[str, ...] = "-") -> list[Any]:
    """What an expression finds in a resource; an extension's value in place of the extension.

    `without` is the end of the names of choices that do not count.
    """
    found = walk(tree(expression), [(resource["resourceType"], resource)], resource)
    found = [one for one in found if not one[0].endswith(without)]
    return [inner for name, value in found for inner in opened(name, value)]


tree = cache(parse)


def opened(name: str, value: Any) -> list[Any]:
    return [inner for key, inner in value.items() if key.startswith("value")] if name == "extension" else [value]


def walk(node: Node, focus: list[Found], resource: dict[str, Any]) -> list[Found]:
    match node:
        case Name(name="%resource"):
            return [("resource", resource)]
        case Name(name=name) if name[0].isupper():
            return [one for one in focus if name in ("Resource", "DomainResource", one[1].get("resourceType"))]
        case Name(name=name):
            return [inner for one in focus for inner in children(one[1], name)]
        case Child(base=base, name=name):
            return [inner for one in walk(base, focus, resource) for inner in children(one[1], name)]
        case Index(base=base, index=index):
            return walk(base, focus, resource)[index : index + 1]
        case Operation(operator="|", left=left, right=right):
            return walk(left, focus, resource) + walk(right, focus, resource)
        case Operation(operator="as", left=left, right=Name(name=name)):
            return cast(walk(left, focus, resource), name)
        case Call(base=base, function="as" | "ofType", arguments=(Name(name=name),)) if base:
            return cast(walk(base, focus, resource), name)
        case Call(base=base, function="where", arguments=(condition,)) if base:
            return [one for one in walk(base, focus, resource) if holds(condition, one, resource)]
        case Call(base=base, function="extension", arguments=(Literal(value=url),)) if base:
            found = [inner for one in walk(base, focus, resource) for inner in children(one[1], "extension")]
            return [one for one in found if one[1].get("url") == url]
        case Call(base=base, function="resolve") if base:
            return walk(base, focus, resource)
        case Call() | Operation():
            return [("boolean", all(holds(node, one, resource) for one in focus))]
    raise AssertionError(node)


def holds(node: Node, one: Found, resource: dict[str, Any]) -> bool:
    match node:
        case Operation(operator="and", left=left, right=right):
            return holds(left, one, resource) and holds(right, one, resource)
        case Operation(operator="=" | "!=" as operator, left=left, right=Literal(value=value)):
            found = [inner for _, inner in walk(left, [one], resource)]
            return value in found if operator == "=" else all(inner != value for inner in found)
        case Operation(operator="is", right=Name(name=name)):
            return refers_to(one[1], name)
        case Call(base=base, function="exists") if base:
            return bool(walk(base, [one], resource))
        case Call(function="hasExtension", arguments=(Literal(value=url),)):
            return any(inner.get("url") == url for inner in one[1].get("extension", ()))
    raise AssertionError(node)


def refers_to(reference: dict[str, Any], resource_type: str) -> bool:
    return bool(re.search(rf"(^|/){resource_type}/[^/]+", reference.get("reference", "")))


def children(value: Any, name: str) -> Iterator[Found]:
    """The property of that name, or of a choice: `value` is `valueQuantity`, too."""
    if not isinstance(value, dict):
        return
    for key, content in value.items():
        if key == name or (re.fullmatch(rf"{name}{CHOICE}", key) and key not in NO_CHOICES):
            yield from ((key, one) for one in (content if isinstance(content, list) else [content]) if one is not None)


CHOICE = (
    "(Quantity|Money|CodeableConcept|String|Boolean|Integer|Range|Ratio|SampledData|Time|DateTime|Date|Period|Instant|"
    "Decimal|Uri|Canonical|Reference|Coding|Code|Age|Duration|Timing|Attachment|Address|Identifier|Markdown)"
)
NO_CHOICES = {"statusDate"}
SAME = {"uri": ("uri", "canonical", "url"), "Quantity": ("Quantity", "Age", "Duration", "Money")}


def cast(found: list[Found], name: str) -> list[Found]:
    """Those of a type, by the end of their name: HL7 says `as` of choices only."""
    ends = tuple(end[0].upper() + end[1:] for end in SAME.get(name, (name,)))
    return [one for one in found if one[0].endswith(ends)]


# What a value is searched by, told from its shape.


def tokens(value: Any) -> Iterator[tuple[str | None, str, bool]]:
    """(system, code, whether case counts); system None where only a value set would tell it."""
    match value:
        case bool():
            yield None, str(value).lower(), False
        case str():
            yield None, value, False
        case {"coding": list(codings)}:
            yield from (token for coding in codings for token in tokens(coding))
        case {"value": str(text)}:
            yield value.get("system", ""), text, value.get("system") not in CONTACTS
        case {"code": str(code)}:
            yield value.get("system", ""), code, False


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in PARTS:
            inner = value.get(part, [])
            yield from inner if isinstance(inner, list) else [inner]


def readings(text: str) -> set[str]:
    """A text without case and accents: its punctuation as gaps, and left out. Of nothing but punctuation, that."""
    for apostrophe in "`´‘’ʼʻ′":
        text = text.replace(apostrophe, "'")
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(one for one in decomposed if not unicodedata.combining(one)).casefold().replace("'", "")
    both = {
        " ".join("".join(gap if unicodedata.category(one)[0] == "P" else one for one in plain).split())
        for gap in ("", " ")
    }
    return both - {""} or {text.strip()}


def contained(resource: dict[str, Any], references: list[Any]) -> list[dict[str, Any]]:
    """What references lead to within a resource. Its ids are nobody else's."""
    texts = [one.get("reference", "") if isinstance(one, dict) else one for one in references]
    return [{**one, "id": f"#{one['id']}"} for one in resource.get("contained", ()) if f"#{one['id']}" in texts]


def span(text: str) -> Span:
    """The first and the last millisecond that a date, or a part of one, stands for."""
    text = text.replace("Z", "+00:00")
    if "T" in text:
        start = datetime.fromisoformat(text)
        start = start.replace(tzinfo=start.tzinfo or UTC, microsecond=start.microsecond // 1000 * 1000)
        return start, start + (timedelta() if "." in text else timedelta(seconds=1) - MILLISECOND)
    year, month, day = (int(part) for part in f"{text}-0-0".split("-")[:3])
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    last = datetime(year, month or 12, day or monthrange(year, month or 12)[1], tzinfo=UTC)
    return start, last + timedelta(days=1) - MILLISECOND


def spans(value: Any) -> Iterator[Span]:
    if isinstance(value, str) and re.match(r"\d{4}(-|$)", value):
        yield span(value)
    elif isinstance(value, dict) and ("event" in value or "repeat" in value):
        found = [span(event) for event in value.get("event", ())]
        found += spans(value.get("repeat", {}).get("boundsPeriod"))
        if found:
            yield min(one[0] for one in found), max(one[1] for one in found)
    elif isinstance(value, dict) and value.keys() & {"start", "end"}:
        yield (
            span(value["start"])[0] if "start" in value else START,
            span(value["end"])[1] if "end" in value else END,
        )


def in_time(prefix: str, asked: Span, held: Span) -> bool:
    """R4's definitions of the prefixes, for periods."""
    within = asked[0] <= held[0] and held[1] <= asked[1]
    return {
        "eq": within,
        "ne": not within,
        "gt": held[1] > asked[1],
        "lt": held[0] < asked[0],
        "ge": held[1] > asked[1] or within,
        "le": held[0] < asked[0] or within,
        "sa": held[0] > asked[1],
        "eb": held[1] < asked[0],
    }[prefix]


def in_amount(prefix: str, asked: str, held: Decimal) -> bool:
    """The same for numbers: only eq and ne look at how precisely the number is given."""
    number, places = Decimal(asked), len(asked.partition(".")[2])
    half = Decimal("0.5") / 10**places
    within = number - half <= held < number + half
    answers: dict[str, bool] = {
        "eq": within,
        "ne": not within,
        "gt": held > number,
        "lt": held < number,
        "ge": held >= number,
        "le": held <= number,
        "sa": held > number,
        "eb": held < number,
    }
    return answers[prefix]


def key_of(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"
