"""Compiles the tree of a constraint to a closure: `closure(value, environment)` gives the collection that the constraint yields.

The compiler knows the types, so `value.exists()` of an Observation only looks for the properties `valueQuantity`,
`valueString`, ... in one dict. Below an element without a single type (descendants, any resource) it takes names literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from bulkhead.fhir import definitions
from bulkhead.fhir.fhirpath import Call, Child, Literal, Name, Node, Operation, parse
from bulkhead.fhir.invariants.values import (
    FALSE,
    NO_VALUE,
    NOTHING,
    TRUE,
    Values,
    children,
    compare,
    descendants,
    distinct,
    equal,
    resolved,
    same,
    truth,
)

UCUM = "http://unitsofmeasure.org"


class Environment(Protocol):
    """`%resource`, and `%context`: the value that the constraint applies to."""

    resource: Any
    context: Any

    def contained(self) -> Mapping[str, Any]:
        """The types of the resources that `resource` contains, by id."""


Closure = Callable[[Any, Environment], Values]

_UNKNOWN: frozenset[str] = frozenset()


class _Step(NamedTuple):
    run: Closure
    types: frozenset[str]
    """The types that the values can have; empty where nothing is known."""
    names: tuple[str, ...] = ()
    """For an element of the focus itself: the JSON properties that can hold it, companions included."""
    presence: tuple[tuple[str, bool], ...] = ()
    """For a step that is true exactly if `name in focus` equals the flag for one of these pairs. The focus is an object then."""


def compile_constraint(expression: str, type_name: str) -> Callable[[Any, Environment], bool]:
    """A function that says whether a valid value of a type meets a constraint. An empty result is a no, as in HL7's own validator."""
    run = _compile(parse(expression), frozenset({type_name})).run

    def holds(value: Any, environment: Environment) -> bool:
        result = run(value, environment)
        # Most results are this very list.
        return result is TRUE or result == TRUE

    return holds


def _compile(node: Node, focus: frozenset[str]) -> _Step:
    match node:
        case Literal(value):
            return _constant([value])
        case Name("$this"):
            return _Step(lambda this, _: [this], focus)
        case Name("%resource"):
            return _Step(lambda _, environment: [environment.resource], _UNKNOWN)
        case Name("%context"):
            return _Step(lambda _, environment: [environment.context], _UNKNOWN)
        case Name("%ucum"):
            return _constant([UCUM])
        case Name(name) if name in focus and name[0].isupper():
            return _Step(lambda this, _: [this], focus)
        case Name(name):
            return _member(None, name, focus)
        case Child(base, name):
            return _member(base, name, focus)
        case Call(base, function, arguments):
            return _call(base, function, arguments, focus=focus)
        case Operation(("is" | "as") as operator, left, right):
            return _typed(operator, _compile(left, focus), _type_name(right))
        case Operation(operator, left, right):
            return _binary(operator, _compile(left, focus), _compile(right, focus))
    raise ValueError(f"the compiler does not know this node: {node}")


def _constant(values: Values) -> _Step:
    return _Step(lambda _this, _environment: values, _UNKNOWN)


# --- Paths


def _member(base: Node | None, name: str, focus: frozenset[str]) -> _Step:
    if base is None:
        names, types = _properties(focus, name)
        # Elements that are objects have no companion.
        companions = tuple(f"_{key}" for key in names) if not types or types & definitions.PRIMITIVES.keys() else ()
        return _Step(lambda this, _: _get(this, names), types, names + companions)
    step = _compile(base, focus)
    names, types = _properties(step.types, name)
    before = step.run

    def run(this: Any, environment: Environment) -> Values:
        found: Values = []
        for item in before(this, environment):
            found += _get(item, names)
        return found

    return _Step(run, types)


def _properties(types: frozenset[str], name: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The JSON properties of an element (all of them for a choice), and the types that its values have."""
    names: dict[str, None] = {}
    found: set[str] = set()
    for type_name in types:
        try:
            table = definitions.elements(type_name)
        except KeyError:
            continue
        for element in table.elements:
            if element.name == name:
                names.update(dict.fromkeys(element.property_name(code) for code in element.types))
                found.update(element.types)
    found.discard(definitions.ANY_RESOURCE)
    return tuple(names) or (name,), frozenset(found)


def _get(item: Any, names: tuple[str, ...]) -> Values:
    if type(item) is not dict:
        return NOTHING
    for name in names:
        value = item.get(name)
        if value is None:
            companion = item.get("_" + name)
            if companion is not None:
                return [NO_VALUE] * (len(companion) if type(companion) is list else 1)
        elif type(value) is list:
            return [NO_VALUE if one is None else one for one in value] if None in value else value
        else:
            return [value]
    return NOTHING


# --- Functions


def _call(base: Node | None, function: str, arguments: tuple[Node, ...], *, focus: frozenset[str]) -> _Step:
    step = _Step(lambda this, _: [this], focus) if base is None else _compile(base, focus)
    if function in ("is", "as", "ofType"):
        return _typed("is" if function == "is" else "as", step, _type_name(arguments[0]))
    if function in ("exists", "empty") and not arguments and step.names:
        objects = all(type_name in definitions.DATATYPES or "." in type_name for type_name in focus)
        return _presence(step.names, wanted=function == "exists", objects=objects)
    if function == "iif":
        condition, *branches = (_compile(argument, focus).run for argument in arguments)
        return _choice(condition, branches)
    before = step.run
    if function == "resolve":
        return _Step(
            lambda this, environment: resolved(before(this, environment), environment.contained),
            frozenset({"Resource"}),
        )
    if function in _PER_ITEM:
        inner = _compile(arguments[0], step.types).run if arguments else None
        if inner is not None:
            return _per_item(function, step, inner)
    if function in _PLAIN:
        of_all = _PLAIN[function]
        given = [_compile(argument, focus).run for argument in arguments] if function != "trace" else []
        types = step.types if function in _KEEPS_TYPE else _UNKNOWN
        if not given:
            return _Step(lambda this, environment: of_all(before(this, environment)), types)
        if len(arguments) == 1 and isinstance(arguments[0], Literal):
            constant = [arguments[0].value]
            return _Step(lambda this, environment: of_all(before(this, environment), constant), types)
        return _Step(
            lambda this, environment: of_all(before(this, environment), *(one(this, environment) for one in given)),
            types,
        )
    raise ValueError(f"the function {function} is not known")


def _presence(names: tuple[str, ...], *, wanted: bool, objects: bool) -> _Step:
    def run(this: Any, _: Environment) -> Values:
        if type(this) is dict:
            for name in names:
                if name in this:
                    return TRUE if wanted else FALSE
        return FALSE if wanted else TRUE

    # `empty()` of several names means that none is there, which one pair cannot express.
    presence = tuple((name, wanted) for name in names) if wanted or len(names) == 1 else ()
    return _Step(run, _UNKNOWN, presence=presence if objects else ())


def _choice(condition: Closure, branches: list[Closure]) -> _Step:
    def run(this: Any, environment: Environment) -> Values:
        if condition(this, environment) == TRUE:
            return branches[0](this, environment)
        return branches[1](this, environment) if len(branches) > 1 else NOTHING

    return _Step(run, _UNKNOWN)


_PER_ITEM = ("where", "select", "all", "exists")


def _per_item(function: str, step: _Step, inner: Closure) -> _Step:
    before = step.run

    def where(this: Any, environment: Environment) -> Values:
        return [item for item in before(this, environment) if inner(item, environment) == TRUE]

    def select(this: Any, environment: Environment) -> Values:
        return [found for item in before(this, environment) for found in inner(item, environment)]

    def every(this: Any, environment: Environment) -> Values:
        return truth(holds=all(inner(item, environment) == TRUE for item in before(this, environment)))

    def exists(this: Any, environment: Environment) -> Values:
        return truth(holds=any(inner(item, environment) == TRUE for item in before(this, environment)))

    runs = {"where": where, "select": select, "all": every, "exists": exists}
    return _Step(runs[function], step.types if function == "where" else _UNKNOWN)


def _text(values: Values) -> str | None:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _on_text(test: Callable[[str, str], Any]) -> Callable[..., Values]:
    def run(values: Values, given: Values) -> Values:
        text, other = _text(values), _text(given)
        return NOTHING if text is None or other is None else [test(text, other)]

    return run


def _negated(values: Values) -> Values:
    return truth(holds=not values[0]) if len(values) == 1 and type(values[0]) is bool else NOTHING


def _has_value(values: Values) -> Values:
    return truth(holds=len(values) == 1 and values[0] is not NO_VALUE and type(values[0]) is not dict)


def _to_integer(values: Values) -> Values:
    text = values[0] if len(values) == 1 else None
    if isinstance(text, str):
        return [int(text)] if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else NOTHING
    return [text] if type(text) is int else NOTHING


def _to_string(values: Values) -> Values:
    return [str(values[0])] if len(values) == 1 and isinstance(values[0], str | int | Decimal) else NOTHING


def _replaced(values: Values, pattern: Values, substitute: Values) -> Values:
    text = _text(values)
    return NOTHING if text is None else [re.sub(pattern[0], substitute[0], text)]


_PLAIN: dict[str, Callable[..., Values]] = {
    "exists": lambda values: truth(holds=bool(values)),
    "empty": lambda values: truth(holds=not values),
    "not": _negated,
    "count": lambda values: [len(values)],
    "first": lambda values: values[:1],
    "tail": lambda values: values[1:],
    "trace": lambda values: values,
    "hasValue": _has_value,
    "isDistinct": lambda values: truth(holds=distinct(values)),
    "descendants": lambda values: [found for value in values for found in descendants(value)],
    "children": lambda values: [found for value in values for found in children(value)],
    "combine": lambda values, others: values + others,
    "intersect": lambda values, others: [value for value in values if any(same(value, other) for other in others)],
    "toInteger": _to_integer,
    "toString": _to_string,
    "startsWith": _on_text(str.startswith),
    "contains": _on_text(lambda text, part: part in text),
    "matches": _on_text(lambda text, pattern: re.search(pattern, text) is not None),
    "replaceMatches": _replaced,
}
_KEEPS_TYPE = ("first", "tail", "trace")


# --- Types and operators


def _type_name(node: Node) -> str:
    if isinstance(node, Name):
        return node.name
    raise ValueError(f"not the name of a type: {node}")


_JSON_TYPES: dict[str, tuple[type, ...]] = {"boolean": (bool,), "decimal": (int, Decimal), "integer": (int,)}


def _typed(operator: str, step: _Step, name: str) -> _Step:
    before, primitive = step.run, name[0].lower() + name[1:]

    def is_type(item: Any) -> bool:
        if type(item) is dict:
            return bool(item.get("resourceType") == name)
        wanted = _JSON_TYPES.get(primitive)
        return wanted is not None and isinstance(item, wanted) and (bool in wanted or type(item) is not bool)

    def run(this: Any, environment: Environment) -> Values:
        values = before(this, environment)
        if operator == "as":
            return [item for item in values if is_type(item)]
        return truth(holds=is_type(values[0])) if len(values) == 1 else NOTHING

    return _Step(run, frozenset({name}))


def _binary(operator: str, left: _Step, right: _Step) -> _Step:
    one, other = left.run, right.run
    if operator == "or" and left.presence and right.presence:
        return _any_presence(left, right)
    if operator in _LOGIC:
        return _Step(_LOGIC[operator](one, other), _UNKNOWN)
    if operator in _ON_VALUES:
        combine = _ON_VALUES[operator]
        types = left.types | right.types if operator == "|" else _UNKNOWN
        return _Step(lambda this, env: combine(one(this, env), other(this, env)), types)
    return _Step(lambda this, env: compare(operator, one(this, env), other(this, env)), _UNKNOWN)


def _logical(values: Values) -> bool | None:
    """A collection as a boolean: one value that is not boolean counts as true (FHIRPath, singleton evaluation)."""
    if not values:
        return None
    return values[0] if type(values[0]) is bool else True


def _any_presence(left: _Step, right: _Step) -> _Step:
    """`a.exists() or b.empty() or ...`: one look at each property."""
    tests = (*left.presence, *right.presence)

    def run(this: Any, _: Environment) -> Values:
        for name, wanted in tests:
            if (name in this) is wanted:
                return TRUE
        return FALSE

    return _Step(run, _UNKNOWN, presence=tests)


def _and(one: Closure, other: Closure) -> Closure:
    def run(this: Any, environment: Environment) -> Values:
        left = _logical(one(this, environment))
        if left is False:
            return FALSE
        right = _logical(other(this, environment))
        return FALSE if right is False else (TRUE if left and right else NOTHING)

    return run


def _or(one: Closure, other: Closure) -> Closure:
    def run(this: Any, environment: Environment) -> Values:
        left = _logical(one(this, environment))
        if left:
            return TRUE
        right = _logical(other(this, environment))
        return TRUE if right else (FALSE if left is False and right is False else NOTHING)

    return run


def _xor(one: Closure, other: Closure) -> Closure:
    def run(this: Any, environment: Environment) -> Values:
        left, right = _logical(one(this, environment)), _logical(other(this, environment))
        return NOTHING if left is None or right is None else truth(holds=left != right)

    return run


def _implies(one: Closure, other: Closure) -> Closure:
    def run(this: Any, environment: Environment) -> Values:
        left = _logical(one(this, environment))
        if left is False:
            return TRUE
        right = _logical(other(this, environment))
        if right:
            return TRUE
        return FALSE if left and right is False else NOTHING

    return run


_LOGIC: dict[str, Callable[[Closure, Closure], Closure]] = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}


def _member_of(left: Values, right: Values) -> Values:
    return truth(holds=any(same(left[0], value) for value in right)) if len(left) == 1 else NOTHING


def _sum(left: Values, right: Values) -> Values:
    return [left[0] + right[0]] if left and right else NOTHING


def _joined(left: Values, right: Values) -> Values:
    return ["".join(str(values[0]) for values in (left, right) if values and values[0] is not NO_VALUE)]


def _union(left: Values, right: Values) -> Values:
    found: Values = []
    for value in [*left, *right]:
        if not any(same(value, other) for other in found):
            found.append(value)
    return found


_ON_VALUES: dict[str, Callable[[Values, Values], Values]] = {
    "=": equal,
    "!=": lambda left, right: _negated(equal(left, right)),
    "in": _member_of,
    "contains": lambda left, right: _member_of(right, left),
    "+": _sum,
    "&": _joined,
    "|": _union,
}
