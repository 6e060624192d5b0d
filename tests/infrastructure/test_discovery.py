"""An issuer's endpoints come from its discovery document, and a wrong issuer is found before it is deployed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from infra import app, discovery
from infra.deployment import Deployment


class Issuer:
    """An issuer on this machine. `document` is what it answers; None for 404."""

    def __init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = issuer.document if self.path == f"/realm{discovery.PATH}" else None
                self.send_response(200 if found is not None else 404)
                self.end_headers()
                self.wfile.write(b"" if found is None else found)

            def log_message(self, *_: Any) -> None:
                pass

        self.document: bytes | None = None
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realm"

    def describes(self, **members: Any) -> None:
        self.document = json.dumps({"issuer": self.url} | members).encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_endpoints_are_those_of_the_document(issuer: Issuer) -> None:
    issuer.describes(
        jwks_uri="https://k/protocol/certs", token_endpoint="https://k/protocol/token", userinfo_endpoint="https://k/u"
    )
    assert discovery.endpoints(issuer.url) == {
        "JWKS_URI": "https://k/protocol/certs",
        "TOKEN_ENDPOINT": "https://k/protocol/token",
    }


def test_an_endpoint_that_was_chosen_stays(issuer: Issuer) -> None:
    issuer.describes(jwks_uri="https://k/certs", token_endpoint="https://k/token")
    described = Deployment(issuer=issuer.url, audience="a", settings={"TOKEN_ENDPOINT": "https://mine/token"})
    assert app.with_endpoints(described).settings == {
        "JWKS_URI": "https://k/certs",
        "TOKEN_ENDPOINT": "https://mine/token",
    }


def test_where_all_is_chosen_nothing_is_asked(issuer: Issuer) -> None:
    described = Deployment(
        issuer=issuer.url, audience="a", settings={"JWKS_URI": "https://k", "TOKEN_ENDPOINT": "https://t"}
    )
    assert app.with_endpoints(described) == described


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        (lambda issuer: None, "cannot be read .HTTPError.*give JWKS_URI"),
        (lambda issuer: setattr(issuer, "document", b"<html>"), "cannot be read .JSONDecodeError"),
        (lambda issuer: setattr(issuer, "document", b"[]"), "says that the issuer is None"),
        (lambda issuer: issuer.describes(issuer="https://other"), "says that the issuer is 'https://other'"),
        (lambda issuer: issuer.describes(token_endpoint="https://t"), "has no jwks_uri"),
        (
            lambda issuer: issuer.describes(id_token_signing_alg_values_supported=["ES256"]),
            "signs by ES256, and API Gateway takes RS256",
        ),
    ],
)
def test_an_issuer_that_api_gateway_would_not_take_is_refused(
    issuer: Issuer, describe: Callable[[Issuer], None], message: str
) -> None:
    describe(issuer)
    with pytest.raises(ValueError, match=f"^issuer '{issuer.url}': .*{message}"):
        discovery.endpoints(issuer.url)
