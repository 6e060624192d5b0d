"""Checks whether a resource meets a condition: the exact filter behind every index, and the only one where no index helps.

R4 search.html, 3.1.1.4 and 3.1.1.5. Pure: a Version and a Clause in, true or false out.

Codes compare without case (R4: "servers SHOULD treat tokens in a case-insensitive manner"); identifiers and systems
compare with case (two identifiers that differ in case may belong to two people).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from bulkhead.compartments import membership
from bulkhead.facts import care_dates, extract, index_facts
from bulkhead.facts.expressions import Typed, compiled
from bulkhead.facts.normalise import spellings
from bulkhead.facts.phonetic import is_phonetic, sounds
from bulkhead.fhir import references
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.search import geography, ranges, units
from bulkhead.search.query import (
    Clause,
    CompositeValue,
    DateValue,
    MissingValue,
    NearValue,
    NumberValue,
    OfTypeValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from bulkhead.store.version import Version

ONE = Decimal(1)


def matches(candidate: Version, clause: Clause, known: membership.Definitions) -> bool:
    """Whether a resource meets one condition: any of its OR values matches any of the resource's values.

    `known` are the compartment definitions in force, for `_compartment`.
    """
    if clause.of_targets and is_noted(candidate, clause):
        return any(clause.parameter.code in via and is_named(key, clause) for key, via in candidate.targets.items())
    if clause.of_tokens and clause.parameter == care_dates.code_parameter(candidate.head.type):
        pairs = candidate.codes(clause.parameter)
        return any(is_asked(system, code.casefold(), clause.folded_tokens) for system, code in pairs)
    found = values(candidate, own(candidate, clause.parameter), known)
    if clause.modifier == "missing":
        return any(isinstance(value, MissingValue) and value.missing == (not found) for value in clause.values)
    met = any(meets_any(item, clause, candidate) for item in found)
    return not met if clause.modifier == "not" else met


def is_noted(candidate: Version, clause: Clause) -> bool:
    """Whether the targets of a resource tell whether it meets a clause about references to this server, without its body.

    They hold every such reference by R4's own parameters for the type, and none of a contained resource.
    """
    resource_type = candidate.head.type
    noted = clause.own_to.get(resource_type)
    if noted is None:
        noted = index_facts.is_own(resource_type, own(candidate, clause.parameter))
        clause.own_to[resource_type] = noted
    return noted


def is_named(key: str, clause: Clause) -> bool:
    """Whether a clause about references names a resource."""
    resource_type, _, identifier = key.partition("/")
    return (resource_type, identifier) in clause.keys or (None, identifier) in clause.keys


def own(candidate: Version, parameter: SearchParameter) -> SearchParameter:
    """The parameter as the candidate's type has it: a search of several types holds the parameter of only one of them."""
    its = search_parameters(candidate.head.type).get(parameter.code)
    return its if its is not None and its.type == parameter.type else parameter


def values(candidate: Version, parameter: SearchParameter, known: membership.Definitions) -> list[Typed]:
    """The values of a resource for a parameter, with types; some parameters are about the head, not about the body."""
    match parameter.code:
        case "_id":
            return [("id", candidate.head.id)]
        case "_lastUpdated":
            return [("instant", candidate.head.updated)] if candidate.head.updated else []
        case "_account":
            return [("Reference", {"reference": account}) for account in candidate.head.accounts]
        case "_compartment":
            found = membership.memberships(candidate, known)
            return [("Reference", {"reference": key}) for key in dict.fromkeys((*found, *candidate.head.accounts))]
    return extract.values(candidate.body, parameter)


def meets_any(item: Typed, clause: Clause, candidate: Version) -> bool:
    """Whether one value of the resource matches one of the values of the search."""
    plain = clause.modifier in (None, "not")
    if plain and clause.parameter.type == "token":
        return is_one_of(item, clause)
    if clause.parameter.type == "reference" and clause.modifier != "identifier":
        return is_referred_to(item, clause)
    if clause.modifier is None and is_phonetic(clause.parameter):
        held = sounds(extract.spoken(*item))
        return any(asked <= held for asked in clause.sounds)
    if clause.of_strings:
        return is_one_of_strings(item, clause)
    if clause.parameter.type == "composite":
        return is_one_of_composites(item, clause, candidate)
    return any(meets(item, value, clause, candidate=candidate) for value in clause.values)


def meets(item: Typed, value: Value, clause: Clause, *, candidate: Version) -> bool:
    """Whether one value of the resource matches one value of the search."""
    kind, content = item
    match value:
        case TokenValue():
            if clause.modifier == "identifier":
                return (
                    kind == "Reference"
                    and "identifier" in content
                    and is_token("Identifier", content["identifier"], value)
                )
            return is_token(kind, content, value)
        case StringValue():
            return is_one_of_strings(item, Clause(clause.name, clause.parameter, clause.modifier, (value,)))
        case OfTypeValue():
            return is_of_type(kind, content, value)
        case DateValue():
            return any(ranges.dates(value, *period) for period in extract.periods(kind, content))
        case NumberValue():
            return any(ranges.numbers(value, span) for span in ranges.amounts(kind, content))
        case QuantityValue():
            return is_quantity(kind, content, value)
        case UriValue():
            return is_uri(kind, content, value.uri, modifier=clause.modifier)
        case ReferenceValue():
            text = index_facts.reference_text(kind, content, clause.parameter)
            return text is not None and is_reference(text, value)
        case NearValue():
            return geography.is_near(content, value)
    return False


def is_one_of(item: Typed, clause: Clause) -> bool:
    kind, content = item
    exact = is_exact(kind)
    wanted = clause.tokens if exact else clause.folded_tokens
    for system, code in extract.tokens(kind, content):
        if is_asked(system, code if exact else code.casefold(), wanted):
            return True
    return False


def is_asked(system: str, code: str, wanted: frozenset[tuple[str | None, str | None]]) -> bool:
    """Whether a token is among those of a search, of which each may lack its system or its code."""
    return not wanted.isdisjoint(((system, code), (None, code), (system, None)))


def is_referred_to(item: Typed, clause: Clause) -> bool:
    kind, content = item
    text = index_facts.reference_text(kind, content, clause.parameter)
    if text is None:
        return False
    key = index_facts.local(text)
    if key is not None and clause.keys:
        resource_type, _, identifier = key.partition("/")
        if not clause.keys.isdisjoint(((resource_type, identifier), (None, identifier))):
            return True
    return any(is_reference(text, value) for value in clause.links)


def is_exact(kind: str) -> bool:
    """Whether case counts in the tokens of a type."""
    return kind in ("Identifier", "id")


def is_token(kind: str, content: Any, value: TokenValue) -> bool:
    exact = is_exact(kind)
    wanted = value.code if exact or value.code is None else value.code.casefold()
    for system, code in extract.tokens(kind, content):
        if value.system is not None and system != value.system:
            continue
        if wanted is None or (code if exact else code.casefold()) == wanted:
            return True
    return False


def texts(kind: str, content: Any) -> Iterable[str]:
    """The texts that `:text` searches: the text of a concept, the displays of its codes, the text of an identifier's type."""
    if kind == "Identifier":
        return texts("CodeableConcept", content.get("type", {}))
    if kind == "Coding":
        return [content["display"]] if "display" in content else []
    if kind == "CodeableConcept":
        displays = [coding["display"] for coding in content.get("coding", ()) if "display" in coding]
        return [*([content["text"]] if "text" in content else []), *displays]
    return []


def is_one_of_strings(item: Typed, clause: Clause) -> bool:
    """Whether one of the texts of an element is, contains or begins with one of the searched ones, or has all words of one.

    Punctuation may be absent on either side. The texts are spelt once, however many values there are.
    """
    kind, content = item
    of_words = clause.modifier == "text" and clause.parameter.type == "string"
    found = texts(kind, content) if clause.modifier == "text" and not of_words else extract.strings(kind, content)
    if clause.modifier == "exact":
        return not clause.texts.isdisjoint(found)
    spelt = [spelling for text in found for spelling in spellings(text)]
    if of_words:
        words = sorted({word for spelling in spelt for word in spelling.split()})
        return any(all(begins_one(asked, words) for asked in wanted) for wanted in clause.words)
    if clause.modifier == "contains":
        return any(one in spelling for spelling in spelt for one in clause.spellings)
    return any(spelling.startswith(clause.spellings) for spelling in spelt)


def begins_one(asked: str, words: Sequence[str]) -> bool:
    """Whether a text begins one of some sorted words: `name:text=john smith` finds Smith, John."""
    at = bisect_left(words, asked)
    return at < len(words) and words[at].startswith(asked)


def is_of_type(kind: str, content: Any, value: OfTypeValue) -> bool:
    return (
        kind == "Identifier"
        and content.get("value") == value.value
        and is_token("CodeableConcept", content.get("type", {}), TokenValue(value.system, value.code))
    )


def is_quantity(kind: str, content: Any, value: QuantityValue) -> bool:
    scale = in_units_of(kind, content, value)
    if scale is None:
        return False
    return any(ranges.numbers(value.amount, span.times(scale)) for span in ranges.amounts(kind, content))


def in_units_of(kind: str, content: Any, value: QuantityValue) -> Decimal | None:
    """The factor that converts an amount to the searched unit; None if there is none."""
    if value.code is None and value.system is None:
        return ONE
    found = list(ranges.units(kind, content))
    if any(is_unit(system, code, printed, value=value) for system, code, printed in found):
        return ONE
    if value.system != units.SYSTEM or value.code is None:
        return None
    codes = (code for system, code, _ in found if system == units.SYSTEM and code is not None)
    return next((scale for code in codes if (scale := units.ratio(code, value.code)) is not None), None)


def is_unit(system: str | None, code: str | None, printed: str | None, *, value: QuantityValue) -> bool:
    """Whether a unit is exactly the searched one; without a system it may be the printed one."""
    if value.system is not None:
        return system == value.system and value.code in (None, code)
    return value.code in (code, printed)


def is_uri(kind: str, content: Any, uri: str, *, modifier: str | None) -> bool:
    """Whether a uri matches. A canonical also matches without its version: `_profile=http://profile` finds `http://profile|1.0`."""
    if not isinstance(content, str):
        # A parameter that a client has defined may lead to values of any type.
        return False
    if modifier == "below":
        return bool(content == uri or content.startswith(uri if uri.endswith("/") else uri + "/"))
    if modifier == "above":
        return bool(content == uri or uri.startswith(content if content.endswith("/") else content + "/"))
    return bool(content == uri or (kind == "canonical" and is_canonical(content, uri)))


def is_reference(text: str, value: ReferenceValue) -> bool:
    if value.url is not None:
        return text == value.url or is_canonical(text, value.url)
    key = index_facts.local(text)
    if key is None or (value.version is not None and not text.endswith(f"/_history/{value.version}")):
        return False
    return key == value.key if value.type else key.partition("/")[2] == value.id


def is_canonical(text: str, wanted: str) -> bool:
    """Whether a canonical matches: any version if the search gives none, no version for a `|` at its end; fragments likewise."""
    url, version, fragment = references.canonical(text)
    asked_url, asked_version, asked_fragment = references.canonical(wanted)
    return (
        url == asked_url != ""
        and (asked_version is None or asked_version == (version or ""))
        and asked_fragment in (None, fragment)
    )


def is_one_of_composites(item: Typed, clause: Clause, candidate: Version) -> bool:
    """Whether one element meets every component of one of the values. Its components are read once, however many values there are."""
    kind, content = item
    inner: list[tuple[Clause, Sequence[Typed]]] = [
        (
            Clause(url, component(candidate.head.type, url), None, ()),
            compiled(expression, kind)(content, candidate.body),
        )
        for url, expression in clause.parameter.components
    ]
    return any(
        all(
            any(meets(one, part, its, candidate=candidate) for one in found)
            for part, (its, found) in zip(value.parts, inner, strict=True)
        )
        for value in clause.values
        if isinstance(value, CompositeValue)
    )


def component(resource_type: str, url: str) -> SearchParameter:
    """The search parameter of a composite's component."""
    return next(parameter for parameter in search_parameters(resource_type).values() if parameter.url == url)
