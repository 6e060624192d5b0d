"""Tokens at the front door."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.running import ROOT, Server


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
