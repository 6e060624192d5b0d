"""A server that asks for no token does not obey the websites that are open beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkhead import settings
from bulkhead.api.routes import BASE
from bulkhead.store import Store
from functions import http

HERE = "box:8000"
OWN = [
    "http://box:8000",
    "HTTP://BOX:8000",
    "http://localhost:3000",
    "http://app.localhost",
    "http://127.0.0.1:9",
    "http://[::1]:8000",
]
ELSEWHERE = [
    "https://app.example",
    "http://box",
    "http://box:8001",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://notlocalhost",
    "http://192.168.1.2:8000",
    "http://[",
    "null",
    "",
]


def send(
    method: str, path: str, *, claims: dict[str, str] | None = None, address: str = "", **headers: str
) -> tuple[int, Any]:
    made = http.serve(
        {
            "routeKey": "is not in the table",
            "rawPath": f"{BASE}/{path}",
            "headers": {"host": HERE, "x-forwarded-proto": "http", **headers},
            "requestContext": {
                "http": {"method": method, "sourceIp": address},
                "authorizer": {"jwt": {"claims": claims or {}}},
            },
        }
    )
    return made["statusCode"], json.loads(made["body"]) if made["body"] else None


@pytest.fixture
def open_store(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of a server that asks for no token."""
    store: Store = new_store(auth="off")
    monkeypatch.setattr(http, "connect", lambda: store)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    return store


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_a_page_from_elsewhere_reads_nothing_and_purges_nothing(open_store: Store, origin: str) -> None:
    for method, path in (("GET", "Patient"), ("GET", "Patient/a"), ("POST", "Patient/a/$purge"), ("DELETE", "job/a")):
        status, outcome = send(method, path, origin=origin)
        assert (status, outcome["issue"][0]["expression"]) == (403, ["Origin"]), path
    # What everybody may know is not looked at.
    assert send("GET", "metadata", origin=origin)[0] == 200


@pytest.mark.parametrize("origin", OWN)
def test_its_own_pages_and_those_of_the_same_machine_are_served(open_store: Store, origin: str) -> None:
    assert send("GET", "Patient", origin=origin)[0] == 200
    assert send("POST", "Patient/a/$purge", origin=origin)[0] == 404


@pytest.mark.parametrize("host", ["site.example:8000", "localhost.example", "127.0.0.1.example", "box.lan", "["])
def test_a_site_whose_name_leads_to_this_machine_is_not_this_machine(open_store: Store, host: str) -> None:
    alone = send("GET", "Patient", address="127.0.0.1", host=host)
    for status, outcome in (alone, send("GET", "Patient", address="127.0.0.1", host=host, origin=f"http://{host}")):
        assert (status, outcome["issue"][0]["expression"]) == (403, ["Host"])
    # From another machine it is called by whatever name it has there.
    assert send("GET", "Patient", address="192.168.1.2", host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "app.localhost", "box", "192.168.1.2:8000", "[fe80::1]"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_is_called_by_its_own_names(open_store: Store, host: str, address: str) -> None:
    assert send("GET", "Patient", address=address, host=host)[0] == 200


def test_or_by_the_name_that_its_operator_gave_it(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = new_store(auth="off", base_url="https://fhir.example/fhir/R4")
    monkeypatch.setattr(http, "connect", lambda: store)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    assert send("GET", "Patient", address="127.0.0.1", host="fhir.example")[0] == 200
    assert send("GET", "Patient", address="127.0.0.1", host="fhir.example", origin="https://fhir.example")[0] == 200


def test_programs_send_no_origin(open_store: Store) -> None:
    assert send("GET", "Patient")[0] == 200


def test_who_sends_a_token_may_be_a_page_from_anywhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "connect", lambda: store)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    claims = {"sub": "somebody", "scope": "system/*.rs"}
    assert send("GET", "Patient", claims=claims, origin="https://app.example")[0] == 200
