"""`_list` (R4 search.html, 3.1.1.4.12): finds only the resources that the entries of a stored List name, except deleted entries."""

from __future__ import annotations

from msgspec import structs

from bulkhead.errors import NotSupported
from bulkhead.fhir import references
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.code_systems import Look, named
from bulkhead.search.query import Clause, Query, ReferenceValue, TokenValue


def resolved(query: Query, look: Look) -> Query:
    """The query with every `_list` replaced by the ids of its entries; a missing or hidden List has none."""
    if not any(clause.parameter.code == "_list" for clause in query.clauses):
        return query
    return structs.replace(query, clauses=tuple(ids(clause, query.types, look) for clause in query.clauses))


def ids(clause: Clause, types: tuple[str, ...], look: Look) -> Clause:
    if clause.parameter.code != "_list":
        return clause
    if len(types) != 1 or clause.modifier:
        raise NotSupported("_list is supported only in a search of one type, without modifiers", expression=clause.name)
    found: dict[str, None] = {}
    for value in clause.values:
        assert isinstance(value, ReferenceValue)
        stored = named("List", f"List/{value.id}", look) if value.type in (None, "List") else None
        for entry in (stored or {}).get("entry", ()):
            key = references.local(entry.get("item", {}).get("reference", ""))
            if key and key.startswith(f"{types[0]}/") and not entry.get("deleted"):
                found[key.partition("/")[2]] = None
    values = tuple(TokenValue(None, one) for one in found)
    return Clause(clause.name, search_parameters(types[0])["_id"], None, values)
