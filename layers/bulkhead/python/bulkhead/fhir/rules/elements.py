"""Rules for JSON objects: they check a resource, a datatype or a backbone element, property by property, by its element table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, Element
from bulkhead.fhir.rules.datatypes import bound_concept_rule, extension_rule, reference_rule
from bulkhead.fhir.rules.faults import INVARIANT, MAXIMUM_FAULTS, REQUIRED, STRUCTURE, Fault, Faults, Rule, Scope
from bulkhead.fhir.rules.guests import EXTRA_ELEMENTS, OPEN_CODES, R5_CONCEPTS, r5_concept_rule
from bulkhead.fhir.rules.invariants import Invariant, broken, invariant_rule, invariants_of
from bulkhead.fhir.rules.primitives import NULL_MESSAGE, bound_code_rule, element_id, primitive_rule

_PROPERTY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class _Property(NamedTuple):
    """The check of one JSON property."""

    bit: int
    """One bit for each element of the type, the same for all alternatives of a choice."""
    rule: Rule
    element: Element
    extensible: bool
    """True for primitives, which may have a companion `_name` with their id and extensions."""


class _Table(NamedTuple):
    """One type, ready for checking."""

    properties: Mapping[str, _Property]
    required: Mapping[int, str]
    required_bits: int
    is_resource: bool
    invariants: tuple[Invariant, ...]


@cache
def object_rule(type_name: str) -> Rule:
    """The rule for a JSON object of a type with an element table; for resources it includes `resourceType`."""
    table: _Table | None = None

    def check(value: Any, scope: Scope) -> Faults | None:
        # The first use compiles the table: types refer to themselves (Extension.extension), and most are never used.
        nonlocal table
        if type(value) is not dict:
            return [Fault(STRUCTURE, NULL_MESSAGE if value is None else "must be a JSON object")]
        if table is None:
            table = _compile(type_name)
        properties, required, required_bits, is_resource, invariants = table
        found: Faults = []
        seen = clashing = 0
        for key, content in value.items():
            known = properties.get(key)
            if known is None:
                if is_resource and key == "resourceType":
                    continue
                bit, faults = _irregular(properties, value, key, scope=scope)
            else:
                bit, rule, _, _ = known
                faults = rule(content, scope)
                if faults:
                    faults = _explained(faults, known, content, companion=value.get("_" + key))
            clashing |= seen & bit
            seen |= bit
            if faults:
                found += faults if known is None else [fault.under("." + known.element.name) for fault in faults]
                if len(found) > MAXIMUM_FAULTS:
                    return found
        if clashing:
            found += _given_twice(properties, value, clashing)
        if required_bits & ~seen:
            found += [Fault(REQUIRED, "is required", "." + name) for bit, name in required.items() if not bit & seen]
        if len(value) < 2 and not is_resource and (not value or "id" in value):
            found.append(Fault(INVARIANT, "must have a value or children (ele-1)"))
        # Invariants expect values of the right form.
        if invariants and not found:
            return broken(invariants, value, scope)
        return found or None

    return check


def _compile(type_name: str) -> _Table:
    elements = definitions.elements(type_name).elements + EXTRA_ELEMENTS.get(type_name, ())
    properties: dict[str, _Property] = {}
    required: dict[int, str] = {}
    for position, element in enumerate(elements):
        bit = 1 << position
        for code in element.types:
            extensible = code in definitions.PRIMITIVES and not element.attribute
            rule = _element_rule(type_name, element, code)
            properties[element.property_name(code)] = _Property(bit, rule, element, extensible)
        if element.choice and (type_name, element.name) in R5_CONCEPTS:
            rule = r5_concept_rule(object_rule("CodeableConcept"))
            properties[element.name] = _Property(bit, rule, element, extensible=False)
        if element.min:
            required[bit] = element.name
    return _Table(
        properties,
        required,
        sum(required),
        type_name in definitions.RESOURCE_TYPES,
        invariants_of(type_name, type_name),
    )


# --- One element


def _element_rule(type_name: str, element: Element, code: str) -> Rule:
    rule = primitive_rule(code) if (type_name, element.name) in OPEN_CODES else _value_rule(element, code)
    if not element.choice and (type_name, element.name) in R5_CONCEPTS:
        rule = r5_concept_rule(object_rule("CodeableConcept"), rule)
    path = f"{type_name}.{element.name}"
    if path != code:
        rule = invariant_rule(rule, invariants_of(path, code))
    return _repeating(rule) if element.repeats else rule


def _value_rule(element: Element, code: str) -> Rule:
    if element.attribute and element.name == "id":
        return element_id
    if code in definitions.PRIMITIVES:
        bound = code == "code" and definitions.value_set_codes(element.binding)
        return bound_code_rule(element.binding) if bound else primitive_rule(code)
    if code == ANY_RESOURCE:
        from bulkhead.fhir.rules.resources import contained_rule, resource_rule

        return contained_rule if element.name == "contained" else resource_rule
    rule = object_rule(code)
    if code == "Reference":
        return reference_rule(rule, element.targets.get(code, ()))
    if code == "Extension":
        return extension_rule(rule)
    if code == "CodeableConcept" and definitions.value_set_codes(element.binding):
        return bound_concept_rule(rule, element.binding)
    return rule


def _repeating(rule: Rule) -> Rule:
    def check(value: Any, scope: Scope) -> Faults | None:
        if type(value) is not list:
            return [Fault(STRUCTURE, NULL_MESSAGE if value is None else "must be a JSON array")]
        if not value:
            return [Fault(STRUCTURE, "must not be an empty array")]
        found: Faults = []
        for position, item in enumerate(value):
            faults = rule(item, scope)
            if faults:
                found += [fault.under(f"[{position}]") for fault in faults]
                if len(found) > MAXIMUM_FAULTS:
                    break
        return found or None

    return check


# --- Cases that one pass over the properties cannot settle


def _irregular(
    properties: Mapping[str, _Property], value: Mapping[str, Any], key: str, *, scope: Scope
) -> tuple[int, Faults | None]:
    """Checks a property that is no element: the companion of a primitive, or a fault. Returns the bit of the element, if any."""
    known = properties.get(key[1:]) if key.startswith("_") else None
    if known is None or not known.extensible:
        return 0, [_unknown(key)]
    path = "." + known.element.name
    companion, plain = value[key], value.get(key[1:])
    if not known.element.repeats:
        return known.bit, [
            fault.under(path) for fault in _companion_faults(companion, has_value=plain is not None, scope=scope)
        ]
    return known.bit, [fault.under(path) for fault in _companions_faults(companion, plain, scope)]


def _unknown(key: str) -> Fault:
    """The fault of an unknown property. It repeats only a name that looks like an element's, because any text may be there."""
    shown = _PROPERTY_NAME.fullmatch(key)
    return Fault(
        STRUCTURE,
        "is not an element of R4 here" if shown else "has a property that R4 does not have",
        f".{key}" if shown else "",
    )


def _companion_faults(companion: Any, *, has_value: bool, scope: Scope) -> Faults:
    """`_birthDate` beside `birthDate`: an object with id and extensions; an id alone only beside a value (ele-1)."""
    if has_value and isinstance(companion, dict) and companion.keys() == {"id"}:
        return [fault.under(".id") for fault in element_id(companion["id"], scope) or ()]
    return object_rule("Element")(companion, scope) or []


def _companions_faults(companions: Any, values: Any, scope: Scope) -> Faults:
    """`_given` beside `given`: an array of the same length, null where the value has no extension."""
    if type(companions) is not list or not companions:
        return [Fault(STRUCTURE, "the id and extensions of an array must be an array that is not empty")]
    plain = values if isinstance(values, list) else [None] * len(companions)
    found: Faults = []
    if len(plain) != len(companions):
        found.append(Fault(STRUCTURE, "the arrays of values and of their extensions must have the same length"))
    for position, (companion, value) in enumerate(zip(companions, plain, strict=False)):
        if companion is not None:
            faults = _companion_faults(companion, has_value=value is not None, scope=scope)
            found += [fault.under(f"[{position}]") for fault in faults]
        elif values is None:
            found.append(Fault(INVARIANT, "must have a value or extensions (ele-1)", f"[{position}]"))
        if len(found) > MAXIMUM_FAULTS:
            break
    return found


def _explained(faults: Faults, known: _Property, content: Any, *, companion: Any) -> Faults:
    """The faults of a property, without those for nulls that mark a value with extensions only."""
    if type(content) is list and not known.element.repeats:
        return [Fault(STRUCTURE, "must not be an array: it occurs once at most")]
    if not known.extensible or type(companion) is not list:
        return faults
    explained = {f"[{position}]" for position, item in enumerate(companion) if item is not None}
    return [fault for fault in faults if fault.message != NULL_MESSAGE or fault.path not in explained]


def _given_twice(properties: Mapping[str, _Property], value: Mapping[str, Any], clashing: int) -> Faults:
    """Faults for choices that have two types. (A primitive and its companion share a bit too: that is no fault.)"""
    alternatives: dict[str, set[str]] = {}
    for key in value:
        name = key.removeprefix("_")
        known = properties.get(name)
        if known is not None and known.bit & clashing:
            alternatives.setdefault(known.element.name, set()).add(name)
    return [
        Fault(STRUCTURE, f"must have one type only, not {' and '.join(sorted(names))}", "." + element)
        for element, names in alternatives.items()
        if len(names) > 1
    ]
