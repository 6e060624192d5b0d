"""Parses FHIRPath into a small tree (FHIRPath 2.0, section "Operator Precedence").

It covers what R4's constraints, HL7's search expressions and the paths of a FHIRPath Patch use: paths, indexes, functions, the operators of
LEVELS, strings, numbers, booleans, `$this`, `%name`. Each of the three reads the tree in its own way, and refuses what it does not know.

Clients write expressions, and the code that reads a tree recurses: the bounds below exceed HL7's own needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
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
"""The limit on the steps of one path, and on the operands of one `and`; a union may have as many as there are words."""
DIGITS = 9
"""The limit on the digits of a number."""


class TooMuch(NotSupported):
    """An expression beyond these bounds, or one that compiles to too many routes; the message says which."""


class Name(Struct, frozen=True):
    """What a path begins with: an element, the type that the expression is about, `$this`, `%resource`."""

    name: str


class Child(Struct, frozen=True):
    base: Node
    name: str


class Index(Struct, frozen=True):
    base: Node
    index: int


class Call(Struct, frozen=True):
    """`base.function(arguments)`; `base` is None for a bare call such as `resolve()`."""

    base: Node | None
    function: str
    arguments: tuple[Node, ...]


class Literal(Struct, frozen=True):
    value: str | bool | int | Decimal


class Operation(Struct, frozen=True):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


N = TypeVar("N")
Node = Name | Child | Index | Call | Literal | Operation

LEVELS = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "!="),
    ("<", ">", "<=", ">="),
    ("|",),
    ("is", "as"),
    ("+", "&"),
)
"""Binary operators, lowest precedence first. All are left-associative."""
OPERATORS = frozenset(operator for level in LEVELS for operator in level)

# How many characters of an expression a message repeats.
_SHOWN = 200
_TOKEN = re.compile(
    r"\s*(?:'(?:[^'\\]|\\.)*'|(?P<number>\d+(?:\.\d+)?)|[%$]?[A-Za-z_][A-Za-z0-9_]*|<=|>=|!=|[.,()\[\]=<>|+&])"
)


def parse(expression: str, operators: frozenset[str] = OPERATORS) -> Node:
    """The tree of an expression that uses these `operators` only. NotSupported beyond the grammar, TooMuch beyond the bounds."""
    if len(expression) > LONGEST:
        raise TooMuch(f"the expression has more than {LONGEST} characters")
    parser = _Parser(expression, operators)
    node = parser.binary(0)
    if parser.current:
        parser.refuse()
    return node


class _Parser:
    def __init__(self, expression: str, operators: frozenset[str]) -> None:
        self.expression = expression
        self.levels = [level for level in LEVELS if not operators.isdisjoint(level)]
        self.tokens = list(self.read())
        self.tokens.append("")
        self.at = 0
        self.depth = 0

    def read(self) -> Iterator[str]:
        position, text, number = 0, self.expression.rstrip(), 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.refuse()
            number += 1
            if number > STEPS:
                raise TooMuch(f"the expression has more than {STEPS} words and signs")
            if match["number"] and len(match["number"]) > DIGITS:
                raise TooMuch(f"a number in the expression has more than {DIGITS} digits")
            yield match[0].strip()
            position = match.end()

    @property
    def current(self) -> str:
        return self.tokens[self.at]

    def refuse(self) -> NoReturn:
        raise unsupported(self.expression)

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
        if not re.match(r"[%$]?[A-Za-z_]", token):
            self.refuse()
        self.at += 1
        return token

    def binary(self, level: int) -> Node:
        if level == len(self.levels):
            return self.path()
        node = self.binary(level + 1)
        most = STEPS if "|" in self.levels[level] else PATH
        for operator in self.bounded(*self.levels[level], most=most):
            node = Operation(operator, node, self.binary(level + 1))
        return node

    def path(self) -> Node:
        node = self.term()
        for operator in self.bounded(".", "["):
            if operator == "[":
                node = Index(node, self.number())
                self.need("]")
            else:
                name = self.identifier()
                node = self.call(node, name) if self.current == "(" else Child(node, name)
        return node

    def term(self) -> Node:
        token = self.current
        if self.take("("):
            return self.inner(lambda: self.binary(0))
        if token.startswith("'"):
            self.at += 1
            return Literal(re.sub(r"\\(.)", r"\1", token[1:-1]))
        if token[:1].isdigit():
            self.at += 1
            return Literal(Decimal(token) if "." in token else int(token))
        if self.take("true", "false"):
            return Literal(token == "true")
        name = self.identifier()
        return self.call(None, name) if self.current == "(" else Name(name)

    def call(self, base: Node | None, function: str) -> Node:
        self.need("(")
        return Call(base, function, self.inner(self.arguments))

    def arguments(self) -> tuple[Node, ...]:
        if self.current == ")":
            return ()
        found = [self.binary(0)]
        while self.take(","):
            found.append(self.binary(0))
        return tuple(found)

    def inner(self, read: Callable[[], N]) -> N:
        """Reads the content of parentheses, and the closing parenthesis."""
        self.depth += 1
        if self.depth > DEEP:
            raise TooMuch(f"the expression has parentheses nested more than {DEEP} deep")
        node = read()
        self.need(")")
        self.depth -= 1
        return node

    def bounded(self, *operators: str, most: int = PATH) -> Iterator[str]:
        """Yields the operators that follow, one at a time. TooMuch above the number of steps that one path may have."""
        for _ in range(most):
            if (operator := self.take(*operators)) is None:
                return
            yield operator
        if self.current in operators:
            raise TooMuch(f"a path in the expression has more than {PATH} steps")

    def number(self) -> int:
        token = self.current
        if not token.isdigit():
            self.refuse()
        self.at += 1
        return int(token)


def unsupported(expression: str) -> NotSupported:
    """The error for an expression that its reader does not know."""
    shown = expression if len(expression) <= _SHOWN else f"{expression[:_SHOWN]}..."
    return NotSupported(f"this expression uses FHIRPath that is not supported: {shown}")
