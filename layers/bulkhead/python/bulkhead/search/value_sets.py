"""`:in` and `:not-in` (R4 search.html, token): the codes of a ValueSet, stored here or built in, in place of its name.

What a set lists counts, as well as sets that it takes in and whole CodeSystems that are stored here with all their
concepts. A set by filters, or of a code system that is not here, is refused: to guess would be to miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import structs

from bulkhead.definitions import value_set_systems
from bulkhead.errors import BadRequest, NotSupported, TooCostly
from bulkhead.search.query import Clause, Query, TokenValue, UriValue

MOST = 10_000
"""The most codes of one clause."""

Codes = set[tuple[str, str]]
"""(system, code)."""
Look = Callable[[str, str], dict[str, Any] | None]
"""(type, canonical url or `ValueSet/1`) -> the stored resource, if the caller may see it."""


def resolved(query: Query, look: Look) -> Query:
    """The query with every `:in` as the codes themselves, and every `:not-in` as `:not` of them.

    BadRequest for a ValueSet that is not here, NotSupported for one that cannot be spelt out.
    """
    if not any(clause.modifier in ("in", "not-in") for clause in query.clauses):
        return query
    return structs.replace(query, clauses=tuple(in_codes(clause, look) for clause in query.clauses))


def in_codes(clause: Clause, look: Look) -> Clause:
    if clause.modifier not in ("in", "not-in"):
        return clause
    codes: Codes = set()
    for value in clause.values:
        assert isinstance(value, UriValue)
        codes |= members(value.uri, look, clause.name, ())
    if len(codes) > MOST:
        raise TooCostly("the value set has too many codes to search by", expression=clause.name)
    values = tuple(TokenValue(system, code) for system, code in sorted(codes))
    return structs.replace(clause, values=values, modifier="not" if clause.modifier == "not-in" else None)


def members(name: str, look: Look, clause: str, within: tuple[str, ...]) -> Codes:
    """The codes of a ValueSet by its url or `ValueSet/id`."""
    url = name.partition("|")[0]
    if url in within:
        return set()
    stored = look("ValueSet", url)
    if stored is None:
        built_in = value_set_systems(url)
        if not built_in:
            raise BadRequest("the value set is not on this server", expression=clause)
        return {(system, code) for system, codes in built_in.items() for code in codes}
    if "expansion" in stored:
        return set(contained(stored["expansion"].get("contains", ())))
    compose = stored.get("compose", {})
    found = _union(compose.get("include", ()), look, clause, (*within, url))
    return found - _union(compose.get("exclude", ()), look, clause, (*within, url))


def _union(parts: Any, look: Look, clause: str, within: tuple[str, ...]) -> Codes:
    found: Codes = set()
    for part in parts:
        found |= part_codes(part, look, clause, within)
    return found


def part_codes(part: dict[str, Any], look: Look, clause: str, within: tuple[str, ...]) -> Codes:
    """The codes of one `compose.include`: those of its system that are in every value set that it names."""
    if "filter" in part:
        raise NotSupported("the value set is made by filters, which this server does not evaluate", expression=clause)
    sets = [members(url, look, clause, within) for url in part.get("valueSet", ())]
    if "system" not in part:
        return set.intersection(*sets) if sets else set()
    system = part["system"]
    if "concept" in part:
        codes = {(system, concept["code"]) for concept in part["concept"]}
    else:
        stored = look("CodeSystem", system)
        if stored is None or stored.get("content") != "complete":
            raise NotSupported("the value set takes in a code system that is not on this server", expression=clause)
        codes = {(system, code) for code in concepts(stored.get("concept", ()))}
    return codes.intersection(*sets)


def contained(entries: Any) -> Iterator[tuple[str, str]]:
    """The codes of an expansion, at every depth; abstract ones are no codes to search by."""
    for entry in entries:
        if "code" in entry and not entry.get("abstract"):
            yield entry.get("system", ""), entry["code"]
        yield from contained(entry.get("contains", ()))


def concepts(entries: Any) -> Iterator[str]:
    for entry in entries:
        yield entry["code"]
        yield from concepts(entry.get("concept", ()))
