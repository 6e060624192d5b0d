"""`_list` (R4 search.html, 3.1.1.4.12): only what the entries of a List name, those marked as deleted apart.

The List is a stored one that is named by its id, or the one that serves a purpose for a patient: `patient=1&_list=$current-medications`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from bulkhead.errors import BadRequest, NotSupported
from bulkhead.fhir import references
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.query import Clause, Query, ReferenceValue, TokenValue, UriValue, Value
from bulkhead.search.widening import patient

Stored = Callable[[str], dict[str, Any] | None]
"""An id -> the List that has it, as far as the caller may see it."""
Current = Callable[[str, str], dict[str, Any] | None]
"""(`Patient/1`, the name of a functional list) -> the List that is the patient's, as far as the caller may see it."""


def resolved(query: Query, stored: Stored, current: Current) -> Query:
    """The query with every `_list` replaced by the ids of its entries; a missing or hidden List has none."""
    if not any(clause.parameter.code == "_list" for clause in query.clauses):
        return query

    def named(value: Value) -> dict[str, Any] | None:
        if isinstance(value, UriValue):
            return current(_the_patient(query), value.uri)
        assert isinstance(value, ReferenceValue)
        return stored(value.id) if value.id is not None and value.type in (None, "List") else None

    return structs.replace(query, clauses=tuple(ids(clause, query.types, named) for clause in query.clauses))


def _the_patient(query: Query) -> str:
    """The one Patient whose list is meant: of the compartment, or of `patient` or `subject`. BadRequest."""
    clauses = [clause for clause in query.clauses if clause.parameter.code in ("patient", "subject")]
    named = {key for clause in clauses for value in clause.values if (key := patient(value, clause))}
    if query.compartment and query.compartment.startswith("Patient/"):
        named.add(query.compartment)
    if len(named) != 1:
        raise BadRequest("this list is one patient's: name one by patient=, or search in Patient/id/", "_list")
    return named.pop()


def ids(clause: Clause, types: tuple[str, ...], named: Callable[[Value], dict[str, Any] | None]) -> Clause:
    if clause.parameter.code != "_list":
        return clause
    if len(types) != 1 or clause.modifier:
        raise NotSupported("_list is supported only in a search of one type, without modifiers", expression=clause.name)
    found: dict[str, None] = {}
    for value in clause.values:
        for entry in (named(value) or {}).get("entry", ()):
            key = references.local(entry.get("item", {}).get("reference", ""))
            if key and key.startswith(f"{types[0]}/") and not entry.get("deleted"):
                found[key.partition("/")[2]] = None
    values = tuple(TokenValue(None, one) for one in found)
    return Clause(clause.name, search_parameters(types[0])["_id"], None, values)
