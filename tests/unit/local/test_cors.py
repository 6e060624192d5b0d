"""CORS as API Gateway adds it."""

from __future__ import annotations

from infra import cors
from infra.local.cors import with_headers
from infra.local.wsgi import Answer
from tests.support.environ import environ

ANSWER = Answer(200, {"ETag": 'W/"1"'}, b"{}")
ORIGIN = {"HTTP_ORIGIN": "https://app.example"}


def test_the_own_origin_gets_nothing_more() -> None:
    assert with_headers(environ("GET", "/"), ANSWER) is ANSWER


def test_another_origin_may_read_the_answer() -> None:
    found = with_headers(environ("GET", "/") | ORIGIN, ANSWER)
    assert (found.status, found.body, found.headers["ETag"]) == (200, b"{}", 'W/"1"')
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert "etag" in found.headers["Access-Control-Expose-Headers"].split(",")
    assert "Access-Control-Allow-Methods" not in found.headers


def test_a_preflight_says_what_is_allowed() -> None:
    asked = environ("OPTIONS", "/") | ORIGIN | {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
    headers = with_headers(asked, Answer(204)).headers
    assert headers["Access-Control-Allow-Methods"].split(",") == list(cors.METHODS)
    assert {"authorization", "content-type", "if-match", "prefer"} <= set(
        headers["Access-Control-Allow-Headers"].split(",")
    )
    assert int(headers["Access-Control-Max-Age"]) == cors.MAX_AGE
