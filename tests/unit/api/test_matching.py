"""The Matcher, which takes the paths of the routes apart once, finds what a plain comparison with the whole table finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api.matching import Matcher, segments
from bulkhead.api.routes import DEFAULT, GATEWAY, ROUTES, Route

WORDS = sorted({part for route in ROUTES for part in route.path.split("/")} | {"Patient"})
TABLES = [ROUTES, GATEWAY]

# Nothing at all is no name: often, since it is what a comparison forgets.
words = st.sampled_from(["", "x"]) | st.sampled_from(WORDS)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """The path of a route with names for its variables; now and then another word in any place."""
    route = draw(st.sampled_from([route for route in ROUTES if route.path != DEFAULT]))
    parts = route.path.split("/")
    other = draw(st.integers(1, 2 * len(parts)))
    return "/".join(draw(words) if part.startswith("{") or n == other else part for n, part in enumerate(parts))


def fits(route: Route, path: str) -> bool:
    template, parts = route.path.split("/"), segments(path)
    return len(template) == len(parts) and all(
        wanted == part or (wanted.startswith("{") and part != "") for wanted, part in zip(template, parts, strict=True)
    )


def rank(route: Route) -> tuple[list[bool], bool]:
    return [part.startswith("{") for part in route.path.split("/")], route.method == "ANY"


@given(st.sampled_from(TABLES), paths(), st.sampled_from(["GET", "POST", "PUT", "DELETE", "BREW"]))
def test_the_routes_that_fit_are_those_of_the_table(table: tuple[Route, ...], path: str, method: str) -> None:
    matcher = Matcher(table)
    expected = sorted((route for route in table if route.path != DEFAULT and fits(route, path)), key=rank)
    assert matcher.fitting(path) == expected
    taken = next((route for route in expected if route.method in (method, "ANY")), None)
    found = matcher.match(method, path)
    default = next((route for route in table if route.path == DEFAULT), None)
    assert (found and found.route) == (taken or default)
    if found and taken:
        wanted = zip(taken.path.split("/"), segments(path), strict=True)
        assert found.parameters == {name[1:-1]: part for name, part in wanted if name.startswith("{")}
