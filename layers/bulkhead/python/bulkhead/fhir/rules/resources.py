"""Rules for whole resources, and for resources within resources."""

from __future__ import annotations

from typing import Any

from bulkhead.fhir import definitions, references
from bulkhead.fhir.invariants.values import descendants
from bulkhead.fhir.rules.elements import object_rule
from bulkhead.fhir.rules.faults import INVARIANT, REQUIRED, STRUCTURE, VALUE, Fault, Faults, Scope


def resource_rule(value: Any, outer: Scope) -> Faults | None:
    """Checks an independent resource inside another: Bundle.entry.resource, Parameters.parameter.resource."""
    return root_faults(value, Scope(conditional=True, base=outer.base))


def root_faults(value: Any, scope: Scope) -> Faults | None:
    """The faults of an independent resource. `scope` is new and belongs to this resource."""
    found = _typed_resource_faults(value, scope)
    if isinstance(value, dict) and (scope.fragments or "contained" in value):
        found = [*found, *_contained_id_faults(value, scope)] or _unused(value, scope)
    return found


def contained_rule(value: Any, scope: Scope) -> Faults | None:
    """Checks a contained resource in the scope of its container (dom-2, dom-4, dom-5)."""
    found = _typed_resource_faults(value, scope)
    if not isinstance(value, dict):
        return found
    found = list(found)
    if "contained" in value:
        found.append(Fault(INVARIANT, "a contained resource must not contain others (dom-2)", ".contained"))
    if "id" not in value:
        found.append(Fault(REQUIRED, "a contained resource must have an id", ".id"))
    meta = value.get("meta")
    for name, key in (("versionId", "dom-4"), ("lastUpdated", "dom-4"), ("security", "dom-5")):
        if isinstance(meta, dict) and name in meta:
            found.append(Fault(INVARIANT, f"a contained resource must not have this element ({key})", f".meta.{name}"))
    return found


def _typed_resource_faults(value: Any, scope: Scope) -> Faults:
    if not isinstance(value, dict):
        return [Fault(STRUCTURE, "must be a resource: a JSON object with resourceType")]
    if "resourceType" not in value:
        return [Fault(REQUIRED, "is required", ".resourceType")]
    type_name = value["resourceType"]
    if not isinstance(type_name, str) or type_name not in definitions.RESOURCE_TYPES:
        return [Fault(VALUE, "must name a resource type of R4", ".resourceType")]
    outer, ids = scope.resource, scope.ids
    scope.resource, scope.ids = value, set()
    found = object_rule(type_name)(value, scope) or []
    scope.resource, scope.ids = outer, ids
    return found


def _contained_id_faults(resource: dict[str, Any], scope: Scope) -> Faults:
    """Faults in the ids of contained resources: an id that occurs twice, a `#id` that no contained resource has (ref-1)."""
    contained = resource.get("contained")
    found: Faults = []
    ids: set[str] = set()
    for position, item in enumerate(contained if isinstance(contained, list) else ()):
        identity = item.get("id") if isinstance(item, dict) else None
        if isinstance(identity, str):
            if identity in ids:
                found.append(Fault(INVARIANT, "another contained resource has this id", f".contained[{position}].id"))
            ids.add(identity)
    # "#" alone is the containing resource itself.
    if scope.fragments - ids - {""}:
        found += _dangling(resource, ids)
    return found


def _unused(resource: dict[str, Any], scope: Scope) -> Faults:
    """Contained resources without any use: no `#id`, canonical or uri refers to them, and they do not refer to the container (dom-3).

    `resource` has no other fault.
    """
    found: Faults = []
    contained = resource.get("contained", ())
    if all(item["id"] in scope.fragments for item in contained):
        return found
    named = {value for value in descendants(resource) if type(value) is str and value.startswith("#")}
    for position, item in enumerate(contained):
        if f"#{item['id']}" not in named and "#" not in descendants(item):
            message = "a contained resource must be referred to from elsewhere in the resource (dom-3)"
            found.append(Fault(INVARIANT, message, f".contained[{position}]"))
    return found


def _dangling(resource: dict[str, Any], ids: set[str]) -> Faults:
    head, known = str(resource.get("resourceType")), {None, "", *ids}
    return [
        Fault(
            INVARIANT,
            "refers to a contained resource that does not exist (ref-1)",
            f"{path.removeprefix(head)}.reference",
        )
        for path, reference in references.walk(resource)
        if _fragment(reference) not in known
    ]


def _fragment(reference: dict[str, Any]) -> str | None:
    value = reference.get("reference")
    return value[1:] if isinstance(value, str) and value.startswith("#") else None
