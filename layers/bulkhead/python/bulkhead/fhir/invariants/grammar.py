"""Parses the FHIRPath of HL7's constraints into a small tree (FHIRPath 2.0, section "Operator Precedence").

It covers what R4's constraints use: paths, functions, the operators of `_LEVELS`, strings, numbers, booleans, `$this`, `%name`.
ValueError for anything else. It only ever reads HL7's own text, never a client's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | bool | int | Decimal


@dataclass(frozen=True, slots=True)
class Variable:
    """`$this`, `%resource`, `%ucum`, ..., with its sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`; `base` is None at the start of a path."""

    base: Node | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`base.function(arguments)`; `base` is None at the start of a path."""

    base: Node | None
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node


Node = Literal | Variable | Member | Call | Binary

_LEVELS = (
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

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)|(?P<name>[%$]?[A-Za-z_]\w*)|(?P<sign><=|>=|!=|[.,()=<>|+&]))"
)


def parse(expression: str) -> Node:
    """The tree of one constraint. ValueError where the text is outside the grammar."""
    reader = _Reader(expression)
    node = reader.binary(0)
    if reader.current:
        raise ValueError(f"not understood at {reader.current!r}: {expression}")
    return node


class _Reader:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens: list[str] = []
        position, text = 0, expression.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"not understood at character {position}: {expression}")
            self.tokens.append(match[0].strip())
            position = match.end()
        self.tokens.append("")
        self.at = 0

    @property
    def current(self) -> str:
        return self.tokens[self.at]

    def next(self) -> str:
        token = self.current
        self.at += 1
        return token

    def need(self, token: str) -> None:
        if self.next() != token:
            raise ValueError(f"{token!r} is missing: {self.expression}")

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.path()
        node = self.binary(level + 1)
        while self.current in _LEVELS[level]:
            operator = self.next()
            node = Binary(operator, node, self.binary(level + 1))
        return node

    def path(self) -> Node:
        node = self.term()
        while self.current == ".":
            self.next()
            node = self.step(node)
        return node

    def term(self) -> Node:
        token = self.current
        if token == "(":
            self.next()
            node = self.binary(0)
            self.need(")")
            return node
        if token.startswith("'"):
            return Literal(re.sub(r"\\(.)", r"\1", self.next()[1:-1]))
        if token[:1].isdigit():
            return Literal(Decimal(self.next()) if "." in token else int(self.next()))
        if token in ("true", "false"):
            return Literal(self.next() == "true")
        if token[:1] in ("$", "%"):
            return Variable(self.next())
        return self.step(None)

    def step(self, base: Node | None) -> Node:
        name = self.next()
        if not name.isidentifier():
            raise ValueError(f"a name is missing: {self.expression}")
        if self.current != "(":
            return Member(base, name)
        self.next()
        arguments: list[Node] = []
        while self.current != ")":
            arguments.append(self.binary(0))
            if self.current != ")":
                self.need(",")
        self.next()
        return Call(base, name, tuple(arguments))
