"""The edge through `serve`: formats of answers and errors, HEAD, OPTIONS, raw Binaries behind the fence."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from bulkhead.api import router
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.fhir import json, xml
from bulkhead.store import Store
from functions import http

PIXELS = bytes(range(256))
FENCED_TO_A = {"sub": "a", "scope": "system/*.cruds", "accounts": "[Organization/a]"}
FENCED_TO_B = {"sub": "b", "scope": "system/*.cruds", "accounts": "[Organization/b]"}
FREE = {"sub": "free", "scope": "system/*.cruds"}


@pytest.fixture(autouse=True)
def _served(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "connect", lambda: store)


def send(
    method: str,
    path: str,
    body: bytes = b"",
    claims: dict[str, str] = FREE,
    query: str = "",
    answer: Callable[[Request], Response] = router.answer,
    **headers: str,
) -> dict[str, Any]:
    """The event that API Gateway makes of an answer; header names have _ for -."""
    names = dict(zip(("type", "id"), path.split("/"), strict=False))
    template = "/fhir/R4/" + "/".join(f"{{{name}}}" for name in names)
    key = "$default" if method == "OPTIONS" else f"{method} {template}"
    context = {"http": {"method": method}, "authorizer": {"jwt": {"claims": claims}}}
    event = {
        "routeKey": key,
        "rawPath": f"/fhir/R4/{path}",
        "rawQueryString": query,
        "pathParameters": names,
        "headers": {"host": "localhost", **{name.replace("_", "-"): text for name, text in headers.items()}},
        "requestContext": context,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    return http.serve(event, answer)


def test_raw_bytes_are_base64_in_the_event_and_fenced() -> None:
    made = send("PUT", "Binary/1", PIXELS, FENCED_TO_A, content_type="image/png")
    assert made["statusCode"] == 201
    read = send("GET", "Binary/1", claims=FENCED_TO_A, accept="image/png")
    assert (read["statusCode"], read["isBase64Encoded"]) == (200, True)
    assert (base64.b64decode(read["body"]), read["headers"]["content-type"]) == (PIXELS, "image/png")
    hidden = send("GET", "Binary/1", claims=FENCED_TO_B, accept="image/png")
    assert (hidden["statusCode"], json.loads(hidden["body"])["resourceType"]) == (404, "OperationOutcome")
    assert send("PUT", "Binary/1", b"b", FENCED_TO_B, content_type="image/png")["statusCode"] == 404
    unchanged = send("GET", "Binary/1", claims=FENCED_TO_A, if_none_match='W/"1"', accept="image/png")
    assert (unchanged["statusCode"], unchanged["body"]) == (304, "")


def test_a_raw_binary_is_checked_as_any_resource() -> None:
    refused = send("PUT", "Binary/1", b"a", content_type="image/png", x_security_context="Patient/1|2")
    assert refused["statusCode"] == 400


def test_head_has_the_headers_of_get_and_no_body() -> None:
    send("PUT", "Basic/1", b'{"resourceType":"Basic","id":"1","code":{"text":"x"}}')
    got, head = send("GET", "Basic/1"), send("HEAD", "Basic/1")
    assert (head["statusCode"], head["body"]) == (200, "")
    assert head["headers"] == got["headers"] | {"Content-Length": str(len(got["body"]))}


def test_options_names_the_methods_of_a_path() -> None:
    answer = send("OPTIONS", "Basic/1")
    assert (answer["statusCode"], answer["body"]) == (204, "")
    assert {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"} <= set(answer["headers"]["allow"].split(", "))


def test_ready_json_becomes_xml() -> None:
    def ready(request: Request) -> Response:
        return Response(200, body=b'{"resourceType":"Basic","id":"1"}')

    answer = send("GET", "Basic/1", answer=ready, query="_format=xml")
    assert xml.loads(answer["body"]) == {"resourceType": "Basic", "id": "1"}


def test_a_document_with_its_own_type_goes_out_as_it_is() -> None:
    def page(request: Request) -> Response:
        return Response(200, headers={"content-type": "text/html; charset=utf-8"}, body=b"<html>")

    answer = send("GET", "Basic/1", answer=page, query="_format=xml")
    assert (answer["body"], answer["headers"]) == ("<html>", {"content-type": "text/html; charset=utf-8"})


def test_what_xml_cannot_say_is_an_outcome() -> None:
    def odd(request: Request) -> Response:
        return Response(200, {"resourceType": "Basic", "odd": 1})

    answer = send("GET", "Basic/1", answer=odd, query="_format=xml")
    assert answer["statusCode"] == 500
    assert xml.loads(answer["body"])["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("query", ["_format=xml&_pretty=true", "_pretty=true"])
def test_pretty(query: str) -> None:
    assert "\n  " in send("GET", "Basic/nobody", query=query)["body"]


def by_default(path: str, query: str = "") -> dict[str, Any]:
    """The answer to what API Gateway sends to `$default`, without claims: among others each path with a slash at its end."""
    return http.serve(
        {
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {"host": "here", "x-forwarded-proto": "https"},
            "requestContext": {"http": {"method": "GET"}},
        }
    )


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/fhir/R4/", "", "https://here/fhir/R4"),
        ("/fhir/R4/", "_type=Patient", "https://here/fhir/R4?_type=Patient"),
        ("/fhir/R4/Patient/", "name=anna&gender=female", "https://here/fhir/R4/Patient?name=anna&gender=female"),
        ("/fhir/R4/Patient/1/", "", "https://here/fhir/R4/Patient/1"),
        ("/fhir/R4//evil.example/", "", "https://here/fhir/R4//evil.example"),
    ],
)
def test_a_slash_at_the_end_leads_to_the_path_without_it_and_the_whole_query(
    path: str, query: str, location: str
) -> None:
    made = by_default(path, query)
    assert (made["statusCode"], made["headers"]["location"]) == (308, location)


@pytest.mark.parametrize(
    "path", ["//evil.example/", "//evil.example/fhir/R4/", "/\\evil.example/", "/%5Cevil.example/", "//", "/"]
)
def test_no_path_leads_to_another_host(path: str) -> None:
    made = by_default(path)
    assert (made["statusCode"], made["headers"].get("location")) == (404, None)


def test_the_servers_own_pages_are_found_with_a_slash_at_the_end() -> None:
    assert by_default("/openapi.json/")["statusCode"] == 200
