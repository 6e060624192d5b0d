"""A search by POST whose parameters no URL holds: its page links are short, belong to who was given them, and end some day."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from bulkhead import resources
from bulkhead.access import page_links
from bulkhead.access.policy import EVERYBODY
from bulkhead.fhir import xml
from bulkhead.session import Session
from bulkhead.store import Store, queries
from infra.local.identity import ALL_BUT_PURGE
from tests.support.door import Door

Json = dict[str, Any]

IDS = [f"c0ffee00-58f4-4b6b-9a3c-0a1d2f8b{n:04x}" for n in range(500)]
THERE = sorted(IDS[::50])
FENCED: Json = {"accounts": ["Organization/a"]}
# API Gateway's 10,240 bytes, less a token and headers.
LONGEST = 4_000


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door(store, keys_folder, monkeypatch)
    for name in ("a", "b"):
        put(store, "Organization", name)
    with made.client() as client:
        for name in THERE:
            content = {"resourceType": "Basic", "id": name, "code": {"text": "x"}}
            meta = {"meta": {"accounts": [{"reference": "Organization/a"}]}}
            assert client.put(f"Basic/{name}", json=content | meta).status_code == 201
    return made


def put(store: Store, kind: str, name: str) -> None:
    resources.update(Session.of(store, EVERYBODY), {"resourceType": kind, "id": name, "name": name}, f"{kind}/{name}")


def links(page: Json) -> dict[str, str]:
    found = {link["relation"]: link["url"] for link in page["link"]}
    assert all(len(url) < LONGEST for url in found.values())
    return found


def searched(client: httpx.Client, path: str = "Basic/_search", **more: str) -> Json:
    answer = client.post(path, data={"_id": ",".join(IDS), "_count": "3", **more})
    assert answer.status_code == 200, answer.text
    assert len(answer.request.content) > 18_000
    page: Json = answer.json()
    return page


def ids(page: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in page.get("entry", ())]


@pytest.mark.parametrize("fence", [{}, FENCED])
@pytest.mark.parametrize("path", ["Basic/_search", "_search"])
def test_pages_are_followed_to_the_end(door: Door, fence: Json, path: str) -> None:
    with door.client(**fence) as client:
        page = searched(client, path, **({"_type": "Basic"} if path == "_search" else {}))
        found = ids(page)
        assert found
        while "next" in links(page):
            page = client.get(links(page)["next"]).json()
            found += ids(page)
        assert sorted(found) == THERE
        assert ids(client.get(links(page)["self"]).json()) == ids(page)


def test_the_self_link_is_the_search(door: Door) -> None:
    with door.client() as client:
        page = searched(client, _count="7")
        assert ids(client.get(links(page)["self"]).json()) == ids(page)


def test_a_right_to_one_type_is_enough(door: Door) -> None:
    """The type is in the query that is kept."""
    with door.client("system/Basic.rs") as client:
        page = searched(client, "_search", _type="Basic")
        assert client.get(links(page)["next"]).status_code == 200


def test_how_an_answer_looks_stays_in_the_link_and_how_much_may_change(door: Door) -> None:
    with door.client() as client:
        answer = client.post("Basic/_search?_format=xml&_pretty=true", data={"_id": ",".join(IDS), "_count": "3"})
        page = xml.loads(answer.content)
        second = client.get(links(page)["next"], headers={"accept": "*/*"})
        assert second.headers["content-type"].startswith("application/fhir+xml")
        assert b"\n  " in second.content
        more = client.get(links(page)["next"].replace("_format=xml", "_format=json") + "&_count=5").json()
        assert len(ids(more)) == 5


@pytest.mark.parametrize(
    ("scope", "fence"),
    [(ALL_BUT_PURGE, {"accounts": ["Organization/b"]}), (ALL_BUT_PURGE, {}), ("system/Basic.rs?code=x", FENCED)],
)
def test_a_fenced_callers_link_is_for_who_sees_the_same(door: Door, scope: str, fence: Json) -> None:
    with door.client(**FENCED) as client:
        following = links(searched(client))["next"]
        assert "~" not in following
    with door.client(scope, **fence) as other:
        answer = other.get(following)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["_cursor"]


@pytest.mark.parametrize("fence", [{}, FENCED])
def test_a_link_that_has_expired_says_so(door: Door, monkeypatch: pytest.MonkeyPatch, fence: Json) -> None:
    with door.client(**fence) as client:
        following = links(searched(client))["next"]
        now = time.time()

        class Later:
            @staticmethod
            def time() -> float:
                return now + 86_400

        monkeypatch.setattr(queries, "time", Later)
        answer = client.get(following)
    assert answer.status_code == 410
    assert "expired: send the search again" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("text", ["~" + "0" * 32 + ".", "~" + "0" * 31 + ".", "~.", "~" + "g" * 32 + ".x"])
def test_nobody_makes_one_up(door: Door, text: str) -> None:
    with door.client() as client:
        assert client.get("Basic", params={"_cursor": text}).status_code in (400, 410)


def test_the_same_query_is_kept_once(door: Door) -> None:
    with door.client() as client:
        first, second = (links(searched(client))["next"] for _ in range(2))
    assert urlsplit(first).query.partition(".")[0] == urlsplit(second).query.partition(".")[0]


def test_a_short_query_is_not_kept(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "keep_query", lambda *_: pytest.fail("kept"))
    with door.client() as client:
        page = client.post("Basic/_search", data={"_id": ",".join(THERE), "_count": "3"}).json()
        assert "_id=" in links(page)["next"]


def test_what_does_not_fit_an_item_is_refused_where_a_page_follows(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LONGEST", 100)
    with door.client() as client:
        answer = client.post("Basic/_search", data={"_id": ",".join(IDS), "_count": "3"})
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "too-costly")
        whole = client.post("Basic/_search", data={"_id": ",".join(IDS), "_count": "500"})
        assert whole.status_code == 200
        assert sorted(ids(whole.json())) == THERE


def test_the_id_of_a_query_tells_nothing_of_it(store: Store) -> None:
    pairs = [("name", "x" * page_links.LONGEST)]
    identifier = store.keep_query(pairs)
    assert identifier
    assert store.kept_query(identifier) == pairs
    assert queries.keep(store.table, b"another secret", pairs, days=1) != identifier
