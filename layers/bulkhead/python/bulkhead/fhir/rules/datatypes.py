"""Rules beyond the elements of a datatype: targets of references, required bindings of concepts, extensions.

Each one wraps the rule for the datatype's elements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bulkhead.fhir import definitions
from bulkhead.fhir.rules.faults import CODE_INVALID, INVARIANT, STRUCTURE, VALUE, Fault, Faults, Rule, Scope

_LITERAL = re.compile(r"([A-Za-z]+)(?:/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?|\?.+)", re.DOTALL)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.")
CONDITIONAL_MESSAGE = "a conditional reference is allowed only in a bundle: use Type/id, an absolute URL or #id"
_TYPE_PREFIX = "http://hl7.org/fhir/StructureDefinition/"


def reference_rule(elements: Rule, targets: tuple[str, ...]) -> Rule:
    """The rule for a Reference to `targets`; () means any resource type.

    The reference itself tells its type: `Type/id`, `Type?criteria`, or Reference.type. Absolute URLs of other servers, `urn:`
    and `#contained` do not tell their type, so they pass.
    """
    allowed = frozenset(targets) or definitions.RESOURCE_TYPES

    def check(value: Any, scope: Scope) -> Faults | None:
        found = elements(value, scope)
        if type(value) is not dict:
            return found
        reference, declared = value.get("reference"), value.get("type")
        if type(reference) is str and declared is None:
            literal = _LITERAL.fullmatch(reference)
            if literal and literal[1] in allowed and (scope.conditional or "?" not in reference):
                return found
        result = _reference_faults(reference, declared, allowed, scope=scope)
        return [*(found or ()), *result] if result else found

    return check


def _reference_faults(reference: Any, declared: Any, allowed: frozenset[str], *, scope: Scope) -> Faults:
    found: Faults = []
    named = None
    if isinstance(reference, str) and reference:
        literal = _LITERAL.fullmatch(reference.removeprefix(scope.base))
        if literal:
            named = literal[1]
            found += _target_faults(named, allowed, ".reference")
            if not found and "?" in reference and not scope.conditional:
                found.append(Fault(VALUE, CONDITIONAL_MESSAGE, ".reference"))
        elif reference.startswith("#"):
            scope.fragments.add(reference[1:])
        elif not _ABSOLUTE.match(reference):
            found.append(Fault(VALUE, "must be Type/id, an absolute URL or #id", ".reference"))
    if isinstance(declared, str) and (":" not in declared or declared.startswith(_TYPE_PREFIX)):
        declared_type = declared.removeprefix(_TYPE_PREFIX)
        found += _target_faults(declared_type, allowed, ".type")
        if named in definitions.RESOURCE_TYPES and named != declared_type:
            found.append(Fault(INVARIANT, "must agree with the type in the reference", ".type"))
    return found


def _target_faults(named: str, allowed: frozenset[str], path: str) -> Faults:
    if named in allowed:
        return []
    if named not in definitions.RESOURCE_TYPES:
        return [Fault(VALUE, "must name a resource type of R4", path)]
    return [Fault(STRUCTURE, f"must refer to {' or '.join(sorted(allowed))}, not to {named}", path)]


def bound_concept_rule(elements: Rule, value_set: str) -> Rule:
    """The rule for a CodeableConcept with a required binding: one of its codings must be in the value set.

    A concept that has an extension instead (data-absent-reason) passes.
    """
    systems = definitions.value_set_systems(value_set)
    fault = [Fault(CODE_INVALID, f"no coding is in the required value set {value_set}")]

    def check(value: Any, scope: Scope) -> Faults | None:
        found = elements(value, scope)
        if found or type(value) is not dict:
            return found
        if any(_is_coded(coding, systems) for coding in value.get("coding", ())):
            return None
        return None if "extension" in value and "coding" not in value else fault

    return check


def _is_coded(coding: Mapping[str, Any], systems: Mapping[str, frozenset[str]]) -> bool:
    return coding.get("code", "") in systems.get(coding.get("system", ""), ())


def extension_rule(elements: Rule) -> Rule:
    """The rule for an Extension: it has a value or extensions of its own, not both (ext-1)."""

    def check(value: Any, scope: Scope) -> Faults | None:
        found = elements(value, scope)
        if type(value) is dict:
            has_value = any(key.startswith(("value", "_value")) for key in value)
            if has_value == ("extension" in value):
                message = "must have either a value or extensions (ext-1)"
                return [*(found or ()), Fault(INVARIANT, message)]
        return found

    return check
