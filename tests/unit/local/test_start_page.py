"""The start page is for people: a program that asks for FHIR never gets it."""

from __future__ import annotations

import pytest

from bulkhead.api.routes import BASE
from infra.local.start_page import page
from tests.support.environ import environ

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("uri", "accept", "shown"),
    [
        ("/", BROWSER, True),
        ("/", "*/*", True),
        ("/", "", True),
        ("/fhir", BROWSER, True),
        ("/fhir/", BROWSER, True),
        ("/?utm=1", BROWSER, True),
        (BASE, BROWSER, True),
        (f"{BASE}/", BROWSER, True),
        ("/", "application/fhir+json", False),
        (BASE, "*/*", False),
        (BASE, "", False),
        (BASE, "application/fhir+xml", False),
        (f"{BASE}?_type=Patient", BROWSER, False),
        (f"{BASE}/Patient", BROWSER, False),
        ("/docs", BROWSER, False),
    ],
)
def test_where_it_is_shown(uri: str, accept: str, shown: bool) -> None:
    answer = page(environ("GET", uri, HTTP_ACCEPT=accept), uri.partition("?")[0], auth=True)
    assert (answer is not None) is shown


def test_only_reading_shows_it() -> None:
    assert page(environ("POST", "/"), "/", auth=True) is None
    assert page(environ("HEAD", "/"), "/", auth=True) is not None


@pytest.mark.parametrize(("auth", "told"), [(True, "make token"), (False, "--no-auth")])
def test_it_links_what_to_do_next(auth: bool, told: str) -> None:
    answer = page(environ("GET", "/"), "/", auth=auth)
    assert answer is not None
    for expected in (f"http://localhost:8000{BASE}", "/console", "/docs", "$set-accounts", told):
        assert expected in answer.body.decode()


def test_a_host_that_is_none_is_not_repeated() -> None:
    answer = page(environ("GET", "/", HTTP_HOST="<script>alert(1)</script>"), "/", auth=True)
    assert answer is not None
    assert b"<script" not in answer.body
