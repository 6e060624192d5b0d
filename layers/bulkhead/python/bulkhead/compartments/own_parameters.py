"""Search parameters of the project's own by which CompartmentDefinitions tell members: which are in force, and whom they lead to.

A CompartmentDefinition may name a parameter that R4 does not have, if a SearchParameter that is in force for everybody defines it
(`governs`; of several for one type and code, the first by id). by-target has an entry for every literal reference, whatever leads to
it. So whatever points at a target is a candidate, and the parameter's expression decides on its body: at once for what was there before.

A parameter that is not in force any more makes no members. `definition_writes` refuses the write that would take it out of force.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bulkhead.compartments import compartment_definitions
from bulkhead.compartments.compartment_definitions import Definition, Definitions
from bulkhead.compartments.governing import governs
from bulkhead.facts import extract
from bulkhead.facts.defined_parameters import defines, usable
from bulkhead.fhir import references
from bulkhead.fhir.definitions import SearchParameter

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

TYPE = "SearchParameter"

logger = logging.getLogger(__name__)

Defining = Mapping[str, Sequence[dict[str, Any]]]
"""By code: the SearchParameter resources in force for everybody that have it, by id."""


def targets(parameter: SearchParameter, resource: dict[str, Any]) -> frozenset[str]:
    """The resources of this server to which the References lead that a parameter finds in a resource. Canonicals do not count."""
    found = extract.values(resource, parameter)
    texts = (value.get("reference") for kind, value in found if kind == "Reference")
    return frozenset(target for text in texts if isinstance(text, str) and (target := references.local(text)))


def defining(store: ReadStore, codes: Iterable[str]) -> Defining:
    """The SearchParameters in force for everybody under some codes: a Query for each code, and one BatchGet."""
    listed = {code: store.governing(TYPE, code.casefold()) for code in codes}
    keys = {key for found in listed.values() for key in found}
    heads = store.read_many(sorted(keys)) if keys else {}
    bodies = {key: {**store.decode(head), "id": head.id} for key, head in heads.items() if governs(head)}
    return {code: [bodies[key] for key in sorted(found) if key in bodies] for code, found in listed.items()}


def lookup(defining: Defining) -> compartment_definitions.Lookup:
    """(type, code) -> the parameter that the first of `defining` defines. NotSupported where this server cannot evaluate it."""

    def look(resource_type: str, code: str) -> SearchParameter | None:
        for resource in defining.get(code, ()):
            if defines(resource, resource_type, code):
                return usable(resource, resource_type, code)
        return None

    return look


def stored_in(store: ReadStore) -> compartment_definitions.Lookup:
    """The same of what is in force now: each call reads."""
    return lambda resource_type, code: lookup(defining(store, [code]))(resource_type, code)


def resolved(store: ReadStore, known: Definitions) -> Definitions:
    """The definitions with the parameters that are this server's own. What is not in force, or no longer fits, makes no members."""
    codes = {code for its in known.values() for _, code in its.unknown}
    if not codes:
        return known
    look = lookup(defining(store, sorted(codes)))
    return {root: _resolved(its, look) for root, its in known.items()}


def _resolved(its: Definition, look: compartment_definitions.Lookup) -> Definition:
    own: dict[str, dict[str, SearchParameter]] = {}
    for resource_type, code in sorted(its.unknown):
        fault = compartment_definitions.own_fault(its.code, resource_type, code, look=look)
        parameter = None if fault else look(resource_type, code)
        if parameter is None:
            extra = {"compartment": its.code, "type": resource_type, "parameter": code}
            logger.warning("a compartment names a search parameter that is not in force", extra=extra)
            continue
        own.setdefault(resource_type, {})[code] = parameter
    return replace(its, own=own)
