"""Resolves simple FHIRPath to writable places in a resource, for FHIRPath Patch.

Supported: child elements, `[n]`, `first()`, `last()`, `where(...)` with `=` and `!=` on a path of children,
`extension('url')`, `ofType(T)`, `as T`. A choice has the name of its stem: `Observation.value`. Everything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bulkhead.errors import BadRequest, NotSupported
from bulkhead.fhir import definitions, fhirpath
from bulkhead.fhir.definitions import Element
from bulkhead.fhir.fhirpath import Call, Child, Index, Literal, Name, Node, Operation
from bulkhead.resources.patches.limits import Visits

# Each step of a path costs a level of recursion here.
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """One element of a resource: `parent[name]`, or `parent[name][index]` if it repeats. `type` is the type of its content.

    The resource itself has no parent.
    """

    content: Any
    type: str
    parent: dict[str, Any] | None = None
    name: str = ""
    index: int | None = None
    element: Element | None = None
    parent_type: str = ""


def find(path: str, resource: dict[str, Any], visits: Visits) -> list[Place]:
    """The places that a path such as `Patient.name.where(use = 'official').family` leads to. BadRequest, NotSupported, TooCostly."""
    return list(
        _walk(parse(path), [Place(resource, resource["resourceType"])], resource["resourceType"], visits=visits)
    )


def parse(path: str) -> Node:
    """The tree of a path. BadRequest if the path is outside this grammar."""
    if len(path) > _LONGEST:
        raise BadRequest(f"a path may have at most {_LONGEST} characters", "path")
    try:
        return fhirpath.parse(path)
    except (NotSupported, RecursionError, ValueError):
        raise BadRequest("the path uses FHIRPath that a patch does not support", "path") from None


def element_of(parent_type: str, name: str, place: str) -> Element:
    """The element `name` (the stem or the whole property of a choice) of a type. BadRequest, at `place`, if there is none."""
    try:
        table = definitions.elements(parent_type)
    except KeyError:
        raise BadRequest(f"{parent_type} has no elements of its own", place) from None
    if name in table.properties:
        return table.properties[name].element
    for element in table.elements:
        if element.name == name:
            return element
    raise BadRequest(f"{parent_type} has no element of this name", place)


def _walk(node: Node, start: list[Place], root_type: str | None, *, visits: Visits) -> Iterator[Place]:
    """Places below `start`. `root_type` is the name that a path may begin with; None inside a `where`."""
    match node:
        case Name(name) if root_type is not None and name in (root_type, "Resource", "DomainResource"):
            yield from start
        case Name(name):
            yield from _children(start, name, visits)
        case Child(base, name):
            yield from _children(list(_walk(base, start, root_type, visits=visits)), name, visits)
        case Index(base, index):
            yield from list(_walk(base, start, root_type, visits=visits))[index : index + 1]
        case Call(base, function, arguments):
            places = list(_walk(base, start, root_type, visits=visits)) if base is not None else start
            yield from _called(places, function, arguments, visits=visits)
        case Operation("as", left, Name(name)):
            yield from _of_type(list(_walk(left, start, root_type, visits=visits)), name)
        case _:
            raise _refused()


def _children(places: list[Place], name: str, visits: Visits) -> Iterator[Place]:
    for place in places:
        visits.count(1)
        if not isinstance(place.content, dict):
            continue
        element = element_of(place.type, name, "path")
        table = definitions.elements(place.type)
        for code in element.types:
            key = element.property_name(code)
            # A primitive may consist of extensions only.
            if key in place.content or f"_{key}" in place.content:
                yield from _items(place, key, table.properties[key].type, element=element, visits=visits)


def _items(parent: Place, key: str, type_code: str, *, element: Element, visits: Visits) -> Iterator[Place]:
    holder: dict[str, Any] = parent.content
    content = holder.get(key)
    if not isinstance(content, list):
        yield Place(content, _type(content, type_code), holder, key, None, element, parent.type)
        return
    visits.count(len(content))
    for index, item in enumerate(content):
        yield Place(item, _type(item, type_code), holder, key, index, element, parent.type)


def _type(content: Any, type_code: str) -> str:
    """The type of an element's content; a contained resource has its own."""
    if type_code == definitions.ANY_RESOURCE and isinstance(content, dict):
        return str(content.get("resourceType", type_code))
    return type_code


def _called(places: list[Place], function: str, arguments: tuple[Node, ...], *, visits: Visits) -> Iterator[Place]:
    visits.count(len(places))
    match function, arguments:
        case "first", ():
            yield from places[:1]
        case "last", ():
            yield from places[-1:]
        case "where", (condition,):
            meets = _condition(condition, visits)
            yield from (place for place in places if meets(place))
        case "extension", (Literal(url),):
            yield from (place for place in _children(places, "extension", visits) if place.content.get("url") == url)
        case (("ofType" | "as"), (Name(name),)):
            yield from _of_type(places, name)
        case _:
            raise _refused()


def _of_type(places: list[Place], name: str) -> Iterator[Place]:
    return (place for place in places if place.type == name)


def _condition(node: Node, visits: Visits) -> Callable[[Place], bool]:
    """The condition in `where(...)`, as a test of one place."""
    match node:
        case Operation(("=" | "!=") as operator, left, Literal(value)):
            return lambda place: _equal(place, left, value, visits=visits) == (operator == "=")
    raise _refused()


def _equal(place: Place, path: Node, value: str | bool | int | Decimal, *, visits: Visits) -> bool:
    """Whether the one value below `place` is `value`; a list of another length is unequal, as in FHIRPath."""
    found = [other.content for other in _walk(path, [place], None, visits=visits)]
    return len(found) == 1 and type(found[0]) is type(value) and found[0] == value


def _refused() -> BadRequest:
    return BadRequest("the path uses FHIRPath that a patch does not support", "path")
