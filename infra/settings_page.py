"""Prints docs/settings.md, made from `bulkhead.settings`: `make settings` writes it, and a test compares the two."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from bulkhead import settings
from bulkhead.settings import AtLeast, AtMost, Settings

_HEAD = """# Settings

Each is an environment variable of the server, read once when a process starts. A value that is not allowed stops the process with a sentence
that names the variable. On AWS each is a key of the CDK's context too, `-c SYNC_LIMIT=500`, apart from those that the stack sets itself:
[operations/deploy.md](operations/deploy.md). What a client gets beyond a limit: [limits.md](limits.md).

This page is made from `bulkhead/settings.py` by `make settings`.

| setting | default | allowed | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    types, meanings = get_type_hints(Settings, include_extras=True), _meanings()
    rows = [
        f"| `{field.name.upper()}` | {_default(field.default)} | {_allowed(types[field.name])} | {meanings[field.name]} |"
        for field in fields(Settings)
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """The text below each field of the class."""
    (owner,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(owner, ast.ClassDef)
    found, name = {}, ""
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = " ".join(str(node.value.value).split()).replace("|", r"\|")
    return found


def _default(value: Any) -> str:
    if value == settings.Settings().shared_types:
        return "the directory and conformance types ([sharing.md](sharing.md))"
    return f"`{value}`" if value != "" else "empty"


def _allowed(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    base, *rules = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if base is int:
        least = next((rule.value for rule in rules if isinstance(rule, AtLeast)), 0)
        return f"from {least}" + "".join(f" to {rule.value}" for rule in rules if isinstance(rule, AtMost))
    return "a URL" if rules else "text"


if __name__ == "__main__":
    print(page(), end="")
