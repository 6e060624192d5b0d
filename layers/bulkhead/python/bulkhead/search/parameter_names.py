"""Checks the names of search parameters: R4's form, with at most one modifier (R4 search.html, 3.1.1.3).

A malformed name is refused and never ignored: a condition that is not checked would show more than the client asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from bulkhead.errors import BadRequest

_PREFIXES = {
    ">": "gt", "<": "lt", ">=": "ge", "<=": "le", "!=": "ne", "<>": "ne", "==": "eq", "=": "eq",
    "gt": "gt", "lt": "lt", "gte": "ge", "lte": "le", "ge": "ge", "le": "le", "ne": "ne", "eq": "eq",
}  # fmt: skip
_WORDS = "gte|lte|gt|lt|ge|le|ne|eq"
_OPERATOR = re.compile(
    rf"\s*([\w-]+)\s*(?:\[\s*\$?({_WORDS})\s*\]|[:.]?\$({_WORDS})\b|(>=|<=|<>|!=|==|>|<)|\s(=)).*", re.DOTALL
)
_COMPARED = re.compile(
    rf"\s*(?:\{{\s*[\"']?)?(?:\$?\b({_WORDS})\b\s+|\$({_WORDS})|(>=|<=|<>|!=|==|=|>|<)).*", re.DOTALL
)
_EXAMPLE = "2020-01-31"
# No parameter name contains one of these; JSON, XML and prose do.
_NO_NAME = re.compile(r"[\s{}\"<>]")


def require_form(name: str, plain: Iterable[str], named_in_r4: Callable[[str], str]) -> None:
    """Raises BadRequest for a text that is no name, has an operator, lacks its own name, or has not exactly one modifier after a `:`.

    `plain` are the parameters that take no modifier at all; `named_in_r4` gives the parameter that a code of older versions is meant for.
    """
    compared = _OPERATOR.fullmatch(name)
    if compared:
        code, operator = compared[1], next(part for part in compared.groups()[1:] if part)
        raise BadRequest(
            f"{code} is compared by a prefix of its value in R4: {named_in_r4(code)}={_PREFIXES[operator]}{_EXAMPLE}",
            expression=code,
        )
    if _NO_NAME.search(name):
        # The text is not repeated: if the client meant to send a form, it may be a whole resource.
        raise BadRequest(
            "the query must consist of name=value pairs: this one has text that is not a parameter name",
            expression="query",
        )
    if name == "_has":
        raise BadRequest("_has must be _has:Type:reference:parameter", expression=name)
    # The text after `_has:` has colons of its own; the code that parses chains checks them.
    for step in name.partition("_has:")[0].removesuffix(".").split("."):
        if not step and name.startswith("_has:"):
            return
        code, colon, modifier = step.partition(":")
        if not code:
            if not name:
                raise BadRequest("a parameter has no name: send name=value", expression="query")
            raise BadRequest(f"{name} does not contain the name of a parameter", expression=name)
        if colon and not modifier:
            raise BadRequest(f"{name} ends in a colon: add a modifier or remove the colon", expression=name)
        if ":" in modifier:
            raise BadRequest(f"{name} has two modifiers: R4 allows one", expression=name)
        if colon and code in plain:
            raise BadRequest(f"{code} takes no modifier", expression=name)


def habit(text: str) -> str:
    """A hint for a value that compares in the way of other query languages: `> 2013`, `gt 2013`, `$gt2013`; "" for other values."""
    compared = _COMPARED.fullmatch(text)
    if not compared:
        return ""
    operator = next(part for part in compared.groups() if part)
    return f"; in R4 the prefix is directly before the value: {_PREFIXES[operator]}{_EXAMPLE}"


def alike(code: str, known: Iterable[str]) -> str | None:
    """The parameter that differs from a code only in case, hyphens and underscores: `whenhandedover` for `whenHandedOver`."""
    wanted = _bare(code)
    return next((other for other in known if _bare(other) == wanted), None)


def _bare(code: str) -> str:
    return (
        code[:1] + re.sub("[-_]", "", code[1:]).casefold() if code[:1] == "_" else re.sub("[-_]", "", code).casefold()
    )
