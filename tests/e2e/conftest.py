"""One local server for all end-to-end tests that do not need their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.running import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with the sample clinic and without authentication, for this worker."""
    with Server("--no-auth") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made
