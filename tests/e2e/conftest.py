"""One local server for all end-to-end tests that do not need their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local import load
from tests.support.running import Server
from tests.support.shared_data import shared


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with the sample clinic and without authentication, for this worker."""
    with Server("--no-auth") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made


@pytest.fixture(scope="session")
def synthea() -> Path:
    """The folder of Synthea's bundles."""
    return shared("synthea")


@pytest.fixture(scope="session")
def loaded(synthea: Path) -> Iterator[httpx.Client]:
    """A server into which all of Synthea's folders were loaded: half a minute, so it is for one group of tests."""
    with Server("--empty", "--no-auth", "--quiet") as server:
        assert load.main([str(synthea), "--base", server.url]) == 0
        with server.client() as client:
            yield client
