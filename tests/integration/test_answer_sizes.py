"""No answer is larger than a Lambda function may give: pages end earlier, anything else is fetched from the bucket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import resources, settings
from bulkhead.access.policy import EVERYBODY
from bulkhead.fhir import xml
from bulkhead.history import paging
from bulkhead.operations import everything_listing
from bulkhead.search import run
from bulkhead.session import Session
from bulkhead.store import Store
from infra.local import lambdas
from tests.support.door import Door

LIMIT = 6_291_556
Json = dict[str, Any]

# Escaped twice on its way: in the resource's JSON, and in that of the function's answer.
NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">' + '<p title="ä">x</p>' * 3_000 + "</div>"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of what the functions answered, each of which fits."""
    sizes: list[int] = []
    call = lambdas.call

    def measured(function: str, event: Json) -> Any:
        answer = call(function, event)
        sizes.append(len(json.dumps(answer).encode()))
        assert sizes[-1] <= LIMIT
        return answer

    monkeypatch.setattr(lambdas, "call", measured)
    yield sizes
    assert sizes


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, answered: list[int]) -> Door:
    return Door(store, keys_folder, monkeypatch)


def put(store: Store, key: str, **content: Any) -> None:
    kind, _, name = key.partition("/")
    resources.update(Session.of(store, EVERYBODY), {"resourceType": kind, "id": name, **content}, key)


def patient_with(store: Store, number: int) -> None:
    """A patient with so many observations of some 60 KB."""
    put(store, "Patient/1", active=True)
    for n in range(number):
        put(
            store,
            f"Observation/{n:03}",
            status="final",
            code={"text": "x"},
            subject={"reference": "Patient/1"},
            text={"status": "generated", "div": NARRATIVE},
        )


def parsed(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    found: Json = xml.loads(answer.content) if "xml" in answer.headers["content-type"] else answer.json()
    return found


def all_entries(client: httpx.Client, url: str, **asked: Any) -> list[list[Json]]:
    """The entries of all pages."""
    found = []
    page = parsed(client.get(url, **asked))
    while True:
        found.append(page.get("entry", []))
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return found
        page = parsed(client.get(following[0], headers=asked.get("headers")))


PAGED = [
    "Observation?patient=Patient/1&_count=120",
    "Observation?_sort=-_lastUpdated&_count=120",
    "Observation?patient=Patient/1&_sort=status&_count=120",
    "Patient/1/Observation?_count=120",
    "Patient/1/*?_count=120",
    "Patient/1/$everything?_count=200",
    "Observation/_history?_count=120",
    "_history?_count=130&_sort=_lastUpdated",
]


def assert_every_page_is_full(client: httpx.Client, url: str, *, number: int, accept: str) -> None:
    """Follows the pages of `url`: more than one, and each of `number` observations once."""
    pages = all_entries(client, f"{url}&_pretty=true", headers={"accept": accept})
    keys = [entry["fullUrl"] for page in pages for entry in page if "Observation/" in entry["fullUrl"]]
    assert len(pages) > 1, url
    assert len(keys) == len(set(keys)) == number, url


@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml"])
def test_a_page_ends_where_its_answer_is_full(store: Store, door: Door, accept: str) -> None:
    patient_with(store, 120)
    with door.client() as client:
        del client.headers["accept-encoding"]
        assert_every_page_is_full(client, PAGED[0], number=120, accept=accept)


@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml"])
def test_every_kind_of_page_ends_where_its_answer_is_full(
    new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """Under a limit of a tenth: what is large takes long to render."""
    store = new_store(response_limit=600_000)
    door = Door(store, keys_folder, monkeypatch)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    patient_with(store, 14)
    with door.client() as client:
        del client.headers["accept-encoding"]
        for url in PAGED:
            assert_every_page_is_full(client, url, number=14, accept=accept)


def test_what_a_page_brings_along_fits_too(store: Store, door: Door) -> None:
    """A match with more than an answer holds: the first of what it brings is shown, and the page says so."""
    patient_with(store, 120)
    with door.client() as client:
        page = parsed(client.get("Patient?_id=1&_revinclude=Observation:subject", headers={"accept-encoding": ""}))
    modes = [entry["search"]["mode"] for entry in page["entry"]]
    assert modes[0] == "match"
    assert 10 < modes.count("include") < 120
    assert "resources and shows the first" in page["entry"][-1]["resource"]["issue"][0]["diagnostics"]


def test_what_is_compressed_is_measured_so(store: Store, door: Door) -> None:
    patient_with(store, 120)
    with door.client() as client:
        pages = all_entries(client, PAGED[0], headers={"accept-encoding": "gzip"})
    assert [len(page) for page in pages] == [120]


def test_only_what_was_sent_is_on_the_audit_trail(
    new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    store = new_store(audit="Observation.read", response_limit=200_000)
    door = Door(store, keys_folder, monkeypatch)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    patient_with(store, 6)
    with door.client() as client:
        page = parsed(client.get("Observation?_count=6", headers={"accept-encoding": ""}))
        events = parsed(client.get("AuditEvent?_count=50"))["entry"]
    shown = {entry["fullUrl"].rpartition("/")[2] for entry in page["entry"]}
    assert 0 < len(shown) < 6
    told = {
        entity["what"]["reference"].partition("/_history")[0]
        for event in events
        for entity in event["resource"]["entity"]
        if "what" in entity
    }
    assert {key for key in told if key.startswith("Observation/")} == {f"Observation/{name}" for name in shown}


def test_a_page_ends_before_it_fills_the_memory(store: Store, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is on the pages that are cut so, all is there once; and back again."""
    for module in (run, paging, everything_listing):
        monkeypatch.setattr(module, "PAGE_WEIGHT", 1_000)
    patient_with(store, 20)
    with door.client() as client:
        for url in PAGED:
            if "_sort=status" in url:
                continue
            pages = all_entries(client, url)
            keys = [entry["fullUrl"] for page in pages for entry in page if "Observation/" in entry["fullUrl"]]
            assert len(pages) > 5, url
            assert len(keys) == len(set(keys)) == 20, url
        page = parsed(client.get("Observation/_history"))
        links = {link["relation"]: link["url"] for link in page["link"]}
        shown = [entry["fullUrl"] for entry in page["entry"]]
        for _ in range(6):
            page = parsed(client.get(links["next"]))
            links = {link["relation"]: link["url"] for link in page["link"]}
        back: list[str] = []
        while "previous" in links:
            page = parsed(client.get(links["previous"]))
            links = {link["relation"]: link["url"] for link in page["link"]}
            back = [entry["fullUrl"] for entry in page["entry"]] + back
        assert back[: len(shown)] == shown
        assert len(back) == len(set(back)) > 6


PIXELS = bytes(range(256)) * 30_000


def fetched(s3: Any, answer: httpx.Response) -> Any:
    """What a redirect leads to."""
    name = answer.headers["location"].partition("?")[0].rpartition("/answers/")[2]
    return s3.get_object(Bucket="bulkhead", Key=f"answers/{name}")


def test_a_large_binary_is_fetched_from_the_bucket(store: Store, door: Door, s3: Any) -> None:
    put(store, "Binary/1", contentType="image/png", data=base64.b64encode(PIXELS).decode())
    with door.client() as client:
        raw = client.get("Binary/1", headers={"accept": "image/png", "accept-encoding": ""})
        fhir = client.get("Binary/1", headers={"accept": "application/fhir+xml", "accept-encoding": ""})
    assert (raw.status_code, fhir.status_code) == (307, 307)
    assert "X-Amz-Signature" in raw.headers["location"]
    found = fetched(s3, raw)
    assert (found["Body"].read(), found["ContentType"]) == (PIXELS, "image/png")
    assert found["ContentDisposition"] == "attachment"
    assert xml.loads(fetched(s3, fhir)["Body"].read())["data"] == base64.b64encode(PIXELS).decode()


def test_head_tells_the_length(store: Store, door: Door) -> None:
    put(store, "Binary/1", contentType="image/png", data=base64.b64encode(PIXELS).decode())
    with door.client() as client:
        answer = client.head("Binary/1", headers={"accept": "image/png", "accept-encoding": ""})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(PIXELS)))


def test_who_may_not_see_it_is_not_sent_to_it(store: Store, door: Door) -> None:
    put(store, "Binary/1", contentType="image/png", data=base64.b64encode(PIXELS).decode())
    with door.client(accounts=["Organization/a"]) as client:
        assert client.get("Binary/1").status_code == 404


@pytest.fixture
def refusing(
    new_store: Callable[..., Store], keys_folder: Path, monkeypatch: pytest.MonkeyPatch, answered: list[int]
) -> Door:
    """A server whose answers have 100,000 bytes at most, and which sends nobody to the bucket."""

    store = new_store(response_limit=100_000, large_answers="refuse")
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    return Door(store, keys_folder, monkeypatch)


def test_a_read_that_is_refused_says_what_to_ask_for(refusing: Door) -> None:
    put(refusing.store, "Binary/1", contentType="image/png", data=base64.b64encode(PIXELS[:200_000]).decode())
    with refusing.client() as client:
        answer = client.get("Binary/1", headers={"accept": "image/png", "accept-encoding": ""})
    assert answer.status_code == 413
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "too-costly"
    assert "Accept-Encoding: gzip" in issue["diagnostics"]


def test_a_write_whose_answer_is_too_large_is_done_and_says_so(refusing: Door) -> None:
    body = {
        "resourceType": "Basic",
        "id": "1",
        "code": {"text": "x"},
        "text": {"status": "generated", "div": NARRATIVE},
    }
    put = {"request": {"method": "PUT", "url": "Basic/1"}, "resource": body}
    plain = {"accept-encoding": "", "prefer": "return=representation"}
    with refusing.client() as client:
        single = client.put(
            "Basic/1", json={**body, "extension": [{"url": "urn:x", "valueString": "ü" * 30_000}]}, headers=plain
        )
        assert (single.status_code, single.content, single.headers["etag"]) == (201, b"", 'W/"1"')
        entries = [
            put | {"resource": {**body, "id": str(n)}, "request": {"method": "PUT", "url": f"Basic/{n}"}}
            for n in range(3)
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        several = client.post("", json=bundle, headers=plain)
        assert several.status_code == 200
        (issue,) = several.json()["issue"]
        assert "the request was performed" in issue["diagnostics"]
        assert parsed(client.get("Basic/2?_elements=code"))["meta"]["versionId"] == "1"
    assert issue["severity"] == "warning"


def test_the_answer_of_a_transaction_is_fetched_from_the_bucket(
    new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:

    store = new_store(response_limit=100_000)
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    body = {"resourceType": "Basic", "code": {"text": "x"}, "text": {"status": "generated", "div": NARRATIVE}}
    entries = [{"request": {"method": "POST", "url": "Basic"}, "resource": body}] * 3
    with Door(store, keys_folder, monkeypatch).client() as client:
        answer = client.post(
            "",
            json={"resourceType": "Bundle", "type": "transaction", "entry": entries},
            headers={"accept-encoding": "", "prefer": "return=representation"},
        )
    assert answer.status_code == 303
    found = json.loads(fetched(s3, answer)["Body"].read())
    assert [entry["response"]["status"][:3] for entry in found["entry"]] == ["201"] * 3
