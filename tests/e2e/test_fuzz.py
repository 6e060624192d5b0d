"""10,000 requests, nearly right and nonsense, through the gateway and the handlers: none of them a 5xx.

Every refusal is an OperationOutcome that says something, and nothing of a patient is in it. Always the same requests;
`make figures ARGS="fuzz --requests 100000"` sends others.
"""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from bulkhead.fhir import validation
from bulkhead.store import Store
from tests.support.fuzzing import edge
from tests.support.fuzzing.dice import Dice
from tests.support.fuzzing.requests import KINDS, WHOLE, sequence
from tests.support.fuzzing.seeds import RESOURCES
from tests.support.fuzzing.structure import TYPES, resource
from tests.support.running import Server

REQUESTS, OVER_HTTP = 1120, 50


@pytest.mark.parametrize("seed", [*RESOURCES, *WHOLE], ids=lambda seed: seed["resourceType"])
def test_the_seeds_are_right(seed: dict[str, Any]) -> None:
    assert validation.faults(seed) == []


def test_made_resources_are_near_enough() -> None:
    """A fuzz whose resources are all refused at the door tests the door."""
    dice = Dice("near")
    valid = sum(not validation.faults(resource(dice, dice.choice(TYPES))) for _ in range(400))
    assert 40 < valid < 360


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_is_answered_by_a_failure(store: Store, kind: str) -> None:
    with edge.serving(store):
        for sent in sequence(kind, 0, REQUESTS):
            edge.check(sent, edge.send(sent))


@pytest.mark.parametrize("kind", KINDS)
def test_over_http_nothing_fails_either(server: Server, kind: str) -> None:
    """The same through the listener, on a connection that is kept."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        for sent in sequence(kind, 1, OVER_HTTP):
            edge.check(sent, edge.send_http(connection, sent))
    finally:
        connection.close()
