"""PATCH (R4 http.html#patch): from a patch document to a function on resources, and from that to the resource to be stored."""

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
"""A resource as a client sees it -> the same, changed. It may change its argument. Unprocessable where it does not fit."""


def from_resource(resource: Any) -> Patch:
    """The patch in a Parameters (FHIRPath Patch), or in a Binary (JSON Patch, as bundles carry it). BadRequest, with the place."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind == "Parameters":
        return fhirpath_patch.parse(checked(resource, "Parameters", conditional_references=True))
    if kind == "Binary":
        return json_patch.from_binary(checked(resource, "Binary", conditional_references=True), JSON_PATCH)
    raise BadRequest(
        "a patch is a Parameters with FHIRPath Patch, or a Binary with JSON Patch in a bundle", "resourceType"
    )


def from_document(document: dict[str, Any]) -> Patch:
    """The patch in the body of a request: a FHIRPath Patch, or else a JSON Merge Patch. BadRequest, with the place."""
    if not document:
        raise BadRequest("the patch is empty", "body")
    if document.get("resourceType") in ("Parameters", "Binary"):
        return from_resource(document)
    return merge_patch.parse(document)


def patched(
    store: Store, base: Head, change: Patch, *, url: str | None, conditional_references: bool
) -> dict[str, Any]:
    """The valid resource that `change` makes of a live version. InvalidResource; Unprocessable where type or id would change.

    References below `url`, this server's own, become relative. `conditional_references`: whether criteria may stand for a
    reference, because what calls this resolves them.
    """
    before = represent(base, store.decode(base), membership.in_force(store))
    # By way of text: what the patch has put there is of its own document, and the depth is checked.
    after = json.loads(json.dumps(change(json.loads(json.dumps(before)))))
    for name in ("resourceType", "id"):
        if after.get(name) != before[name]:
            raise Unprocessable(f"a patch does not change {name}", f"{base.type}.{name}")
    return checked(after, base.type, base=url, conditional_references=conditional_references)
