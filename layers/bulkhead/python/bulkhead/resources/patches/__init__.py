"""PATCH (R4 http.html#patch): turns a patch document into a function on resources, and applies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bulkhead.compartments import membership
from bulkhead.errors import BadRequest, Unprocessable
from bulkhead.fhir import json
from bulkhead.resources.patches import fhirpath_patch, json_patch, merge_patch
from bulkhead.resources.preparation import checked
from bulkhead.resources.representation import represent

if TYPE_CHECKING:
    from bulkhead.store import Head, Store

__all__ = ["JSON_PATCH", "Patch", "from_document", "from_resource", "json_patch", "merge_patch", "patched"]

JSON_PATCH = "application/json-patch+json"

Patch = Callable[[dict[str, Any]], dict[str, Any]]
"""Maps a resource in the form that a client sees to the patched one. It may change its argument. Unprocessable where it does not fit."""


def from_resource(resource: Any) -> Patch:
    """The patch in a Parameters (FHIRPath Patch), or in a Binary (JSON Patch, as in a bundle). BadRequest, with the place."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind == "Parameters":
        return fhirpath_patch.parse(checked(resource, "Parameters", conditional_references=True))
    if kind == "Binary":
        return json_patch.from_binary(checked(resource, "Binary", conditional_references=True), JSON_PATCH)
    raise BadRequest(
        "a patch must be a Parameters with FHIRPath Patch, or in a bundle a Binary with JSON Patch", "resourceType"
    )


def from_document(document: dict[str, Any]) -> Patch:
    """The patch in the body of a request: a FHIRPath Patch, otherwise a JSON Merge Patch. BadRequest, with the place."""
    if not document:
        raise BadRequest("the patch is empty", "body")
    if document.get("resourceType") in ("Parameters", "Binary"):
        return from_resource(document)
    return merge_patch.parse(document)


def patched(
    store: Store, base: Head, change: Patch, *, url: str | None, conditional_references: bool
) -> dict[str, Any]:
    """The valid resource that `change` makes of a live version. InvalidResource; Unprocessable if type or id would change.

    References below `url`, this server's own, become relative. `conditional_references`: whether references may have criteria,
    because the caller of this function resolves them.
    """
    before = represent(store.version(base), membership.in_force(store))
    # Through text: the result shares no objects with the patch document, and `loads` checks the depth.
    after = json.loads(json.dumps(change(json.loads(json.dumps(before)))))
    for name in ("resourceType", "id"):
        if after.get(name) != before[name]:
            raise Unprocessable(f"a patch cannot change {name}", f"{base.type}.{name}")
    return checked(after, base.type, base=url, conditional_references=conditional_references)
