"""Elements that R4 does not have but that validation accepts. Any other unknown element is a fault.

- meta.accounts and meta.compartment: Bulkhead's own (semantics.md, section 1).
- CompartmentDefinition.code and .resource.code may be any code here. The write of a definition checks that they are types of
    R4 and answers 422 otherwise (compartment_definitions.py).
- R5's `{"concept": CodeableConcept}` where R4 has a CodeableConcept: generators write it into R4 bundles, and users load
    those. Only the concept is accepted: R5's `reference` stays a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bulkhead.fhir.definitions import Element
from bulkhead.fhir.rules.faults import STRUCTURE, Fault, Faults, Rule, Scope

EXTRA_ELEMENTS: Mapping[str, tuple[Element, ...]] = {
    "Meta": tuple(Element(name, ("Reference",), repeats=True) for name in ("accounts", "compartment")),
}

R5_CONCEPTS = frozenset(
    {
        ("AllergyIntolerance.reaction", "manifestation"),
        ("MedicationRequest", "medication"),
        ("MedicationStatement", "medication"),
    }
)
"""The elements, as (type, element), that take R5's form as well as their own."""


OPEN_CODES = frozenset({("CompartmentDefinition", "code"), ("CompartmentDefinition.resource", "code")})
"""The elements, as (type, element), whose required binding is not checked here."""


def r5_concept_rule(concept: Rule, otherwise: Rule | None = None) -> Rule:
    """Checks `{"concept": ...}` by the rule for the concept, and any other value by R4's own rule, if R4 has the property."""

    def check(value: Any, scope: Scope) -> Faults | None:
        if type(value) is dict and value.keys() == {"concept"}:
            return [fault.under(".concept") for fault in concept(value["concept"], scope) or ()]
        return otherwise(value, scope) if otherwise else [Fault(STRUCTURE, "is not an element of R4 here")]

    return check
