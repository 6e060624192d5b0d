"""`Binary.securityContext` (R4 binary.html): the resource whose readers may read the Binary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bulkhead.fhir import references

BINARY = "Binary"
SECURITY_CONTEXT = "Binary.securityContext"
"""The path of the element, which has no search parameter: by-target knows the reference by it."""


def context_of(resource: Mapping[str, Any]) -> str | None:
    """The resource (`DocumentReference/1`) that a Binary follows.

    None where it names none of this server: a version, another server, an identifier and a contained resource are no context.
    """
    text = reference_of(resource)
    return text if text and references.local(text) == text else None


def reference_of(resource: Mapping[str, Any]) -> str | None:
    """What the element says, whatever that is; None where a Binary has none."""
    context = resource.get("securityContext")
    text = context.get("reference") if isinstance(context, Mapping) else None
    return text if isinstance(text, str) else None


def followed(key: str, targets: Mapping[str, frozenset[str]]) -> str | None:
    """The same, by what the index knows of a resource (`index_facts.targets`)."""
    if not key.startswith(f"{BINARY}/"):
        return None
    return next((target for target, via in targets.items() if SECURITY_CONTEXT in via), None)
