"""The front door over real sockets, with functions made for the test."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from bulkhead.api.routes import DEFAULT, Route
from infra.local import server
from infra.local.gateway import Router
from infra.local.identity import AUDIENCE, Identity
from infra.local.listener import Listener
from infra.local.tokens import KeysUnavailable, Verifier
from infra.local.wsgi import read_body
from tests.support.environ import environ

ROUTES = (
    Route("POST", "/echo", "echo", "o"),
    Route("GET", "/raise", "raise", "o"),
    Route("GET", "/nonsense", "nonsense", "o"),
    Route("ANY", DEFAULT, "open", "o", public=True),
)


def call(function: str, event: dict[str, Any]) -> Any:
    if function == "raise":
        raise ValueError("Patient Anna Keel")
    if function == "nonsense":
        return None
    return {
        "statusCode": 200 if function == "echo" else 404,
        "headers": {"x-route": event["routeKey"]},
        "body": event.get("body", ""),
    }


@pytest.fixture
def url() -> Iterator[str]:
    listener = Listener("127.0.0.1", 0, server.Front(ROUTES, call), threads=2)
    listener.serve()
    yield f"http://127.0.0.1:{listener.port}"
    listener.stop()


def test_requests_reach_their_function_over_one_connection(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for number in range(3):
            answer = client.post("/echo", content=str(number), headers={"content-type": "text/plain"})
            assert (answer.status_code, answer.text, answer.headers["x-route"]) == (200, str(number), "POST /echo")
            assert answer.http_version == "HTTP/1.1"
            assert answer.headers.get("connection", "keep-alive").lower() == "keep-alive"


def test_a_large_body_and_a_chunked_one_arrive_whole(url: str) -> None:
    text = "0123456789" * 1_000_000
    headers = {"content-type": "text/plain"}
    assert httpx.post(f"{url}/echo", content=text, headers=headers).text == text
    pieces = (text[start : start + 100_000].encode() for start in range(0, len(text), 100_000))
    assert httpx.post(f"{url}/echo", content=pieces, headers=headers).text == text


@pytest.mark.parametrize("path", ["/raise", "/nonsense"])
def test_a_function_that_fails_gives_an_outcome_and_names_no_patient(
    url: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("bulkhead.local")
    logger.addHandler(caplog.handler)
    answer = httpx.get(f"{url}{path}")
    logger.removeHandler(caplog.handler)

    assert answer.status_code == 500
    assert answer.json()["issue"][0]["code"] == "exception"
    logged = json.dumps([vars(record) for record in caplog.records], default=str)
    assert "function failed" in logged
    assert "Anna" not in logged
    assert "Anna" not in answer.text


def test_head_has_no_body_but_its_length(url: str) -> None:
    answer = httpx.head(f"{url}/echo")
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_taken_port_is_seen_at_once(url: str) -> None:
    with pytest.raises(OSError, match="in use"):
        Listener("127.0.0.1", int(url.rpartition(":")[2]), server.Front(ROUTES, call))


def test_a_token_is_needed_but_for_public_routes(tmp_path: Path) -> None:
    identity = Identity("http://local", tmp_path / "identity.pem")
    front = server.Front(ROUTES, call, Verifier("http://local", [AUDIENCE], identity), identity=identity)

    refused = front(environ("POST", "/echo"))
    allowed = front(environ("POST", "/echo", HTTP_AUTHORIZATION=f"Bearer {identity.token('me', 'x')}"))
    public = front(environ("GET", "/elsewhere"))
    keys = front(environ("GET", "/.well-known/jwks.json"))

    assert (refused.status, allowed.status, public.status, keys.status) == (401, 200, 404, 200)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert json.loads(refused.body)["resourceType"] == "OperationOutcome"


def test_keys_that_cannot_be_had_are_told_of_without_detail() -> None:
    class Nowhere:
        def get(self, key_id: str) -> Any:
            raise KeysUnavailable

    token = jwt.encode({"iss": "https://issuer.example"}, "0" * 32, headers={"kid": "secret-key"})
    front = server.Front(ROUTES, call, Verifier("https://issuer.example", [AUDIENCE], Nowhere()))
    answer = front(environ("POST", "/echo", HTTP_AUTHORIZATION=f"Bearer {token}"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert b"secret-key" not in answer.body
    assert b"issuer.example" not in answer.body


def test_without_a_route_the_answer_is_an_outcome() -> None:
    answer = server.Front(ROUTES[:1], call)(environ("GET", "/nothing"))
    assert (answer.status, json.loads(answer.body)["issue"][0]["code"]) == (404, "not-found")


def test_a_request_without_a_body_has_none() -> None:
    assert read_body(environ("GET", "/")) == b""
    assert Router(ROUTES).match("GET", "/") is not None


@pytest.mark.parametrize(
    "line", ["GET /M\u00fcller HTTP/1.1", "get / HTTP/1.1", "GET", "GET / HTTP/9.9x", "GET / HTTP/1.1\r\nbroken header"]
)
def test_what_is_not_http_is_refused_with_an_outcome(url: str, line: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(line.encode() + b"\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["resourceType"] == "OperationOutcome"
