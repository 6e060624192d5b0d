"""Parts of a resource: `_summary` and `_elements` (R4 search.html#summary, #elements). The functions never change their input.

A part keeps its mandatory elements, so that it stays a valid resource of its type. It has the tag SUBSETTED: a client must
not send it back as an update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from bulkhead.errors import BadRequest
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, Element

SUMMARY_MODES = ("true", "text", "data", "count", "false")
"""The values of `_summary`. `count` is for searches: it returns no resources."""

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}

_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
# R4 marks nothing in these types as summary, or the marks are of no use: they stay whole.
_WHOLE = frozenset({"Extension", "Meta", "Narrative", ANY_RESOURCE})

_Keep = Callable[[Element], bool]


def summary(resource: dict[str, Any], mode: str) -> dict[str, Any]:
    """The resource as `_summary` asks for it. `true`: the elements that R4 marks so, at every depth; `text`: narrative and mandatory
    elements; `data`: all but the narrative; `false`: the resource itself. BadRequest for any other mode.
    """
    if mode == "false":
        return resource
    if mode == "data":
        return _tagged({name: value for name, value in resource.items() if name not in ("text", "_text")})
    if mode == "text":
        return _tagged(_top_level(resource, lambda element: element.name == "text"))
    if mode == "true":
        return _tagged(_summarised(resource, resource["resourceType"]))
    raise BadRequest(f"_summary must be one of {', '.join(SUMMARY_MODES)}; count is only for searches", "_summary")


def elements(resource: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The resource with only these top-level elements, and those that it needs: mandatory ones, modifiers, id and meta.

    A name is an element's ("value", also "value[x]" or "valueQuantity"), optionally after its type
    ("Observation.value", which other types ignore). A deeper path selects its top-level element. Unknown names match nothing.
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
    """The summary elements of an object, each reduced in turn."""
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
    # An empty object is not valid FHIR, so an object without summary elements stays whole.
    return (_summarised(value, type_name) or value) if isinstance(value, dict) else value


@cache
def _summary_properties(type_name: str) -> dict[str, str]:
    """The JSON properties in a type's summary, with their types."""
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
