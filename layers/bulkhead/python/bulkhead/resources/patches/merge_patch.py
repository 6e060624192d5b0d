"""JSON Merge Patch (RFC 7396): Aidbox accepts it for a PATCH in plain JSON, so its clients send it (fhirpy)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MEDIA_TYPE = "application/merge-patch+json"


def parse(document: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The patch in `document`: its members replace those of the resource, null removes a member, objects are merged."""
    return lambda resource: merged(resource, document)


def merged(target: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The result of MergePatch(target, document) in RFC 7396, section 2."""
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in document.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value) if isinstance(value, dict) else value
    return result
