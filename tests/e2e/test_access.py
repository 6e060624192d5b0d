"""Tokens at the front door."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from infra.local.identity import Identity
from tests.support.running import ROOT, Server


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Server() as running:
        yield running


def test_without_a_token_nothing_is_told(guarded: Server) -> None:
    with guarded.client() as client:
        for answer in (client.get("/Patient/anna"), client.get("/Patient/nobody"), client.delete("/Patient/anna")):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["resourceType"] == "OperationOutcome"


def test_two_tokens_in_one_request_open_nothing(guarded: Server) -> None:
    token = guarded.printed("TOKEN")
    with guarded.client() as client:
        answer = client.get("/Patient/anna", headers=[("Authorization", f"Bearer {token}")] * 2)
        assert answer.status_code == 401


def test_a_job_tells_where_it_is_with_every_202(guarded: Server) -> None:
    with guarded.client(guarded.printed("TOKEN")) as client:
        batch = {"resourceType": "Bundle", "type": "batch", "entry": []}
        answer = client.post("", json=batch, headers={"Prefer": "respond-async"})
        place = answer.headers["content-location"]
        while answer.status_code == 202:
            assert answer.headers["content-location"] == place
            answer = client.get(place)
        assert answer.status_code == 200


def test_the_printed_token_opens_everything(guarded: Server) -> None:
    with guarded.client(guarded.printed("TOKEN")) as client:
        assert client.get("/Patient/anna").status_code == 200


def test_a_token_made_by_the_command_opens_it_too(guarded: Server) -> None:
    port = guarded.url.rpartition(":")[2].partition("/")[0]
    made = subprocess.run(
        [sys.executable, "-m", "infra.local.token", "--port", port],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with guarded.client(made.stdout.strip()) as client:
        assert client.get("/Patient/anna").status_code == 200


def test_the_issuer_publishes_its_keys(guarded: Server) -> None:
    document = httpx.get(guarded.url.replace("/fhir/R4", "/.well-known/openid-configuration")).json()
    assert httpx.get(document["jwks_uri"]).json()["keys"][0]["alg"] == "RS256"


def test_tokens_may_come_from_elsewhere(tmp_path: Path) -> None:
    """Any OIDC issuer by setting: its discovery document and keys are fetched, its tokens taken, and nobody else's."""

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = foreign.document(self.path)
            assert found
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, format: str, *args: object) -> None:
            pass

    elsewhere = HTTPServer(("127.0.0.1", 0), Published)
    foreign = Identity(f"http://127.0.0.1:{elsewhere.server_port}", tmp_path / "foreign.pem", "clinic")
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    settings = {"ISSUER": foreign.issuer, "AUDIENCE": "clinic, ward"}
    with Server(**settings) as server:
        assert not any(line.startswith("TOKEN") for line in server.banner)
        with server.client(foreign.token("me", "patient/*.rs", patient="anna")) as client:
            assert client.get("/Patient/anna").status_code == 200
            assert client.get("/Patient/bruno").status_code == 404
            assert client.get("/Patient").json()["total"] == 1
        stranger = Identity(foreign.issuer, tmp_path / "stranger.pem", "clinic")
        other = Identity(foreign.issuer, tmp_path / "foreign.pem", "another")
        for issuer in (stranger, other):
            with server.client(issuer.token("me", "system/*.cruds")) as client:
                answer = client.get("/Patient/anna")
                assert answer.status_code == 401
                assert answer.json()["issue"][0]["code"] == "login"
        well_known = server.url.replace("/fhir/R4", "/.well-known/openid-configuration")
        assert httpx.get(well_known).status_code == 404
    elsewhere.shutdown()
    elsewhere.server_close()


def test_an_issuer_without_a_discovery_document_stops_the_start() -> None:
    """Its keys are nowhere that anybody could guess."""
    environment = {**os.environ, "ISSUER": "http://127.0.0.1:9/realm"}
    command = [sys.executable, "-m", "infra.local", "--empty", "--port", "0"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 1
    assert "issuer 'http://127.0.0.1:9/realm'" in finished.stdout + finished.stderr
    assert "JWKS_URI" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


def test_keys_that_cannot_be_fetched_are_a_503(tmp_path: Path) -> None:
    foreign = Identity("https://issuer.example", tmp_path / "foreign.pem")
    with Server("--empty", ISSUER=foreign.issuer, JWKS_URI="http://127.0.0.1:9/keys") as server:
        with server.client(foreign.token("me", "system/*.cruds")) as client:
            answer = client.get("/Patient")
            assert answer.status_code == 503
            assert answer.json()["issue"][0]["code"] == "transient"
            assert "127.0.0.1:9" not in answer.text
        with server.client() as client:
            assert client.get("/Patient").status_code == 401
