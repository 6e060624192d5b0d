"""The route table, and the coarser one that API Gateway gets."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.api import matching, routes
from bulkhead.api.routes import BASE, DEFAULT, GATEWAY, ROUTES, Route

GATEWAYS = matching.Matcher(GATEWAY)


def test_no_route_key_of_api_gateway_holds_a_dollar_but_the_default_one() -> None:
    keys = [route.key for route in GATEWAY]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[A-Z]+ [\w./{}-]+", key) for key in keys if key != DEFAULT)
    assert keys.count(DEFAULT) == 1


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path != DEFAULT], ids=lambda route: route.key)
@settings(max_examples=10)
@given(data=st.data())
def test_a_request_reaches_the_function_of_its_operation(route: Route, data: st.DataObject) -> None:
    """Whatever is percent-encoded: API Gateway takes the path as it was sent, the Router decodes it."""
    names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,9}", fullmatch=True).filter(lambda text: text != "job")
    path = re.sub(r"\{\w+\}", lambda _: data.draw(names), route.path)
    if matching.match(route.method, path).route != route:
        return  # The drawn names came to be those of a more specific route.
    sent = re.sub(r"\$", lambda _: data.draw(st.sampled_from(["$", "%24"])), path)
    found = GATEWAYS.match(route.method, sent)
    assert found is not None
    assert (found.route.function, found.route.public) == (route.function, route.public)
    assert matching.match(route.method, sent).route == route


def test_an_operation_that_nobody_knows_asks_for_a_token_too() -> None:
    for method, path in (("POST", "Patient/1/$no"), ("GET", "Patient/1/$no"), ("POST", "$no"), ("POST", "Patient/$no")):
        for sent in (path, path.replace("$", quote("$"))):
            found = GATEWAYS.match(method, f"{BASE}/{sent}")
            assert found is not None
            assert not found.route.public


def test_operations_of_one_place_have_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = Route("POST", f"{BASE}/{{type}}/{{id}}/$stray", "search", "stray")
    monkeypatch.setattr(routes, "ROUTES", (*ROUTES, stray))
    with pytest.raises(ValueError, match=r"\$stray shares a route of API Gateway with everything"):
        routes._gateway_routes()
