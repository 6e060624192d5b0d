"""FHIR R4 (4.0.1), compiled from HL7's packages: elements, search parameters, compartments, value sets, code systems.

infra/compile_definitions.py makes the tables in `data/`. The first use of a type reads its table.
"""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.fhir.definitions.tables import (
    ANY_RESOURCE,
    Constraint,
    Element,
    ElementTable,
    Property,
    SearchParameter,
    Types,
    code_system,
    code_systems_with,
    compartment_definitions,
    compartment_parameters,
    constraints,
    elements,
    load,
    search_parameters,
    value_set_codes,
    value_set_compose,
    value_set_systems,
)

_TYPES = load("types.json", Types)

RESOURCE_TYPES: frozenset[str] = frozenset(_TYPES.resources)
"""The 146 concrete resource types of R4."""

DATATYPES: frozenset[str] = frozenset(_TYPES.datatypes)
"""The complex datatypes: HumanName, Period, ..."""

PRIMITIVES: Mapping[str, str] = _TYPES.primitives
"""Primitive types with the regular expression that HL7 gives for their text form; "" where it gives none (xhtml)."""

COMPARTMENTS: tuple[str, ...] = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
"""Codes of the five CompartmentDefinitions of R4."""

__all__ = [
    "ANY_RESOURCE",
    "COMPARTMENTS",
    "DATATYPES",
    "PRIMITIVES",
    "RESOURCE_TYPES",
    "Constraint",
    "Element",
    "ElementTable",
    "Property",
    "SearchParameter",
    "code_system",
    "code_systems_with",
    "compartment_definitions",
    "compartment_parameters",
    "constraints",
    "elements",
    "search_parameters",
    "value_set_codes",
    "value_set_compose",
    "value_set_systems",
]
