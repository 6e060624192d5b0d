"""What the server says of itself over HTTP is what it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.running import Server

BASE = "/fhir/R4"


@pytest.fixture(scope="module")
def secured() -> Iterator[Server]:
    """A server that asks for tokens."""
    running = Server("--empty")
    yield running
    running.stop()


@pytest.fixture
def statement(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("metadata").raise_for_status().json()
    return found


def host(client: httpx.Client, path: str, **named: Any) -> httpx.Response:
    """A path below the host, not below the base."""
    parts = urlsplit(str(client.base_url))
    return client.get(f"{parts.scheme}://{parts.netloc}{path}", **named)


def of_type(statement: dict[str, Any], resource_type: str) -> dict[str, Any]:
    return next(each for each in statement["rest"][0]["resource"] if each["type"] == resource_type)


def test_metadata_is_public_and_cached(secured: Server) -> None:
    with secured.client() as client:
        first = client.get("metadata")
        assert (first.status_code, first.json()["implementation"]["url"]) == (200, secured.url.rstrip("/"))
        again = client.get("metadata", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "max-age" in again.headers["cache-control"]
        assert client.get("Patient").status_code == 401


@pytest.mark.parametrize("content_type", ["application/fhir+json", "application/fhir+xml"])
def test_formats_that_it_names(client: httpx.Client, statement: dict[str, Any], content_type: str) -> None:
    assert content_type in statement["format"]
    answer = client.get("metadata", headers={"Accept": content_type})
    assert answer.headers["content-type"].startswith(content_type)


def test_it_names_every_format_that_it_takes(client: httpx.Client, statement: dict[str, Any]) -> None:
    for name in statement["format"]:
        assert client.get("Organization", params={"_format": name}).status_code == 200


@pytest.mark.parametrize(
    ("mode", "resource_type"),
    [("full", "CapabilityStatement"), ("normative", "CapabilityStatement"), ("terminology", "TerminologyCapabilities")],
)
def test_modes(client: httpx.Client, mode: str, resource_type: str) -> None:
    assert client.get("metadata", params={"mode": mode}).json()["resourceType"] == resource_type


def test_an_unknown_mode_is_refused(client: httpx.Client) -> None:
    answer = client.get("metadata", params={"mode": "partial"})
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["mode"])


def test_definitions_can_be_read_where_the_statement_says(client: httpx.Client, statement: dict[str, Any]) -> None:
    listed = {
        operation["definition"] for each in statement["rest"][0]["resource"] for operation in each.get("operation", ())
    }
    for url in listed:
        found = client.get(url).raise_for_status().json()
        assert (found["resourceType"], found["url"]) == ("OperationDefinition", url)


def test_definitions_of_others_are_stored_beside_them(client: httpx.Client) -> None:
    mine = {
        "resourceType": "OperationDefinition",
        "id": "mine",
        "name": "Mine",
        "status": "draft",
        "kind": "operation",
        "code": "mine",
        "system": True,
        "type": False,
        "instance": False,
    }
    assert client.put("OperationDefinition/mine", json=mine).status_code == 201
    assert client.get("OperationDefinition/mine").json()["name"] == "Mine"


def test_search_parameters_that_it_names_are_known(client: httpx.Client, statement: dict[str, Any]) -> None:
    values = {
        "date": "2020",
        "number": "1",
        "quantity": "1",
        "reference": "Patient/1",
        "token": "x",
        "uri": "urn:x",
        "string": "xx",
    }
    strict = {"Prefer": "handling=strict"}
    for parameter in of_type(statement, "Patient")["searchParam"]:
        answer = client.get("Patient", params={parameter["name"]: values[parameter["type"]]}, headers=strict)
        assert answer.status_code == 200, (parameter, answer.text)


def test_interactions_are_answered(client: httpx.Client, statement: dict[str, Any]) -> None:
    found = of_type(statement, "Basic")
    basic = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
    patch = [{"op": "add", "path": "/author", "value": {"reference": "Patient/anna"}}]
    json_patch = {"Content-Type": "application/json-patch+json"}
    answers = {
        "update": client.put("Basic/b", json=basic),
        "create": client.post("Basic", json=basic),
        "patch": client.patch("Basic/b", json=patch, headers=json_patch),
        "read": client.get("Basic/b"),
        "vread": client.get("Basic/b/_history/1"),
        "history-instance": client.get("Basic/b/_history"),
        "history-type": client.get("Basic/_history"),
        "search-type": client.get("Basic"),
        "delete": client.delete("Basic/b"),
    }
    assert {each["code"] for each in found["interaction"]} == {code for code, a in answers.items() if a.is_success}


def test_conditional_reads_are_as_it_says(client: httpx.Client, statement: dict[str, Any]) -> None:
    read = client.get("Patient/anna")
    tag = client.get("Patient/anna", headers={"If-None-Match": read.headers["etag"]}).status_code
    moment = client.get("Patient/anna", headers={"If-Modified-Since": read.headers["last-modified"]}).status_code
    supported = {(304, 304): "full-support", (304, 200): "not-match", (200, 304): "modified-since"}
    assert of_type(statement, "Patient")["conditionalRead"] == supported[tag, moment]


def test_smart_configuration(secured: Server) -> None:
    with secured.client() as client:
        found = client.get(".well-known/smart-configuration")
        assert found.headers["content-type"] == "application/json"
        assert found.json() == host(client, "/.well-known/smart-configuration").json()
        assert client.get(found.json()["jwks_uri"]).json()["keys"]
        assert "permission-v2" in found.json()["capabilities"]


def test_openapi_and_its_page(client: httpx.Client) -> None:
    document = host(client, "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": str(client.base_url).removesuffix("/").removesuffix(BASE)}]
    page = host(client, "/docs", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "SwaggerUIBundle" in page.text
