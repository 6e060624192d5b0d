"""References between resources (R4 references.html): which ones point to this server, and where a resource has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bulkhead.fhir import definitions

_LOCAL = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?")


def local(reference: str) -> str | None:
    """ "Patient/1" for "Patient/1" and "Patient/1/_history/2".

    None for a text that names no resource of this server by id: absolute URLs, `#contained`, `urn:`, conditional references
    (`Patient?identifier=...`), and types that R4 does not have.
    """
    match = _LOCAL.fullmatch(reference)
    return f"{match[1]}/{match[2]}" if match and match[1] in definitions.RESOURCE_TYPES else None


def canonical(text: str) -> tuple[str, str | None, str | None]:
    """`http://e/Q|1.0#part` -> ("http://e/Q", "1.0", "part"): url, version and fragment of a canonical (R4 references.html#canonical).

    None for a part that is absent; a version may be "". A text that begins with `#` is contained: a fragment without a url.
    """
    text, hash_sign, fragment = text.partition("#")
    url, bar, version = text.partition("|")
    return url, version if bar else None, fragment if hash_sign else None


def canonical_url(text: str) -> str:
    """The url of a canonical, without version and fragment; `#` for a contained one."""
    return text.partition("#")[0].partition("|")[0] or "#"


def relative(reference: str, base: str) -> str:
    """`Patient/1` for that URL below `base` (which ends in a slash); any other reference as it is."""
    below = reference.removeprefix(base)
    return below if local(below) else reference


def walk(resource: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Reference in a resource with its FHIRPath ("Observation.performer[0]"), in document order.

    Those in extensions, in contained resources, in the entries of a Bundle and in other references (the assigner of an
    identifier) are included; unknown elements are skipped. The dicts are the resource's own: changing one
    changes the resource.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    _collect_resource(resource, None, found)
    return iter(found)


def _collect_resource(value: dict[str, Any], path: str | None, found: list[tuple[str, dict[str, Any]]]) -> None:
    type_name = value.get("resourceType")
    if isinstance(type_name, str) and type_name in definitions.RESOURCE_TYPES:
        _collect(value, type_name, path or type_name, found=found)


def _collect(value: dict[str, Any], type_name: str, path: str, *, found: list[tuple[str, dict[str, Any]]]) -> None:
    properties = definitions.elements(type_name).properties
    for name, content in value.items():
        kind = type(content)
        if kind is not dict and kind is not list:
            continue
        known = properties.get(name)
        child_type = known.type if known else ""
        if known is None and name.startswith("_"):
            # `_birthDate` holds the id and the extensions of the primitive `birthDate`.
            known, child_type = properties.get(name[1:]), "Element"
        if known is None or child_type in definitions.PRIMITIVES:
            continue
        child_path = f"{path}.{known.element.name}"
        if kind is dict:
            _collect_child(content, child_type, child_path, found=found)
            continue
        for position, item in enumerate(content):
            if type(item) is dict:
                _collect_child(item, child_type, f"{child_path}[{position}]", found=found)


def _collect_child(
    value: dict[str, Any], type_name: str, path: str, *, found: list[tuple[str, dict[str, Any]]]
) -> None:
    if type_name == definitions.ANY_RESOURCE:
        _collect_resource(value, path, found)
        return
    if type_name == "Reference":
        found.append((path, value))
    _collect(value, type_name, path, found=found)
