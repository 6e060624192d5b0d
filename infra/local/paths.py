"""JSONPath as the Amazon States Language uses it: reference paths, and templates whose keys end in `.$`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\d+)\]")


class PathError(ValueError):
    """A path that is not supported, or that leads nowhere."""


@lru_cache(maxsize=512)
def steps(path: str) -> tuple[str | int, ...]:
    """The keys and positions of a reference path: `$.a.b[0]` gives ("a", "b", 0). PathError on any other syntax."""
    found: list[str | int] = []
    position = 1
    if not path.startswith("$"):
        raise PathError(f"a path must begin with $: {path}")
    while position < len(path):
        step = STEP.match(path, position)
        if step is None:
            raise PathError(f"only reference paths are supported: {path}")
        name, quoted, index = step.groups()
        found.append(int(index) if index is not None else name or quoted)
        position = step.end()
    return tuple(found)


def read(path: str, document: Any, context: Any) -> Any:
    """The value at `path` in `document`, or in the context object when it begins with `$$`; PathError if there is none."""
    if path.startswith("$$"):
        path, document = path[1:], context
    value = document
    for step in steps(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise PathError(f"{path} leads nowhere") from None
    return value


def exists(path: str, document: Any, context: Any) -> bool:
    """Whether `path` leads to anything, null included."""
    try:
        read(path, document, context)
    except PathError:
        return False
    return True


def write(path: str | None, document: Any, value: Any) -> Any:
    """ResultPath: a copy of `document` with `value` at `path`; `$` replaces it all, None drops the value."""
    if path is None:
        return document
    return _put(document, steps(path), value, path=path)


def _put(document: Any, remaining: tuple[str | int, ...], value: Any, *, path: str) -> Any:
    if not remaining:
        return value
    first, *rest = remaining
    if not isinstance(first, str) or not isinstance(document, dict):
        raise PathError(f"ResultPath can only add to objects: {path}")
    return {**document, first: _put(document.get(first, {}), tuple(rest), value, path=path)}


def render(template: Any, document: Any, context: Any) -> Any:
    """Parameters, ItemSelector, ResultSelector: `template` with the value at the path for every `"key.$": "$.path"`."""
    if isinstance(template, list):
        return [render(item, document, context) for item in template]
    if not isinstance(template, dict):
        return template
    return dict(
        (key[:-2], read(value, document, context)) if key.endswith(".$") else (key, render(value, document, context))
        for key, value in template.items()
    )
