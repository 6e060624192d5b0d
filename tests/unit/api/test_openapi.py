"""The OpenAPI document, the page that shows it, and the SMART configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkhead.access import policy
from bulkhead.api import openapi, router
from bulkhead.api.routes import DEFAULT, ROUTES
from bulkhead.operations import description, smart
from bulkhead.settings import Settings

ISSUER = "https://issuer.example"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(ROUTES, "https://server.example", ISSUER)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): found for path, item in document["paths"].items() for method, found in item.items()}


def test_every_route_is_there(document: dict[str, Any]) -> None:
    expected = {(r.method.lower(), r.path) for r in ROUTES if r.path != DEFAULT and r.method != "HEAD"}
    assert set(operations(document)) == expected


def test_every_operation_has_words() -> None:
    assert {route.operation for route in ROUTES} - {"unmatched"} == set(openapi.WORDS)


def test_it_is_small(document: dict[str, Any]) -> None:
    assert len(json.dumps(document)) < 100_000


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    identifiers = [found["operationId"] for found in operations(document).values()]
    assert len(identifiers) == len(set(identifiers))


def test_path_parameters_are_those_of_the_path(document: dict[str, Any]) -> None:
    for (_, path), found in operations(document).items():
        named = {parameter["name"] for parameter in found["parameters"] if parameter["in"] == "path"}
        assert named == {segment[1:-1] for segment in path.split("/") if segment.startswith("{")}


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for each in value for found in references(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if "$ref" in value else set()
    return own.union(*(references(each) for each in value.values()))


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]
    known = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    assert references(document) <= known


def test_what_is_not_public_asks_for_a_token(document: dict[str, Any]) -> None:
    public = {(route.method.lower(), route.path) for route in ROUTES if route.public}
    for key, found in operations(document).items():
        assert ("security" in found) is (key not in public)


def test_no_token_where_there_is_no_issuer() -> None:
    document = openapi.document(ROUTES, "http://127.0.0.1:8000", "")
    assert "securitySchemes" not in document["components"]
    assert not any("security" in found for found in operations(document).values())


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = description.page().decode()
    assert 'SwaggerUIBundle({url: "/openapi.json"' in page
    assert page.count("</script>") == 2
    assert not [tag for tag in ("<link", "<script src", "<img") if tag in page.partition("<script>")[0]]


def test_smart_configuration() -> None:
    known = Settings(
        issuer=ISSUER,
        jwks_uri=f"{ISSUER}/certs",
        authorization_endpoint=f"{ISSUER}/authorize",
        token_endpoint=f"{ISSUER}/token",
    )
    found = smart.document(known)
    assert (found["issuer"], found["jwks_uri"]) == (ISSUER, f"{ISSUER}/certs")
    assert found["grant_types_supported"] == ["authorization_code", "client_credentials"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert smart.authorization(known) == {"authorize": f"{ISSUER}/authorize", "token": f"{ISSUER}/token"}


def test_no_endpoint_is_guessed() -> None:
    """Keycloak, Okta and Entra have their keys elsewhere than any rule says."""
    assert not {name for name in smart.document(Settings(issuer=ISSUER)) if name.endswith(("_uri", "_endpoint"))}


def test_smart_scopes_are_understood() -> None:
    who = policy.caller_of({"sub": "x", "scope": " ".join(smart.SCOPES)}, "on")
    assert who.sets_accounts
    assert who.purges
    assert len(who.scopes) == len(smart.SCOPES) - 2


def test_without_authentication_nothing_is_claimed() -> None:
    found = smart.document(Settings(auth="off", issuer=ISSUER))
    assert not any(found.values())
    assert smart.authorization(Settings(auth="off")) is None


def test_every_route_of_the_function_has_an_operation() -> None:
    assert all(callable(router.operation(route.operation)) for route in ROUTES)
