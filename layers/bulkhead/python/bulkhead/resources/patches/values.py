"""The value of a FHIRPath Patch operation: `value[x]`, or parts for an element of a type that value[x] does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulkhead.errors import BadRequest
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import Element
from bulkhead.resources.patches.places import element_of


@dataclass(frozen=True, slots=True)
class Value:
    """The value that an operation sets. `suffix` is that of `value[x]`: "HumanName"; "" for parts. `companion` goes to `_name`."""

    content: Any
    suffix: str
    companion: Any = None
    parts: tuple[dict[str, Any], ...] = ()

    def for_element(self, element: Element) -> tuple[str, Any]:
        """The property and the content of this value as an `element`. BadRequest where a choice does not have the type."""
        codes = [code for code in element.types if code[0].upper() + code[1:] == self.suffix]
        if element.choice and not codes:
            raise BadRequest("the element does not take a value of this type", "value")
        code = codes[0] if codes else element.types[0]
        if not self.parts:
            return element.property_name(code), self.content
        if code in definitions.PRIMITIVES:
            raise BadRequest("give a value of this type as value[x], not by parts", "value")
        return element.property_name(code), _built(code, self.parts)


def value_of(part: dict[str, Any]) -> Value:
    """The value in a parameter of a valid Parameters. BadRequest if it has none."""
    if part.get("part"):
        return Value(None, "", None, tuple(part["part"]))
    for key, content in part.items():
        if key.startswith("value"):
            return Value(content, key.removeprefix("value"), part.get(f"_{key}"))
    for key, content in part.items():
        if key.startswith("_value"):
            return Value(None, key.removeprefix("_value"), content)
    if "resource" in part:
        return Value(part["resource"], "Resource")
    raise BadRequest("the operation must have a value", "value")


def _built(type_name: str, parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """A backbone element, or an Extension, which has no value[x] of its own in R4: each part sets the element of the same name."""
    made: dict[str, Any] = {}
    for part in parts:
        element = element_of(type_name, part["name"], "value")
        value = value_of(part)
        key, content = value.for_element(element)
        if element.repeats:
            made.setdefault(key, []).append(content)
        elif key in made:
            raise BadRequest(f"{type_name}.{element.name} occurs twice", "value")
        else:
            made[key] = content
        if value.companion is not None and not element.repeats:
            made[f"_{key}"] = value.companion
    return {key: content for key, content in made.items() if content is not None}
