from __future__ import annotations

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api import routes
from bulkhead.api.routes import BASE, Route
from infra.local import gateway
from tests.support.environ import environ

ROUTER = gateway.Router(routes.ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", f"{BASE}/Patient/1", "GET /fhir/R4/{type}/{id}", {"type": "Patient", "id": "1"}),
        ("GET", f"{BASE}/job/1/status", "GET /fhir/R4/job/{id}/status", {"id": "1"}),
        ("GET", f"{BASE}/Patient/1/_history", "GET /fhir/R4/{type}/{id}/_history", {"type": "Patient", "id": "1"}),
        ("GET", f"{BASE}/Patient/1/*", "GET /fhir/R4/{type}/{id}/{member}", {"type": "Patient", "id": "1", "member": "*"}),
        ("POST", f"{BASE}/Patient/_search", "POST /fhir/R4/{type}/_search", {"type": "Patient"}),
        ("POST", f"{BASE}/Patient/1/$set-accounts", "POST /fhir/R4/{type}/{id}/$set-accounts", {"type": "Patient", "id": "1"}),
        ("GET", f"{BASE}/Patient/a%2Fb", "GET /fhir/R4/{type}/{id}", {"type": "Patient", "id": "a/b"}),
        ("GET", f"{BASE}/Patient/", "GET /fhir/R4/{type}", {"type": "Patient"}),
        ("POST", f"{BASE}/", f"POST {BASE}", {}),
        ("GET", f"{BASE}//", "$default", {}),
        ("GET", "/elsewhere", "$default", {}),
        ("DELETE", BASE, "$default", {}),
        ("HEAD", f"{BASE}/Patient/1", f"HEAD {BASE}/{{type}}/{{id}}", {"type": "Patient", "id": "1"}),
        ("OPTIONS", f"{BASE}/Patient/1", "$default", {}),
    ],
)  # fmt: skip
def test_the_most_specific_route_is_selected(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    match = ROUTER.match(method, path)

    assert match is not None
    assert match.route.key == key
    assert match.parameters == parameters


def test_without_a_default_route_nothing_matches() -> None:
    assert gateway.Router([Route("GET", "/a", "f", "o")]).match("GET", "/b") is None


def test_a_route_of_one_method_wins_over_any() -> None:
    router = gateway.Router([Route("ANY", "/a/{id}", "any", "o"), Route("GET", "/a/{id}", "get", "o")])
    matches = [router.match(method, "/a/1") for method in ("GET", "PUT")]
    assert [match and match.route.function for match in matches] == ["get", "any"]


def event(method: str, uri: str, body: bytes = b"", **headers: str) -> dict[str, object]:
    match = ROUTER.match(method, uri.partition("?")[0])
    assert match is not None
    return gateway.event(environ(method, uri, body, **headers), match, "request-1")


def test_the_event_holds_path_query_and_headers() -> None:
    made = event("GET", f"{BASE}/Patient/1/*?_type=a,b&_type=c%20d&x=", HTTP_X_MEDPLUM="extended", HTTP_COOKIE="secret")

    assert made["rawPath"] == f"{BASE}/Patient/1/*"
    assert made["rawQueryString"] == "_type=a,b&_type=c%20d&x="
    assert made["queryStringParameters"] == {"_type": "a,b,c d", "x": ""}
    assert made["pathParameters"] == {"type": "Patient", "id": "1", "member": "*"}
    headers = made["headers"]
    assert isinstance(headers, dict)
    assert headers["x-medplum"] == "extended"
    assert headers["x-forwarded-proto"] == "http"
    assert "cookie" not in headers
    context = made["requestContext"]
    assert isinstance(context, dict)
    assert context["http"]["method"] == "GET"
    assert context["requestId"] == "request-1"
    assert context["domainName"] == "localhost:8000"
    assert "body" not in made


@pytest.mark.parametrize(
    ("content_type", "as_text"),
    [("application/json", True), ("application/json; charset=utf-8", True), ("text/plain", True), ("application/xml", True),
     ("application/fhir+json", False), ("application/x-www-form-urlencoded", False), ("", False)],
)  # fmt: skip
def test_bodies_are_text_or_base64_by_their_type(content_type: str, as_text: bool) -> None:
    body = '{"a": "ü"}'.encode()
    made = event("POST", f"{BASE}/Patient", body, CONTENT_TYPE=content_type)

    assert made["isBase64Encoded"] is not as_text
    assert made["body"] == (body.decode() if as_text else base64.b64encode(body).decode())


def test_a_compressed_body_stays_compressed() -> None:
    body = gzip.compress(b"{}")
    made = event("POST", BASE, body, CONTENT_TYPE="application/json", HTTP_CONTENT_ENCODING="gzip")

    assert made["isBase64Encoded"] is True
    assert base64.b64decode(str(made["body"])) == body


def test_text_that_is_not_utf8_reaches_the_handler_all_the_same() -> None:
    made = event("POST", BASE, b"\xff\xfe", CONTENT_TYPE="application/json")
    assert base64.b64decode(str(made["body"])) == b"\xff\xfe"


@given(st.binary(min_size=1), st.sampled_from(["application/json", "application/fhir+json", "text/plain"]))
def test_no_body_is_lost(body: bytes, content_type: str) -> None:
    made = event("POST", BASE, body, CONTENT_TYPE=content_type)
    text = str(made["body"])
    assert (base64.b64decode(text) if made["isBase64Encoded"] else text.encode()) == body


def test_claims_go_where_api_gateway_puts_them() -> None:
    match = ROUTER.match("GET", f"{BASE}/Patient/1")
    assert match is not None
    made = gateway.event(environ("GET", f"{BASE}/Patient/1"), match, "request-1", claims={"scope": "a b"})
    assert made["requestContext"]["authorizer"] == {"jwt": {"claims": {"scope": "a b"}, "scopes": None}}


def test_an_answer_may_be_text_or_base64() -> None:
    zipped = {
        "statusCode": 200,
        "headers": {"x": 1},
        "body": base64.b64encode(b"\x1f\x8b").decode(),
        "isBase64Encoded": True,
    }
    assert gateway.answer(zipped).body == b"\x1f\x8b"
    assert gateway.answer(zipped).headers == {"x": "1"}
    assert gateway.answer({"statusCode": 204}).body == b""
    assert gateway.answer({"statusCode": 200, "body": json.dumps("ü", ensure_ascii=False)}).body == '"ü"'.encode()
