"""FHIRPath Patch (R4 fhirpatch.html): a Parameters whose `operation`s add, insert, delete, replace and move elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from bulkhead.errors import BadRequest, BulkheadError, Issue, Unprocessable
from bulkhead.resources.patches import places
from bulkhead.resources.patches.limits import MOST_OPERATIONS, Visits
from bulkhead.resources.patches.places import Place
from bulkhead.resources.patches.values import Value, value_of

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as its parts describe it."""

    kind: str
    path: str
    name: str = ""
    value: Value | None = None
    index: int = 0
    source: int = 0
    destination: int = 0

    @property
    def given(self) -> Value:
        assert self.value is not None
        return self.value


_PARTS: Mapping[str, tuple[str, ...]] = {
    "add": ("path", "name", "value"),
    "insert": ("path", "value", "index"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
_TYPES = {
    "type": ("valueCode", "valueString"),
    "path": ("valueString",),
    "name": ("valueString",),
    "index": ("valueInteger",),
    "source": ("valueInteger",),
    "destination": ("valueInteger",),
}


def parse(parameters: Resource) -> Callable[[Resource], Resource]:
    """The patch in a valid Parameters. BadRequest, naming the operation, if it is not a FHIRPath Patch.

    The patch raises Unprocessable where a path leads to no element, or to several where one is needed, TooCostly where
    its paths visit too many elements.
    """
    given = parameters.get("parameter", [])
    if not given:
        raise BadRequest("a FHIRPath Patch must have at least one operation", "Parameters.parameter")
    if len(given) > MOST_OPERATIONS:
        raise BadRequest(f"a patch may have at most {MOST_OPERATIONS} operations", "Parameters.parameter")
    operations = [_placed(n, _operation, part) for n, part in enumerate(given)]

    def apply(resource: Resource) -> Resource:
        visits = Visits()
        # A copy: later operations change what earlier ones have put in, and a patch is applied again after another writer's commit.
        for n, operation in enumerate(deepcopy(operations)):
            _placed(n, _APPLY[operation.kind], resource, operation, visits)
        return resource

    return apply


def _placed(n: int, step: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `step`; an error names the operation."""
    try:
        return step(*arguments)
    except BulkheadError as error:
        at = f"Parameters.parameter[{n}]"
        error.issues = tuple(
            Issue(issue.code, issue.diagnostics, f"{at}.part.where(name='{issue.expression}')", issue.severity)
            if issue.expression
            else Issue(issue.code, issue.diagnostics, at, issue.severity)
            for issue in error.issues
        )
        raise


def _operation(parameter: Resource) -> Operation:
    if parameter["name"] != "operation":
        raise BadRequest("every parameter of a FHIRPath Patch must have the name operation")
    parts = {part["name"]: part for part in parameter.get("part", [])}
    kind = _simple(parts, "type")
    if kind not in _PARTS:
        raise BadRequest(f"the type must be one of {', '.join(_PARTS)}", "type")
    found: dict[str, Any] = {
        name: value_of(parts[name]) if name == "value" and name in parts else _simple(parts, name)
        for name in _PARTS[kind]
    }
    places.parse(found["path"])
    return Operation(kind, **found)


def _simple(parts: Mapping[str, Resource], name: str) -> Any:
    if name not in parts:
        raise BadRequest(f"the operation must have a {name}", name)
    for key in _TYPES.get(name, ()):
        if key in parts[name]:
            return parts[name][key]
    raise BadRequest(f"the {name} must be a {_TYPES[name][0]}", name)


def _add(resource: Resource, operation: Operation, visits: Visits) -> None:
    holder = _single(resource, operation.path, visits)
    if not isinstance(holder.content, dict):
        raise Unprocessable("the path leads to an element that has no child elements", "path")
    element = places.element_of(holder.type, operation.name, "name")
    key, content = operation.given.for_element(element)
    if element.repeats:
        _insert_at(
            holder.content, key, len(holder.content.get(key, ())), content=content, companion=operation.given.companion
        )
        return
    if any(_has(holder.content, element.property_name(code)) for code in element.types):
        raise Unprocessable("the element exists already and does not repeat: use replace", "name")
    _set(holder.content, key, content, companion=operation.given.companion)


def _insert(resource: Resource, operation: Operation, visits: Visits) -> None:
    holder, key, length = _list(resource, operation.path, visits)
    if not 0 <= operation.index <= length:
        raise Unprocessable(f"the index is out of range: the list has {length} elements", "index")
    element = places.element_of(holder.parent_type, key, "path")
    _, content = operation.given.for_element(element)
    assert holder.parent is not None
    _insert_at(holder.parent, key, operation.index, content=content, companion=operation.given.companion)


def _delete(resource: Resource, operation: Operation, visits: Visits) -> None:
    found = places.find(operation.path, resource, visits)
    if len(found) > 1:
        raise Unprocessable("the path leads to several elements: it must lead to one", "path")
    for place in found:
        _remove(place)


def _replace(resource: Resource, operation: Operation, visits: Visits) -> None:
    place = _single(resource, operation.path, visits)
    if place.parent is None or place.element is None:
        raise BadRequest("a patch cannot replace the resource itself: use an update", "path")
    key, content = operation.given.for_element(place.element)
    if place.index is None:
        place.parent.pop(place.name, None)
        place.parent.pop(f"_{place.name}", None)
        _set(place.parent, key, content, companion=operation.given.companion)
        return
    place.parent[place.name][place.index] = content
    companions = place.parent.get(f"_{place.name}")
    if companions or operation.given.companion is not None:
        padded = _padded(companions, len(place.parent[place.name]))
        padded[place.index] = operation.given.companion
        _set_companions(place.parent, place.name, padded)


def _move(resource: Resource, operation: Operation, visits: Visits) -> None:
    holder, key, length = _list(resource, operation.path, visits)
    for name, index in (("source", operation.source), ("destination", operation.destination)):
        if not 0 <= index < length:
            raise Unprocessable(f"the {name} is out of range: the list has {length} elements", name)
    assert holder.parent is not None
    for items in (holder.parent.get(key), holder.parent.get(f"_{key}")):
        if items:
            items.insert(operation.destination, items.pop(operation.source))


_APPLY: Mapping[str, Callable[[Resource, Operation, Visits], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _single(resource: Resource, path: str, visits: Visits) -> Place:
    found = places.find(path, resource, visits)
    if len(found) != 1:
        raise Unprocessable(f"the path leads to {len(found)} elements, not one", "path")
    return found[0]


def _list(resource: Resource, path: str, visits: Visits) -> tuple[Place, str, int]:
    """The first place of the one list that the path leads to, the list's property, and its length."""
    found = places.find(path, resource, visits)
    first = found[0] if found else None
    if first is None or first.index is None or first.parent is None:
        raise Unprocessable("the path does not lead to an existing list", "path")
    if any(place.parent is not first.parent or place.name != first.name for place in found):
        raise Unprocessable("the path leads to several lists: it must lead to one", "path")
    return first, first.name, len(first.parent[first.name])


def _has(holder: Resource, key: str) -> bool:
    return key in holder or f"_{key}" in holder


def _set(holder: Resource, key: str, content: Any, *, companion: Any) -> None:
    if content is not None:
        holder[key] = content
    if companion is not None:
        holder[f"_{key}"] = companion


def _insert_at(holder: Resource, key: str, index: int, *, content: Any, companion: Any) -> None:
    """Inserts into a list, and into the parallel list of extensions (JSON: `given` and `_given`)."""
    items = holder.setdefault(key, [])
    companions = holder.get(f"_{key}")
    if companions or companion is not None:
        padded = _padded(companions, len(items))
        padded.insert(index, companion)
        _set_companions(holder, key, padded)
    items.insert(index, content)


def _remove(place: Place) -> None:
    if place.parent is None:
        raise BadRequest("a patch cannot delete the resource itself: use DELETE", "path")
    companions = place.parent.get(f"_{place.name}")
    if place.index is None:
        place.parent.pop(place.name, None)
        place.parent.pop(f"_{place.name}", None)
        return
    items = place.parent[place.name]
    if companions:
        padded = _padded(companions, len(items))
        del padded[place.index]
        _set_companions(place.parent, place.name, padded)
    del items[place.index]
    if not items:
        del place.parent[place.name]


def _padded(companions: list[Any] | None, length: int) -> list[Any]:
    return [*(companions or []), *[None] * (length - len(companions or []))]


def _set_companions(holder: Resource, key: str, companions: list[Any]) -> None:
    """Sets the extensions of a list of primitives; removes the parallel list if there are none."""
    if any(companion is not None for companion in companions):
        holder[f"_{key}"] = companions
    else:
        holder.pop(f"_{key}", None)
