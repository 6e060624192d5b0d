"""Finds the route of a method and a path: the one matcher for HTTP, bundles and jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from bulkhead.api.routes import BASE, DEFAULT, ROUTES, Route


class Match(NamedTuple):
    """The route of a request and its path parameters, decoded."""

    route: Route
    parameters: Mapping[str, str]


class _Node:
    """A place in the tree of the routes: what may follow, and the routes that end here, those of one method before ANY."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.routes: list[tuple[Route, list[str]]] = []

    def add(self, route: Route, template: list[str]) -> None:
        node = self
        for part in template:
            if _is_variable(part):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(part, _Node())
        node.routes.append((route, template))
        node.routes.sort(key=lambda pair: pair[0].method == "ANY")

    def fitting(self, parts: list[str], at: int = 0) -> Iterator[tuple[Route, list[str]]]:
        """The routes that fit `parts` from `at` on, with their templates. Leftmost literals first; no variable is empty."""
        if at == len(parts):
            yield from self.routes
            return
        part = parts[at]
        if literal := self.literals.get(part):
            yield from literal.fitting(parts, at + 1)
        if part and self.variable:
            yield from self.variable.fitting(parts, at + 1)


class Matcher:
    """Selects routes. Leftmost literals win; a route of one method wins over ANY."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.default: Route | None = None
        self._tree = _Node()
        for route in routes:
            if route.path == DEFAULT:
                self.default = route
            else:
                self._tree.add(route, route.path.split("/"))

    def match(self, method: str, path: str) -> Match | None:
        """The most specific route for a path as it was sent; otherwise that of `$default`; None if there is neither."""
        parts = segments(path)
        for route, template in self._tree.fitting(parts):
            if route.method in (method, "ANY"):
                return Match(route, _parameters(template, parts))
        return Match(self.default, {}) if self.default else None

    def fitting(self, path: str) -> list[Route]:
        """The routes of any method that fit a path, the most specific first."""
        return [route for route, _ in self._tree.fitting(segments(path))]


def segments(path: str) -> list[str]:
    """The decoded segments of a path (RFC 3986 2.3, 6.2.2.2: `%24meta` is `$meta`); an encoded slash stays within its segment.

    One slash at the end is ignored: many HTTP libraries add one to a base URL.
    """
    return [unquote(part) for part in path.removesuffix("/").split("/")]


def _is_variable(part: str) -> bool:
    return part.startswith("{")


def _parameters(template: list[str], parts: list[str]) -> dict[str, str]:
    return {name[1:-1]: value for name, value in zip(template, parts, strict=True) if _is_variable(name)}


_MATCHER = Matcher(ROUTES)
fitting = _MATCHER.fitting


def match(method: str, path: str) -> Match:
    """The route of a request; that of `$default` if no other fits."""
    found = _MATCHER.match(method, path)
    assert found is not None
    return found


def levels(operation: str) -> list[str]:
    """The route keys of an operation such as `$meta`: `GET {type}/{id}/$meta`, and so on."""
    return [
        f"{route.method} {route.path.removeprefix(BASE).lstrip('/')}"
        for route in ROUTES
        if route.path.endswith(f"/{operation}") and route.method != "HEAD"
    ]


def operations() -> list[str]:
    """The names of all operations, `$everything` and so on."""
    last = {route.path.rpartition("/")[2] for route in ROUTES if route.path != DEFAULT}
    return sorted(name for name in last if name.startswith("$"))
