"""Which listings of the indexes together hold every match of one condition of a search. What they list is checked by its head.

References and accounts are in by-target; codes, names, uris and dates in by-value.
"""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.facts import index_facts
from bulkhead.facts.expressions import types
from bulkhead.facts.normalise import fold, spellings
from bulkhead.facts.phonetic import is_phonetic, sound
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.fhir.references import canonical_url
from bulkhead.search.date_spans import span_of_one
from bulkhead.search.drivers import Account, Branch, Itself, KeyStream, Pointers, Values
from bulkhead.search.query import (
    Clause,
    CompositeValue,
    Query,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)

UNION = 50
"""The limit on listings that one driver merges."""
MONTHS = 24
"""The limit on months of a date parameter that one driver reads."""


def stream(clause: Clause, resource_type: str | None) -> tuple[KeyStream, ...]:
    """By-target listings that together hold every match of one clause; () if there are none."""
    if clause.parameter.type != "reference" or clause.modifier in ("missing", "identifier", "not"):
        return ()
    code = clause.parameter.code
    if code[0] != "_" and resource_type and search_parameters(resource_type).get(code) != clause.parameter:
        return ()
    found: list[KeyStream] = []
    for value in clause.values:
        if not isinstance(value, ReferenceValue) or value.id is None:
            return ()
        targets = [value.type] if value.type else clause.parameter.targets
        if not targets or "Resource" in targets:
            return ()
        for target in targets:
            found += listings(clause.parameter.code, f"{target}/{value.id}", resource_type)
    return tuple(found) if len(found) <= UNION else ()


def listings(code: str, key: str, resource_type: str | None) -> list[KeyStream]:
    match code:
        case "_account":
            return [Account(key, resource_type)]
        case "_compartment":
            own = [] if resource_type not in (None, key.partition("/")[0]) else [Itself(key)]
            return [Pointers(key, resource_type, None), Account(key, resource_type), *own]
    return [Pointers(key, resource_type, frozenset({code}))]


def streams(clauses: Iterable[Clause], resource_type: str | None) -> tuple[KeyStream, ...]:
    """The listings for `_account` or `_compartment`, which need no type."""
    for clause in clauses:
        if clause.parameter.code in ("_account", "_compartment"):
            found = stream(clause, resource_type)
            if found:
                return found
    return ()


def by_value(clause: Clause, resource_type: str) -> Values | None:
    """The by-value branches that together hold every match of one clause; None if there are none."""
    if clause.modifier not in (None, "exact"):
        return None
    indexed = index_facts.drivers(resource_type, clause.parameter)
    if clause.parameter.type == "composite":
        return (
            by_first_component(clause, resource_type) if index_facts.is_own(resource_type, clause.parameter) else None
        )
    if not indexed or clause.parameter.type == "date" or (clause.modifier and is_phonetic(clause.parameter)):
        return None
    branches: list[Branch] = []
    for value in clause.values:
        for parameter in indexed:
            found = branches_of(value, parameter, resource_type)
            if not found:
                return None
            branches += found
    if len(branches) > UNION:
        return None
    first = clause.values[0]
    with_system = isinstance(first, TokenValue) and first.system is not None
    once = len(branches) == 1 and with_system and branches[0].prefix is not None
    return Values(resource_type, tuple(dict.fromkeys(branches)), once)


def branches_of(value: Value, parameter: SearchParameter, resource_type: str) -> list[Branch]:
    """The branches that hold every resource with a value; empty if no index can lead."""
    if parameter.code in index_facts.OF_META:
        return branches_of_meta(value, parameter.code, resource_type)
    match value:
        case TokenValue(system=system, code=str(code)) if code:
            with_system = system is not None and "ContactPoint" not in types(parameter.expression, resource_type)
            if index_facts.is_owned(resource_type, parameter) or index_facts.is_dated(resource_type, parameter):
                with_system = False
            return [Branch(parameter.code, code.casefold(), prefix=f"{system}#" if with_system else None)]
        case StringValue(text=text) if is_phonetic(parameter):
            return [Branch(parameter.code, sound(max(fold(text).split(), key=len)))]
        case StringValue(text=text):
            found = spellings(text)
            if all(len(one) >= index_facts.PREFIX for one in found):
                return [
                    Branch(parameter.code, one[: index_facts.PREFIX], prefix=one[: index_facts.SORT_LENGTH])
                    for one in found
                ]
        case UriValue(uri=uri):
            return [Branch(parameter.code, uri)]
        case ReferenceValue(url=url, key=key) if url or key:
            return [Branch(parameter.code, canonical_url(url or key or ""))]
    return []


def branches_of_meta(value: Value, code: str, resource_type: str) -> list[Branch]:
    """The branches for a code of `meta`: of a type, with its system; of all types, without."""
    of_type = None if resource_type == index_facts.ANY_TYPE else f"{resource_type}#"
    match value:
        case TokenValue(system=system, code=str(text)) if text:
            with_system = of_type is not None and system is not None
            return [Branch(code, text.casefold(), prefix=f"{of_type}{system}#" if with_system else of_type)]
        case UriValue(uri=uri):
            return [Branch(code, canonical_url(uri), prefix=of_type)]
    return []


def by_first_component(clause: Clause, resource_type: str) -> Values | None:
    """The branches of the code in a composite such as code$value."""
    url, _ = clause.parameter.components[0]
    parameter = next(one for one in search_parameters(resource_type).values() if one.url == url)
    values = tuple(value.parts[0] for value in clause.values if isinstance(value, CompositeValue))
    return by_value(Clause(clause.name, parameter, None, values), resource_type)


def by_dates(query: Query, resource_type: str) -> Values | None:
    """The months between two given ends of one date parameter."""
    for parameter in dict.fromkeys(clause.parameter for clause in query.clauses):
        if parameter.type != "date" or not index_facts.is_indexed(resource_type, parameter):
            continue
        of_it = [clause for clause in query.clauses if clause.parameter == parameter]
        first, last = span_of_one(of_it, resource_type)
        if first is None or last is None or first > last:
            continue
        start, end = (int(text[:4]) * 12 + int(text[5:7]) - 1 for text in (first, last))
        if end - start < MONTHS:
            buckets = [*(index_facts.month(number) for number in range(start, end + 1)), index_facts.LONG]
            return Values(resource_type, tuple(Branch(parameter.code, bucket, last=last) for bucket in buckets))
    return None
