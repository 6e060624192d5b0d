"""`:above` and `:below` of tokens (R4 search.html#token): replaces a code by the codes that subsume it, or that it subsumes."""

from __future__ import annotations

from msgspec import structs

from bulkhead.errors import BadRequest, TooCostly
from bulkhead.search.code_systems import CodeSystem, Look, Lookups, having, known
from bulkhead.search.query import Clause, Query, TokenValue
from bulkhead.search.value_sets import MOST


def resolved(query: Query, look: Look) -> Query:
    """The query with every code under `:above` or `:below` replaced by its ancestors or descendants and itself.

    BadRequest for a code system that is not on this server with all its concepts: a search for the code alone would miss
    matches. A code without a system means the code in every code system on this server that has it. TooCostly.
    """
    if not any(is_asked(clause) for clause in query.clauses):
        return query
    lookups = Lookups(look)
    return structs.replace(query, clauses=tuple(in_codes(clause, lookups) for clause in query.clauses))


def is_asked(clause: Clause) -> bool:
    return clause.parameter.type == "token" and clause.modifier in ("above", "below")


def in_codes(clause: Clause, look: Lookups) -> Clause:
    if not is_asked(clause):
        return clause
    look.place = clause.name
    values: dict[TokenValue, None] = {}
    asked: dict[int, tuple[CodeSystem, set[str]]] = {}
    for value in clause.values:
        assert isinstance(value, TokenValue)
        assert value.code
        values[value] = None
        for system in systems(value, clause.name, look):
            asked.setdefault(id(system), (system, set()))[1].add(value.code)
    for system, codes in asked.values():
        found = system.below(*codes) if clause.modifier == "below" else system.above(*codes)
        look.go_through(len(found))
        values |= dict.fromkeys(TokenValue(system.url, code) for code in sorted(found))
        if len(values) > MOST:
            raise TooCostly("this code has too many descendants for a search", expression=clause.name)
    return structs.replace(clause, values=tuple(values), modifier=None)


def systems(value: TokenValue, name: str, look: Lookups) -> list[CodeSystem]:
    """The code systems in which the code is looked up."""
    assert value.code is not None
    if value.system is not None:
        system = known(value.system, look)
        if system is None:
            raise BadRequest("this server does not have the code system with all its concepts", expression=name)
        return [system]
    found = having(value.code, look)
    if not found:
        raise BadRequest("no code system on this server has the code: give system|code", expression=name)
    return found
