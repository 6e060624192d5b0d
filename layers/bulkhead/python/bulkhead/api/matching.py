"""Finds the route of a method and a path: the one matcher for HTTP, bundles and jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from bulkhead.api.routes import BASE, DEFAULT, ROUTES, Route
from bulkhead.fhir.definitions import RESOURCE_TYPES


class Match(NamedTuple):
    """The route of a request and its path parameters, decoded."""

    route: Route
    parameters: Mapping[str, str]


class Matcher:
    """Selects routes. Leftmost literals win; a route of one method wins over ANY."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.default: Route | None = None
        self._by_length: dict[int, list[_Pattern]] = {}
        for route in routes:
            if route.path == DEFAULT:
                self.default = route
                continue
            pattern = _Pattern(route)
            self._by_length.setdefault(len(pattern.template), []).append(pattern)
        for candidates in self._by_length.values():
            candidates.sort(
                key=lambda each: ([_is_variable(part) for part in each.template], each.route.method == "ANY")
            )

    def match(self, method: str, path: str) -> Match | None:
        """The most specific route for a path as it was sent; otherwise that of `$default`; None if there is neither."""
        parts = segments(path)
        for pattern in self._by_length.get(len(parts), ()):
            if pattern.route.method in (method, "ANY") and pattern.fits(parts):
                return Match(pattern.route, pattern.parameters(parts))
        return Match(self.default, {}) if self.default else None

    def fitting(self, path: str) -> list[Route]:
        """The routes of any method that fit a path, the most specific first."""
        return [found.route for found in self.matches(path)]

    def matches(self, path: str) -> list[Match]:
        """The same, each with its path parameters."""
        parts = segments(path)
        fitting = [pattern for pattern in self._by_length.get(len(parts), ()) if pattern.fits(parts)]
        return [Match(pattern.route, pattern.parameters(parts)) for pattern in fitting]


def segments(path: str) -> list[str]:
    """The decoded segments of a path (RFC 3986 2.3, 6.2.2.2: `%24meta` is `$meta`); an encoded slash stays within its segment.

    One slash at the end is ignored: many HTTP libraries add one to a base URL.
    """
    return [unquote(part) for part in path.removesuffix("/").split("/")]


def _is_variable(part: str) -> bool:
    return part.startswith("{")


class _Pattern:
    """A route's path, taken apart once: each request is compared with dozens of them."""

    def __init__(self, route: Route) -> None:
        self.route, self.template = route, route.path.split("/")
        self._variables = [(n, part[1:-1]) for n, part in enumerate(self.template) if _is_variable(part)]
        # From the end, because all paths begin alike.
        self._literals = [(n, part) for n, part in enumerate(self.template) if not _is_variable(part)][::-1]

    def fits(self, parts: list[str]) -> bool:
        """Whether `parts`, of the template's length, has its literals, and something in place of each variable."""
        for n, literal in self._literals:
            if parts[n] != literal:
                return False
        return all(parts[n] for n, _ in self._variables)

    def parameters(self, parts: list[str]) -> dict[str, str]:
        return {name: parts[n] for n, name in self._variables}


_MATCHER = Matcher(ROUTES)
fitting, matches = _MATCHER.fitting, _MATCHER.matches
_LITERAL = frozenset(route.path for route in ROUTES if "{" not in route.path)


def match(method: str, path: str) -> Match:
    """The route of a request; that of `$default` if no other fits."""
    found = _MATCHER.match(method, path)
    assert found is not None
    return found


def methods(path: str) -> list[str]:
    """The methods that a path takes, in order. `Patient/_search` fits `{type}/{id}` too, and does not take its methods: see `can_name`.

    Neither does a path that is in the table letter by letter, such as that of an OperationDefinition of the server itself.
    """
    found = [one for one in matches(path) if can_name(one.parameters)]
    if any(not one.parameters for one in found):
        found = [one for one in found if not one.parameters]
    return sorted({one.route.method for one in found})


def is_literal(path: str) -> bool:
    """Whether the table has a path letter by letter."""
    return "/".join(segments(path)) in _LITERAL


def can_name(parameters: Mapping[str, str]) -> bool:
    """Whether the parameters of a path can name resources: the type is one of R4, and neither id nor member is the name of another path."""
    kind = parameters.get("type")
    if kind is not None and kind not in RESOURCE_TYPES:
        return False
    return not any(parameters.get(name, "").startswith(("_", "$")) for name in ("id", "member"))


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
