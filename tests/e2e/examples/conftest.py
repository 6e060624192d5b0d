"""The examples as modules, and a server with tokens for them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import httpx
import pytest

from tests.support.running import ROOT, Server

FOLDER = ROOT / "examples"


@pytest.fixture(scope="session")
def example() -> Iterator[Callable[[str], ModuleType]]:
    """Imports an example by its name, as Python does where the script is started."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that wants tokens, with the sample clinic and its two organisations."""
    with Server("--quiet") as running:
        yield running


@pytest.fixture
def connected(guarded: Server, example: Callable[[str], ModuleType]) -> Iterator[Callable[[str], httpx.Client]]:
    """A client of the examples with a token that the server has printed, by its name."""
    clients: list[httpx.Client] = []

    def connect(name: str) -> httpx.Client:
        clients.append(example("fhir_client").connect(guarded.url, guarded.printed(name)))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()
