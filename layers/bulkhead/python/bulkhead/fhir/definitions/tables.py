"""Row types of the compiled tables, and how they are read: one small file per type, on first use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

DATA = Path(__file__).parent / "data"

ANY_RESOURCE = "Resource"


class Element(msgspec.Struct, frozen=True, omit_defaults=True):
    """One element of a resource type, datatype or backbone element, as its StructureDefinition has it."""

    name: str
    """The name in JSON and XML; for a choice only the stem: `value` for `valueString`, `valueQuantity`, ..."""
    types: tuple[str, ...]
    """Type codes: a primitive ("date"), a datatype ("HumanName"), a backbone element ("Patient.contact", also where the
    specification refers to the content of another element) or "Resource" for a whole resource of any type."""
    min: int = 0
    repeats: bool = False
    """True where it may occur more than once: an array in JSON, even with one item."""
    choice: bool = False
    summary: bool = False
    attribute: bool = False
    """True where XML writes an attribute: ids of elements, and Extension.url. They take no extensions."""
    targets: Mapping[str, tuple[str, ...]] = {}
    """The resource types that a Reference or canonical may point at, by type code; absent means any."""
    binding: str = ""
    """The value set of a required binding, without version."""

    def property_name(self, type_code: str) -> str:
        """The JSON property: `valueQuantity` for the choice `value` and Quantity; the name itself elsewhere."""
        return self.name + type_code[0].upper() + type_code[1:] if self.choice else self.name


class Property(msgspec.Struct, frozen=True):
    """The meaning of one JSON property: its element, and which of the element's types it has."""

    element: Element
    type: str


class ElementTable(msgspec.Struct, frozen=True):
    """The elements of one type in the order that XML and the specification give them."""

    name: str
    elements: tuple[Element, ...]
    properties: Mapping[str, Property]
    """By JSON property name, choices expanded; without `resourceType` and the `_name` companions of primitives."""


class SearchParameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A search parameter as it applies to one resource type."""

    code: str
    url: str
    type: str
    """token, string, date, reference, number, quantity, uri, composite or special."""
    expression: str = ""
    """FHIRPath: only the branches for this resource type, as HL7 wrote them (heads: the type itself, `Resource`,
    `DomainResource`, or an element name). Empty for _text, _content, _query and _filter, which have none."""
    targets: tuple[str, ...] = ()
    """Resource types that a reference may point at."""
    components: tuple[tuple[str, str], ...] = ()
    """For a composite: the url of each component's definition, and its expression within `expression`."""
    comparators: tuple[str, ...] = ()
    """Prefixes that HL7 lists (eq, ne, gt, ...); empty where prefixes do not apply."""


class Constraint(msgspec.Struct, frozen=True, array_like=True):
    """One invariant of severity error."""

    key: str
    """As in the specification: `obs-7`."""
    human: str
    expression: str
    """FHIRPath, as HL7 wrote it."""


class Types(msgspec.Struct, frozen=True):
    """Contents of types.json."""

    resources: tuple[str, ...]
    datatypes: tuple[str, ...]
    primitives: Mapping[str, str]


Shape = TypeVar("Shape")


def load(name: str, shape: type[Shape]) -> Shape:
    return msgspec.json.decode((DATA / name).read_bytes(), type=shape)


@cache
def elements(type_name: str) -> ElementTable:
    """The table of a resource type, a datatype or a backbone element: "Patient", "HumanName", "Patient.contact".

    KeyError for a name that R4 does not have. Types without children of their own (primitives) have no table.
    """
    return element_tables(type_name.partition(".")[0])[type_name]


@cache
def element_tables(type_name: str) -> Mapping[str, ElementTable]:
    path = DATA / f"elements/{type_name}.json"
    if not type_name.isalnum() or not path.exists():
        raise KeyError(type_name)
    rows = load(f"elements/{type_name}.json", dict[str, tuple[Element, ...]])
    return {name: ElementTable(name, table, properties(table)) for name, table in rows.items()}


def properties(table: tuple[Element, ...]) -> dict[str, Property]:
    return {element.property_name(code): Property(element, code) for element in table for code in element.types}


@cache
def all_constraints() -> Mapping[str, tuple[Constraint, ...]]:
    return load("constraints.json", dict[str, tuple[Constraint, ...]])


def constraints(path: str) -> tuple[Constraint, ...]:
    """The invariants about a type, a backbone element or one element: "Period", "Patient.contact", "Organization.address".

    Without ele-1, ext-1, ref-1, txt-1 and those of DomainResource: `fhir.rules` checks these in code.
    """
    return all_constraints().get(path, ())


@cache
def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """Every search parameter of a resource type by code, including the common ones (_id, _lastUpdated, _tag, ...).

    KeyError for a name that is not a concrete resource type of R4.
    """
    path = DATA / f"search_parameters/{resource_type}.json"
    if not resource_type.isalnum() or not path.exists():
        raise KeyError(resource_type)
    rows = load(f"search_parameters/{resource_type}.json", tuple[SearchParameter, ...])
    return {row.code: row for row in rows}


@cache
def compartment_definitions() -> Mapping[str, Mapping[str, Any]]:
    """R4's five CompartmentDefinitions by code, as HL7 has them, without their narratives. Callers must not change them."""
    return load("compartments.json", dict[str, dict[str, Any]])


@cache
def compartment_parameters(code: str) -> Mapping[str, tuple[str, ...]]:
    """R4's CompartmentDefinition with this code: resource type -> codes of search parameters; {} if there is none.

    The parameter `{def}` means the type itself: an Encounter is in its own compartment.
    """
    listed = compartment_definitions().get(code, {}).get("resource", ())
    return {entry["code"]: tuple(entry["param"]) for entry in listed if entry.get("param")}


@cache
def value_sets() -> Mapping[str, Mapping[str, frozenset[str]]]:
    return load("value_sets.json", dict[str, dict[str, frozenset[str]]])


def value_set_systems(url: str) -> Mapping[str, frozenset[str]]:
    """Codes by system of a value set with a required binding; {} where it cannot be enumerated (MIME types, UCUM)."""
    return value_sets().get(url, {})


@cache
def value_set_codes(url: str) -> frozenset[str]:
    """Codes of a value set with a required binding, of all its systems; empty where it cannot be enumerated."""
    return frozenset().union(*value_set_systems(url).values())


@cache
def value_set_composes() -> Mapping[str, Mapping[str, list[dict[str, Any]]]]:
    return load("composes.json", dict[str, dict[str, list[dict[str, Any]]]])


def value_set_compose(url: str) -> Mapping[str, list[dict[str, Any]]] | None:
    """`ValueSet.compose` of one of HL7's value sets, by codes alone; None where HL7 has none with this url."""
    return value_set_composes().get(url)


@cache
def code_systems() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return load("code_systems.json", dict[str, dict[str, tuple[str, ...]]])


def code_system(url: str) -> Mapping[str, tuple[str, ...]]:
    """Each code of one of HL7's code systems, with the codes directly above it ("" at the top); {} for another url."""
    return code_systems().get(url, {})


def code_systems_with(code: str) -> list[str]:
    """The urls of HL7's code systems that have a code."""
    return [url for url, under in code_systems().items() if any(code in codes for codes in under.values())]
