"""HL7's search expressions compiled to closures.

The compiler knows the types before it sees a resource. It resolves an expression against the element tables to *routes*; each
is a list of JSON properties with one FHIR type at its end (`Observation.value as Quantity` is the property `valueQuantity`).
To evaluate a resource then takes a few dictionary lookups, and every value comes with its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from bulkhead.errors import NotSupported
from bulkhead.fhir.definitions import PRIMITIVES, RESOURCE_TYPES, elements
from bulkhead.fhir.fhirpath import Call, Child, Index, Literal, Name, Node, Operation, TooMuch, parse, unsupported

Typed = tuple[str, Any]
"""A FHIR type and a JSON value of it. A code under a required binding has the type `code|<url of its value set>`."""

Evaluate = Callable[[Any, Any], list[Typed]]
"""(the element that the expression is about, the whole resource) -> values with their types."""

OPERATORS = frozenset({"|", "and", "=", "!=", "as", "is"})
"""What HL7's search expressions use. One that uses another is not supported: a SearchParameter is taken whole or not at all."""
COMPILED = 4096
"""How many compiled expressions are kept. R4 has 1,400; clients define more."""
ROUTES = 2_000
"""The limit on the routes of one expression."""
WORK = 20_000
"""The limit on the routes that the compilation of one expression passes through."""
_APART = 30
# Above this number, routes of one type are walked as one: a choice has up to 50 types, and each may lead to any of them.

Step = Callable[[list[Any]], list[Any]]

# The subtypes that FHIRPath's `as` accepts for a supertype: `as uri` takes a canonical.
SUBTYPES = {
    "uri": frozenset({"uri", "url", "canonical", "oid", "uuid"}),
    "string": frozenset({"string", "code", "id", "markdown"}),
    "integer": frozenset({"integer", "positiveInt", "unsignedInt"}),
    "Quantity": frozenset({"Quantity", "Age", "Count", "Distance", "Duration"}),
}


@dataclass(frozen=True, slots=True)
class Route:
    """A path from the focus to values of one type."""

    type: str
    steps: tuple[Step, ...] = ()
    first: str | None = None
    """The property that a value must have for the route to lead anywhere."""
    binding: str = ""
    from_resource: bool = False
    repeats: bool = False
    """Whether it may lead to several values: an element on the way may be there more than once."""

    @property
    def kind(self) -> str:
        return f"{self.type}|{self.binding}" if self.binding else self.type

    def then(self, step: Step, type_name: str | None = None, first: str | None = None, *, binding: str = "") -> Route:
        return replace(
            self,
            type=type_name or self.type,
            steps=(*self.steps, step),
            first=self.first or (first if not self.steps else None),
            binding=binding,
        )


@dataclass(slots=True)
class Work:
    """What the compilation of one expression may still do, nested conditions included."""

    left: int = WORK

    def spend(self, number: int) -> None:
        """Counts routes that the compilation has passed through. TooMuch beyond the limit."""
        self.left -= number
        if self.left < 0:
            raise TooMuch("the expression leads to too many places through its conditions and choices")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression is compiled: the type of the element that it is about, and the common limit on the work."""

    expression: str
    context: str
    work: Work = field(default_factory=Work)

    @property
    def start(self) -> tuple[Route, ...]:
        return (Route(self.context),)

    def within(self, context: str) -> Scope:
        """The scope of a condition on an element of another type."""
        return Scope(self.expression, context, self.work)


@lru_cache(COMPILED)
def compiled(expression: str, context: str) -> Evaluate:
    """The closure of a search expression about a type: a resource type, or any element's type for parts of a composite.

    NotSupported for FHIRPath beyond HL7's own search expressions, and for elements that the type does not have.
    """
    tree, scope = parse(expression, OPERATORS), Scope(expression, context)
    if is_condition(tree):
        condition = predicate(tree, scope)
        return lambda focus, resource: [("boolean", condition(focus))]
    return evaluator(routes(tree, scope.start, scope))


@lru_cache(COMPILED)
def begins_with(expression: str, context: str) -> frozenset[str]:
    """The properties of the element, without all of which an expression finds nothing; empty where it may find something anyway."""
    tree, scope = parse(expression, OPERATORS), Scope(expression, context)
    firsts = [None] if is_condition(tree) else [route.first for route in routes(tree, scope.start, scope)]
    return frozenset(first for first in firsts if first) if all(firsts) else frozenset()


@lru_cache(COMPILED)
def types(expression: str, context: str) -> frozenset[str]:
    """The types that the values of an expression can have, with bindings: `code|http://hl7.org/fhir/ValueSet/...`."""
    tree, scope = parse(expression, OPERATORS), Scope(expression, context)
    if is_condition(tree):
        return frozenset({"boolean"})
    return frozenset(route.kind for route in routes(tree, scope.start, scope))


@lru_cache(COMPILED)
def can_repeat(expression: str, context: str) -> bool:
    """Whether an expression may find several values in a resource of a type. True where that is not certain."""
    tree, scope = parse(expression, OPERATORS), Scope(expression, context)
    if is_condition(tree):
        return False
    found = routes(tree, scope.start, scope)
    if any(route.repeats for route in found):
        return True
    # Of the types of a choice one is there: all routes lead through one element, and no further.
    properties = elements(context).properties
    starts = {properties[route.first].element.name for route in found if route.first and route.first in properties}
    return len(found) > 1 and (len(starts) != 1 or any(len(route.steps) != 1 for route in found))


def evaluator(found: Iterable[Route]) -> Evaluate:
    plans = [(route.first, route.steps, route.kind, route.from_resource) for route in found]

    def evaluate(focus: Any, resource: Any) -> list[Typed]:
        values: list[Typed] = []
        for first, steps, kind, from_resource in plans:
            start = resource if from_resource else focus
            if first is not None and first not in start:
                continue
            nodes = [start]
            for step in steps:
                nodes = step(nodes)
                if not nodes:
                    break
            for node in nodes:
                if node is not None:
                    values.append((kind, node))
        return values

    return evaluate


def routes(node: Node, focus: tuple[Route, ...], scope: Scope) -> tuple[Route, ...]:
    """The routes on which `node` leads on from `focus`, the routes to the element in question."""
    match node:
        case Name(name="%resource"):
            root = scope.context.partition(".")[0]
            return (Route(root, from_resource=True),)
        case Name(name=name) if name[0].isupper():
            return tuple(route for route in focus if is_type(route.type, name))
        case Name(name=name):
            return children(focus, name, scope)
        case Child(base=base, name=name):
            return children(routes(base, focus, scope), name, scope)
        case Index(base=base, index=index):
            return tuple(route.then(item(index)) for route in routes(base, focus, scope))
        case Operation(operator="|", left=left, right=right):
            found = routes(left, focus, scope) + routes(right, focus, scope)
            if len(found) > ROUTES:
                raise TooMuch(f"the expression leads to more than {ROUTES} paths")
            return found
        case Operation(operator="as", left=left, right=Name(name=name)):
            return narrowed(routes(left, focus, scope), name)
        case Call(base=base, function=function, arguments=arguments) if base is not None:
            return called(routes(base, focus, scope), function, arguments, scope=scope)
    raise unsupported(scope.expression)


def called(base: tuple[Route, ...], function: str, arguments: tuple[Node, ...], *, scope: Scope) -> tuple[Route, ...]:
    match function, arguments:
        case (("as" | "ofType"), (Name(name=name),)):
            return narrowed(base, name)
        case "where", (condition,):
            return tuple(
                route.then(where(predicate(condition, scope.within(route.type))), binding=route.binding)
                for route in base
            )
        case "extension", (Literal(value=str(url)),):
            return children(base, "extension", scope, where(lambda item: item.get("url") == url))
        case "resolve", ():
            return base
    raise NotSupported(f"the FHIRPath function {function}() is not supported here")


def children(base: tuple[Route, ...], name: str, scope: Scope, *more: Step) -> tuple[Route, ...]:
    found: list[Route] = []
    for route in base:
        for element in elements(route.type).elements if route.type not in PRIMITIVES else ():
            if element.name != name:
                continue
            for type_code in element.types:
                property_name = element.property_name(type_code)
                bound = element.binding if type_code == "code" else ""
                child = route.then(key(property_name), type_code, property_name, binding=bound)
                child = replace(child, repeats=route.repeats or element.repeats)
                for step in more:
                    child = child.then(step)
                found.append(child)
        if len(found) > ROUTES:
            raise TooMuch(f"the expression leads to more than {ROUTES} paths")
    scope.work.spend(len(found))
    if base and not found:
        raise NotSupported(f"{base[0].type} has no element {name}")
    return tuple(found) if len(found) <= _APART else together(found)


def together(found: Iterable[Route]) -> tuple[Route, ...]:
    """The same routes, with those of one type walked as one: the work grows with the steps, and not exponentially with the choices."""
    groups: dict[tuple[str, bool], list[Route]] = {}
    for route in found:
        groups.setdefault((route.kind, route.from_resource), []).append(route)
    return tuple(group[0] if len(group) == 1 else joined(group) for group in groups.values())


def joined(group: Sequence[Route]) -> Route:
    """One route in place of several of one type: their common first steps, then the remaining steps of each."""
    steps = [route.steps for route in group]
    shared = 0
    while all(len(own) > shared and own[shared] is steps[0][shared] for own in steps):
        shared += 1
    firsts = {route.first for route in group}
    either = branches([own[shared:] for own in steps])
    first, repeats = firsts.pop() if len(firsts) == 1 else None, any(route.repeats for route in group)
    return replace(group[0], steps=(*steps[0][:shared], either), first=first, repeats=repeats)


def branches(ways: Sequence[tuple[Step, ...]]) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        found: list[Any] = []
        for way in ways:
            left = nodes
            for each in way:
                left = each(left)
                if not left:
                    break
            found += left
        return found

    return step


def narrowed(base: tuple[Route, ...], name: str) -> tuple[Route, ...]:
    return tuple(route for route in base if is_type(route.type, name))


def is_type(actual: str, name: str) -> bool:
    """Whether a value of type `actual` is a `name`. HL7 writes `DateTime` in some expressions."""
    if name in ("Resource", "DomainResource"):
        return actual in RESOURCE_TYPES or actual == "Resource"
    lowered = name[0].lower() + name[1:]
    return actual in (name, lowered) or actual in SUBTYPES.get(name, SUBTYPES.get(lowered, frozenset()))


def is_condition(node: Node) -> bool:
    """Whether an expression gives true or false instead of elements."""
    match node:
        case Operation(operator="and" | "=" | "!=") | Call(function="exists" | "hasExtension"):
            return True
    return False


def predicate(node: Node, scope: Scope) -> Callable[[Any], bool]:
    """A function that evaluates a condition on one element of the scope's type."""
    match node:
        case Operation(operator="and", left=left, right=right):
            one, other = predicate(left, scope), predicate(right, scope)
            return lambda focus: one(focus) and other(focus)
        case Operation(operator="=", left=left, right=Literal(value=value)):
            evaluate = evaluator(routes(left, scope.start, scope))
            return lambda focus: any(found == value for _, found in evaluate(focus, focus))
        case Operation(operator="!=", left=left, right=Literal(value=value)):
            evaluate = evaluator(routes(left, scope.start, scope))
            return lambda focus: all(found != value for _, found in evaluate(focus, focus))
        case Operation(operator="is", left=Call(base=None, function="resolve"), right=Name(name=name)):
            return lambda focus: refers_to(focus, name)
        case Call(base=base, function="exists", arguments=()) if base is not None:
            evaluate = evaluator(routes(base, scope.start, scope))
            return lambda focus: bool(evaluate(focus, focus))
        case Call(base=None, function="hasExtension", arguments=(Literal(value=url),)):
            return lambda focus: any(extension.get("url") == url for extension in focus.get("extension", ()))
    raise unsupported(scope.expression)


def refers_to(reference: Any, resource_type: str) -> bool:
    """Whether a Reference points at a resource of this type, by its text or its `type`."""
    text = reference.get("reference")
    if text is None or text.startswith(("urn:", "#")):
        return bool(reference.get("type") == resource_type)
    head, found, _ = text.rpartition(f"{resource_type}/")
    return bool(found) and (not head or head.endswith("/"))


def key(name: str) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if type(node) is dict:
                value = node.get(name)
                if type(value) is list:
                    found.extend(value)
                elif value is not None:
                    found.append(value)
        return found

    return step


def where(condition: Callable[[Any], bool]) -> Step:
    return lambda nodes: [node for node in nodes if condition(node)]


def item(index: int) -> Step:
    return lambda nodes: nodes[index : index + 1]
