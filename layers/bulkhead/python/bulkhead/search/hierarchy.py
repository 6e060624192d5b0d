"""`:above` and `:below` of references (R4 search.html#recursive): a location, organisation or encounter, with its parents or parts."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from msgspec import structs

from bulkhead.errors import TooCostly
from bulkhead.facts import index_facts
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.search.code_systems import Look, Lookups
from bulkhead.search.query import Clause, Query, ReferenceValue

CODES = ("partof", "part-of")
MOST = 1000
"""The limit on resources of one hierarchy that a value may expand to."""


@cache
def hierarchy(resource_type: str) -> SearchParameter | None:
    """The parameter that points from a resource to its parent of the same type; None if the type has none."""
    known = search_parameters(resource_type)
    found = (known[code] for code in CODES if code in known and resource_type in known[code].targets)
    return next(found, None)


def hierarchical(parameter: SearchParameter) -> tuple[str, ...]:
    """The types that a reference parameter leads to and that have a hierarchy."""
    return tuple(name for name in parameter.targets if name != "Resource" and hierarchy(name))


def resolved(query: Query, look: Look) -> Query:
    """The query with every reference under `:above` or `:below` replaced by references to all its ancestors or descendants and itself."""
    if not any(is_asked(clause) for clause in query.clauses):
        return query
    lookups = Lookups(look)
    return structs.replace(query, clauses=tuple(in_references(clause, lookups) for clause in query.clauses))


def is_asked(clause: Clause) -> bool:
    return clause.parameter.type == "reference" and clause.modifier in ("above", "below")


def in_references(clause: Clause, look: Lookups) -> Clause:
    if not is_asked(clause):
        return clause
    look.place = clause.name
    keys: dict[str, None] = {}
    for value in clause.values:
        assert isinstance(value, ReferenceValue)
        for name in (value.type,) if value.type else hierarchical(clause.parameter):
            if (start := f"{name}/{value.id}") not in keys:
                keys |= line(start, clause, look, known=keys)
    values = tuple(ReferenceValue(*key.split("/")) for key in keys)
    return structs.replace(clause, values=values, modifier=None)


def line(start: str, clause: Clause, look: Lookups, *, known: Collection[str]) -> dict[str, None]:
    """The keys of a resource and of all its descendants, or of all its ancestors, as far as the `known` ones, of which all are known.

    A circle ends the walk. TooCostly.
    """
    resource_type = start.partition("/")[0]
    parameter = hierarchy(resource_type)
    assert parameter is not None
    found, left = {start: None}, [start]
    while left:
        key = left.pop()
        if clause.modifier == "below":
            beside = [f"{resource_type}/{one['id']}" for one in look(resource_type, parameter.code, key)]
        else:
            beside = [
                other
                for one in look(resource_type, "_id", key.partition("/")[2])
                for other in index_facts.through(one, parameter)
            ]
        fresh = [key for key in beside if not (key in found or key in known) and key.startswith(f"{resource_type}/")]
        found |= dict.fromkeys(fresh)
        left += fresh
        if len(found) > MOST:
            raise TooCostly("the hierarchy has too many resources for a search", expression=clause.name)
    return found
