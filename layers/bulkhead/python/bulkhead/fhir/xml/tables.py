"""Types as the XML reader and writer need them: attributes and child elements. The names are the same in JSON and XML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, Element
from bulkhead.fhir.rules.guests import EXTRA_ELEMENTS, R5_CONCEPTS

FHIR = "http://hl7.org/fhir"


Kind = Literal["primitive", "object", "resource", "xhtml", "resource type"]
"""How XML writes the content of an element: as an attribute `value` with id and extensions; as child elements; as one child,
the resource, named by its type; or as the div of a narrative. ROOT is the element of a resource itself."""


class Property(NamedTuple):
    """One child element."""

    name: str
    """`valueQuantity`"""
    element: str
    """`value`: the name in FHIRPath."""
    type: str
    kind: Kind
    repeats: bool
    position: int


class Table(NamedTuple):
    """One type."""

    attributes: frozenset[str]
    properties: Mapping[str, Property]
    by_tag: Mapping[str, Property]
    """By name, after the namespace and a space, as expat gives it."""


@cache
def table(type_name: str) -> Table:
    """The table of a resource type, a datatype or a backbone element. KeyError for a name that R4 does not have."""
    elements = definitions.elements(type_name).elements + _guests(type_name)
    properties = {
        element.property_name(code): Property(
            element.property_name(code), element.name, code, _kind(code), element.repeats, position
        )
        for position, element in enumerate(elements)
        for code in element.types
        if not element.attribute
    }
    attributes = frozenset(element.name for element in elements if element.attribute)
    by_tag = {_tag(each): each for each in properties.values()}
    return Table(attributes, properties, by_tag)


@cache
def resource_types() -> Mapping[str, Property]:
    """The resource types by tag: the root of a document, a `contained` resource, the resource of a Bundle entry."""
    kinds = (Property(name, name, name, "resource type", False, 0) for name in definitions.RESOURCE_TYPES)
    return {_tag(kind): kind for kind in kinds}


def _guests(type_name: str) -> tuple[Element, ...]:
    """Elements that validation accepts although R4 does not have them."""
    found = EXTRA_ELEMENTS.get(type_name, ())
    if type_name == "CodeableConcept":
        found += (Element("concept", ("CodeableConcept",)),)
    choices = {element.name for element in definitions.elements(type_name).elements if element.choice}
    names = (name for guest_type, name in sorted(R5_CONCEPTS) if guest_type == type_name and name in choices)
    return found + tuple(Element(name, ("CodeableConcept",)) for name in names)


def _kind(type_code: str) -> Kind:
    if type_code == "xhtml":
        return "xhtml"
    if type_code == ANY_RESOURCE:
        return "resource"
    return "primitive" if type_code in definitions.PRIMITIVES else "object"


def _tag(child: Property) -> str:
    namespace = "http://www.w3.org/1999/xhtml" if child.kind == "xhtml" else FHIR
    return f"{namespace} {child.name}"
