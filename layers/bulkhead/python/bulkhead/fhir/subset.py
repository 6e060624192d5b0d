"""Parts of a resource: `_summary` and `_elements` (R4 search.html#summary, #elements). Pure: what comes in is never changed.

What is left keeps its mandatory elements, so that it still is a resource of its type, and is tagged SUBSETTED: a client
must not send it back as an update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from bulkhead.errors import BadRequest
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, Element

SUMMARY_MODES = ("true", "text", "data", "count", "false")
"""The values of `_summary`. `count` is for searches: it leaves no resource to cut down."""

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}

_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
# Of these types nothing is marked as summary, or the mark is of no use: they are kept as they are.
_WHOLE = frozenset({"Extension", "Meta", "Narrative", ANY_RESOURCE})

_Keep = Callable[[Element], bool]


def summary(resource: dict[str, Any], mode: str) -> dict[str, Any]:
    """The resource as `_summary` wants it: `true` the elements marked so by R4, at every depth; `text` narrative and mandatory
    elements; `data` all but the narrative; `false` the resource itself. BadRequest for any other mode.
    """
    if mode == "false":
        return resource
    if mode == "data":
        return _tagged({name: value for name, value in resource.items() if name not in ("text", "_text")})
    if mode == "text":
        return _tagged(_top_level(resource, lambda element: element.name == "text"))
    if mode == "true":
        return _tagged(_summarised(resource, resource["resourceType"]))
    raise BadRequest(f"_summary is one of {', '.join(SUMMARY_MODES)}; count is for searches", "_summary")


def elements(resource: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The resource with only these top-level elements, and those that may not be missing: mandatory, modifying, id and meta.

    A name is an element's ("value", also "value[x]" or "valueQuantity"), with or without its type before it
    ("Observation.value", which other types pass over). Of a deeper path, the top-level element is kept. Unknown names match nothing.
    """
    wanted = {name for given in names if (name := _element_name(given.strip(), resource["resourceType"]))}
    return _tagged(
        _top_level(
            resource,
            lambda element: (
                element.name in wanted or any(element.property_name(code) in wanted for code in element.types)
            ),
        )
    )


def _element_name(name: str, resource_type: str) -> str | None:
    head, _, rest = name.partition(".")
    if head[:1].isupper():
        if head != resource_type:
            return None
        head = rest.partition(".")[0]
    return head.removesuffix("[x]")


def _top_level(resource: dict[str, Any], keep: _Keep) -> dict[str, Any]:
    properties = definitions.elements(resource["resourceType"]).properties

    def kept(name: str) -> bool:
        known = properties.get(name.removeprefix("_"))
        return name in _ALWAYS or (known is not None and (known.element.min > 0 or keep(known.element)))

    return {name: value for name, value in resource.items() if kept(name)}


def _summarised(value: dict[str, Any], type_name: str) -> dict[str, Any]:
    """The summary elements of an object, each cut down in turn."""
    kept = _summary_properties(type_name)
    content = {}
    for name, child in value.items():
        if name in _ALWAYS:
            content[name] = child
            continue
        child_type = kept.get(name.removeprefix("_"))
        if child_type is None:
            continue
        whole = name.startswith("_") or child_type in _WHOLE or child_type in definitions.PRIMITIVES
        content[name] = child if whole else _summarised_each(child, child_type)
    return content


def _summarised_each(value: Any, type_name: str) -> Any:
    if isinstance(value, list):
        return [_summarised_each(item, type_name) for item in value]
    # An object that would be empty is not valid FHIR: it is left as it is.
    return (_summarised(value, type_name) or value) if isinstance(value, dict) else value


@cache
def _summary_properties(type_name: str) -> dict[str, str]:
    """JSON properties of a type that a summary has, and their types."""
    return {
        name: known.type
        for name, known in definitions.elements(type_name).properties.items()
        if known.element.summary or known.element.min or known.element.attribute
    }


def _tagged(resource: dict[str, Any]) -> dict[str, Any]:
    meta = resource.get("meta", {})
    tags = [tag for tag in meta.get("tag", ()) if tag.get("code") != "SUBSETTED"]
    first = {"resourceType": resource["resourceType"]} | ({"id": resource["id"]} if "id" in resource else {})
    return first | {"meta": meta | {"tag": [*tags, SUBSETTED]}} | {k: v for k, v in resource.items() if k != "meta"}
