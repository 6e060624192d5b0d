"""`:in` and `:not-in` (R4 search.html, token): replaces a ValueSet, stored here or built in, by its codes.

The codes are those that a set lists, those of included sets, and, from CodeSystems that are here with all their concepts, all
codes or those that a concept subsumes. Other filters, and code systems that are not here, are refused: a guess would miss codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import structs

from bulkhead.errors import BadRequest, NotSupported, TooCostly
from bulkhead.fhir.definitions import value_set_compose, value_set_systems
from bulkhead.search.code_systems import CodeSystem, Look, Lookups, known, named
from bulkhead.search.query import Clause, Query, TokenValue, UriValue

MOST = 10_000
"""The limit on codes of one clause."""
NESTED = 50
"""The limit on value sets that include each other in a row."""

Codes = set[tuple[str, str]]
"""(system, code)."""


def resolved(query: Query, look: Look) -> Query:
    """The query with every `:in` replaced by the codes, and every `:not-in` by `:not` of them.

    BadRequest for a ValueSet that is not here, NotSupported for one that cannot be expanded, TooCostly for one of too many codes or sets.
    """
    if not any(clause.modifier in ("in", "not-in") for clause in query.clauses):
        return query
    lookups = Lookups(look)
    return structs.replace(query, clauses=tuple(in_codes(clause, lookups) for clause in query.clauses))


def in_codes(clause: Clause, look: Lookups) -> Clause:
    if clause.modifier not in ("in", "not-in"):
        return clause
    look.place = clause.name
    codes: Codes = set()
    for value in clause.values:
        assert isinstance(value, UriValue)
        codes |= members(value.uri, look, clause.name, within=())
    if len(codes) > MOST:
        raise TooCostly("the value set has too many codes for a search", expression=clause.name)
    values = tuple(TokenValue(system, code) for system, code in sorted(codes))
    return structs.replace(clause, values=values, modifier="not" if clause.modifier == "not-in" else None)


def members(name: str, look: Lookups, clause: str, *, within: tuple[str, ...]) -> Codes:
    """The codes of a ValueSet by its url or `ValueSet/id`."""
    url = name.partition("|")[0]
    if url in within:
        return set()
    if len(within) == NESTED:
        raise TooCostly(f"more than {NESTED} value sets include each other in a row", expression=clause)
    # HL7's own first: a stored value set never hides them.
    if built_in := value_set_systems(url):
        look.go_through(sum(map(len, built_in.values())))
        return {(system, code) for system, codes in built_in.items() for code in codes}
    own = value_set_compose(url)
    stored = named("ValueSet", url, look) if own is None else None
    if stored is not None and "expansion" in stored:
        listed = set(contained(stored["expansion"].get("contains", ())))
        look.go_through(len(listed))
        return listed
    compose = own if stored is None else stored.get("compose", {})
    if compose is None:
        raise BadRequest("this server does not have the value set", expression=clause)
    return composed(compose, look, clause, within=(*within, url))


def composed(compose: Mapping[str, Any], look: Lookups, clause: str, *, within: tuple[str, ...]) -> Codes:
    """The codes of a `ValueSet.compose`; `within` are the sets that include it."""
    found = _union(compose.get("include", ()), look, clause, within=within)
    return found - _union(compose.get("exclude", ()), look, clause, within=within)


def _union(parts: Any, look: Lookups, clause: str, *, within: tuple[str, ...]) -> Codes:
    found: Codes = set()
    for part in parts:
        codes = part_codes(part, look, clause, within=within)
        look.go_through(len(codes))
        found |= codes
    return found


def part_codes(part: dict[str, Any], look: Lookups, clause: str, *, within: tuple[str, ...]) -> Codes:
    """The codes of one `compose.include`: those of its system that are in every value set that it names."""
    sets = [members(url, look, clause, within=within) for url in part.get("valueSet", ())]
    if "system" not in part:
        return set.intersection(*sets) if sets else set()
    system = part["system"]
    if "concept" in part:
        codes = {concept["code"] for concept in part["concept"]}
    else:
        found = known(system, look)
        if found is None:
            raise NotSupported("the value set includes a code system that this server does not have", expression=clause)
        codes = set(found.children)
        for one in part.get("filter", ()):
            look.go_through(len(found.children))
            codes &= filtered(found, one, clause)
    return {(system, code) for code in codes}.intersection(*sets)


def filtered(system: CodeSystem, given: dict[str, Any], clause: str) -> set[str]:
    """The codes of a system that meet one `compose.include.filter`."""
    match given.get("property"), given.get("op"):
        case "concept", "is-a":
            return system.below(given["value"])
        case "concept", "descendent-of":
            return system.below(given["value"]) - {given["value"]}
        case "concept", "is-not-a":
            return set(system.children) - system.below(given["value"])
    raise NotSupported("the value set has a filter that this server does not support", expression=clause)


def contained(entries: Any) -> Iterator[tuple[str, str]]:
    """The codes of an expansion, at every depth; a search does not use abstract ones."""
    for entry in entries:
        if "code" in entry and not entry.get("abstract"):
            yield entry.get("system", ""), entry["code"]
        yield from contained(entry.get("contains", ()))
