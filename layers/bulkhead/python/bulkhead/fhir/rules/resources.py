"""Rules for whole resources, and for resources within resources."""

from __future__ import annotations

from typing import Any

from bulkhead.fhir import definitions, references
from bulkhead.fhir.invariants.values import descendants
from bulkhead.fhir.rules.elements import object_rule
from bulkhead.fhir.rules.faults import INVARIANT, REQUIRED, STRUCTURE, VALUE, Fault, Faults, Scope


def resource_rule(value: Any, outer: Scope) -> Faults | None:
    """A resource within another, that stands on its own: Bundle.entry.resource, Parameters.parameter.resource."""
    return root_faults(value, Scope(conditional=True, base=outer.base))


def root_faults(value: Any, scope: Scope) -> Faults | None:
    """The faults of a resource that stands on its own. `scope` is its own, and new."""
    found = _typed_resource_faults(value, scope)
    if isinstance(value, dict) and (scope.fragments or "contained" in value):
        found = [*found, *_contained_id_faults(value, scope)] or _unused(value, scope)
    return found


def contained_rule(value: Any, scope: Scope) -> Faults | None:
    """A contained resource, in the scope of the resource that contains it (dom-2, dom-4, dom-5)."""
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
            found.append(Fault(INVARIANT, f"a contained resource must not have it ({key})", f".meta.{name}"))
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
    """Ids of contained resources: each once, and one for every `#id` referred to (ref-1)."""
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
    """Contained resources that nothing refers to by `#id`, a canonical or a uri, and that do not refer to what contains them (dom-3).

    `resource` is valid otherwise.
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
    head = str(resource.get("resourceType"))
    return [
        Fault(
            INVARIANT,
            "refers to a contained resource that is not there (ref-1)",
            f"{path.removeprefix(head)}.reference",
        )
        for path, reference in references.walk(resource)
        if _fragment(reference) not in {None, "", *ids}
    ]


def _fragment(reference: dict[str, Any]) -> str | None:
    value = reference.get("reference")
    return value[1:] if isinstance(value, str) and value.startswith("#") else None
