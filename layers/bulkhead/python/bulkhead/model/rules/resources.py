"""Rules for whole resources, and for resources within resources."""

from __future__ import annotations

from typing import Any

from bulkhead import definitions
from bulkhead.model import references
from bulkhead.model.rules.elements import object_rule
from bulkhead.model.rules.faults import INVARIANT, REQUIRED, STRUCTURE, VALUE, Fault, Faults, Scope


def resource_rule(value: Any, _: Scope) -> Faults | None:
    """A resource that stands on its own: the root, Bundle.entry.resource, Parameters.parameter.resource."""
    scope = Scope()
    found = _typed_resource_faults(value, scope)
    if isinstance(value, dict) and (scope.fragments or "contained" in value):
        found = [*found, *_contained_id_faults(value, scope)]
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
    return object_rule(type_name)(value, scope) or []


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
