"""Parses the part of FHIRPath that HL7's search expressions use into a small tree.

    union    := conjunction ('|' conjunction)*
    conjunction := comparison ('and' comparison)*
    comparison  := cast (('=' | '!=') literal)?
    cast     := path (('as' | 'is') Type)?
    path     := ('(' union ')' | name | call) ('.' (name | call) | '[' number ']')*
    call     := name '(' (literal | Type | conjunction)? ')'

NotSupported refuses anything else: Bulkhead takes a custom SearchParameter whole or not at all. TooMuch refuses expressions
beyond the bounds below, which exceed HL7's own needs: the code that reads a tree recurses, and clients write expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from msgspec import Struct

from bulkhead.errors import NotSupported

LONGEST = 10_000
"""The limit on the characters of an expression."""
STEPS = 1_000
"""The limit on the names, literals and signs of an expression."""
DEEP = 20
"""The limit on the depth of parentheses."""
PATH = 50
"""The limit on the steps of one path, and on the operands of one `and`."""
DIGITS = 9
"""The limit on the digits of a number."""


class TooMuch(NotSupported):
    """An expression beyond these bounds, or one that compiles to too many routes; the message says which."""


class Name(Struct, frozen=True):
    """A child element; at the start of a path also the type that the expression is about, or `%resource`."""

    name: str


class Child(Struct, frozen=True):
    base: Node
    name: str


class Index(Struct, frozen=True):
    base: Node
    index: int


class Call(Struct, frozen=True):
    """`base.function(argument)`; `base` is None for a bare call such as `resolve()`."""

    base: Node | None
    function: str
    argument: Node | None


class Literal(Struct, frozen=True):
    value: str | bool | int


class Operation(Struct, frozen=True):
    """`left operator right`; the operator is `|`, `and`, `=`, `!=`, `as` or `is`."""

    operator: str
    left: Node
    right: Node


N = TypeVar("N")
Node = Name | Child | Index | Call | Literal | Operation

# How many characters of an expression a message repeats.
_SHOWN = 200
_TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(%?[A-Za-z_][A-Za-z0-9_]*)|(\d+)|(!=|[.()\[\]|=]))")


def parse(expression: str) -> Node:
    """The tree of a search expression. NotSupported for FHIRPath beyond this grammar, TooMuch beyond the bounds."""
    if len(expression) > LONGEST:
        raise TooMuch(f"the expression has more than {LONGEST} characters")
    parser = _Parser(expression)
    node = parser.union()
    if parser.current:
        parser.refuse()
    return node


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens: list[str] = []
        position, text = 0, expression.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.refuse()
            self.tokens.append(match[0].strip())
            position = match.end()
            if match[3] and len(match[3]) > DIGITS:
                raise TooMuch(f"a number in the expression has more than {DIGITS} digits")
            if len(self.tokens) > STEPS:
                raise TooMuch(f"the expression has more than {STEPS} words and signs")
        self.tokens.append("")
        self.at = 0
        self.depth = 0

    @property
    def current(self) -> str:
        return self.tokens[self.at]

    def refuse(self) -> NoReturn:
        shown = self.expression if len(self.expression) <= _SHOWN else f"{self.expression[:_SHOWN]}..."
        raise NotSupported(f"this search expression uses FHIRPath that is not supported: {shown}")

    def take(self, *expected: str) -> str | None:
        token = self.current
        if token not in expected:
            return None
        self.at += 1
        return token

    def need(self, expected: str) -> None:
        if not self.take(expected):
            self.refuse()

    def identifier(self) -> str:
        token = self.current
        if not re.match(r"%?[A-Za-z_]", token):
            self.refuse()
        self.at += 1
        return token

    def union(self) -> Node:
        node = self.conjunction()
        while self.take("|"):
            node = Operation("|", node, self.conjunction())
        return node

    def conjunction(self) -> Node:
        node = self.comparison()
        for _ in self.bounded("and"):
            node = Operation("and", node, self.comparison())
        return node

    def comparison(self) -> Node:
        node = self.cast()
        operator = self.take("=", "!=")
        return Operation(operator, node, self.literal()) if operator else node

    def cast(self) -> Node:
        node = self.path()
        operator = self.take("as", "is")
        return Operation(operator, node, Name(self.identifier())) if operator else node

    def path(self) -> Node:
        node: Node
        if self.take("("):
            node = self.inner(self.union)
        else:
            name = self.identifier()
            node = self.call(None, name) if self.current == "(" else Name(name)
        for operator in self.bounded(".", "["):
            if operator == "[":
                node = Index(node, int(self.number()))
                self.need("]")
            else:
                name = self.identifier()
                node = self.call(node, name) if self.current == "(" else Child(node, name)
        return node

    def call(self, base: Node | None, function: str) -> Node:
        self.need("(")
        return Call(base, function, self.inner(self.argument))

    def argument(self) -> Node | None:
        if self.current == ")":
            return None
        return self.literal() if self.current.startswith("'") else self.conjunction()

    def inner(self, read: Callable[[], N]) -> N:
        """Reads the content of parentheses, and the closing parenthesis."""
        self.depth += 1
        if self.depth > DEEP:
            raise TooMuch(f"the expression has parentheses nested more than {DEEP} deep")
        node = read()
        self.need(")")
        self.depth -= 1
        return node

    def bounded(self, *operators: str) -> Iterator[str]:
        """Yields the operators that follow, one at a time. TooMuch above the number of steps that one path may have."""
        for _ in range(PATH):
            if (operator := self.take(*operators)) is None:
                return
            yield operator
        if self.current in operators:
            raise TooMuch(f"a path in the expression has more than {PATH} steps")

    def number(self) -> str:
        token = self.current
        if not token.isdigit():
            self.refuse()
        self.at += 1
        return token

    def literal(self) -> Literal:
        token = self.current
        self.at += 1
        if token.startswith("'"):
            return Literal(re.sub(r"\\(.)", r"\1", token[1:-1]))
        if token in ("true", "false"):
            return Literal(token == "true")
        if token.isdigit():
            return Literal(int(token))
        self.at -= 1
        return self.refuse()
