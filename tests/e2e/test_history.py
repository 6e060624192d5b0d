"""History over HTTP: of one resource, a type, the system; paging; and the feed that a registry polls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.support.running import pages


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == relation), None)


def put(client: httpx.Client, identifier: str, text: str) -> tuple[str, str]:
    """Type/id and version of a Basic."""
    resource = {"resourceType": "Basic", "id": identifier, "code": {"text": text}}
    answer = client.put(f"/Basic/{identifier}", json=resource).raise_for_status().json()
    return f"Basic/{identifier}", answer["meta"]["versionId"]


def seen(client: httpx.Client, entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    base = f"{client.base_url}".rstrip("/") + "/"
    return [(entry["fullUrl"].removeprefix(base), entry["response"]["etag"][3:-1]) for entry in entries]


def test_what_happened_to_a_type_and_the_system(client: httpx.Client) -> None:
    start = client.get("/Basic/_history").raise_for_status().json()["meta"]["lastUpdated"]
    one, two = put(client, "story", "1"), put(client, "story", "2")
    client.delete("/Basic/story").raise_for_status()
    expected = [(one[0], str(int(two[1]) + 1)), two, one]
    for path in ("/Basic/story/_history", "/Basic/_history", "/_history"):
        bundle = client.get(path, params={"_since": start}).raise_for_status().json()
        assert bundle["type"] == "history"
        entries = [entry for entry in bundle["entry"] if entry["fullUrl"].endswith("/Basic/story")]
        assert seen(client, entries)[:3] == expected
        assert [entry["request"]["method"] for entry in entries][:3] == ["DELETE", "PUT", "PUT"]
        assert ["resource" in entry for entry in entries][:3] == [False, True, True]


def test_pages_hold_every_version_once(client: httpx.Client) -> None:
    whole = [one for entry in pages(client, "/Patient/_history?_count=1000") for one in seen(client, [entry])]
    for sort in ("-_lastUpdated", "_lastUpdated"):
        paged = [one for entry in pages(client, f"/Patient/_history?_count=2&_sort={sort}") for one in seen(client, [entry])]  # fmt: skip
        assert paged == (whole if sort.startswith("-") else whole[::-1])
    assert len(set(whole)) == len(whole) > 0


def test_a_registry_follows_without_missing_or_repeating(client: httpx.Client) -> None:
    bundle = client.get("/Basic/_history", params={"_sort": "_lastUpdated", "_count": "1000"}).raise_for_status().json()
    following = link(bundle, "monitor")
    found: list[tuple[str, str]] = []
    made: list[tuple[str, str]] = []

    def write(n: int) -> None:
        made.extend(put(client, f"poll{n}-{turn % 3}", f"{n} {turn}") for turn in range(12))

    def poll() -> None:
        nonlocal following
        while True:
            assert following
            page = client.get(following).raise_for_status().json()
            found.extend(seen(client, page.get("entry", [])))
            following = link(page, "monitor") or link(page, "next")
            if link(page, "monitor"):
                return

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, n) for n in range(3)]
        while not all(future.done() for future in writing):
            poll()
        for future in writing:
            future.result()
    poll()
    mine = [one for one in found if one[0].startswith("Basic/poll")]
    assert len(made) == 36
    assert sorted(mine) == sorted(made)


def test_a_parameter_that_cannot_be_is_named(client: httpx.Client) -> None:
    for name, value in (("_since", "x"), ("_at", "x"), ("_sort", "x"), ("_count", "x"), ("_cursor", "x")):
        answer = client.get("/Patient/_history", params={name: value})
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == [name]
    assert client.get("/Nonsense/_history").status_code == 404


def test_a_history_shows_the_elements_that_are_asked_for(client: httpx.Client) -> None:
    put(client, "cut", "secret text")
    for path in ("/Basic/cut/_history", "/Basic/_history", "/_history"):
        for wanted in ({"_elements": "id"}, {"_summary": "text"}):
            bundle = client.get(path, params={**wanted, "_count": "1"}).raise_for_status().json()
            shown = bundle["entry"][0]["resource"]
            assert {tag["code"] for tag in shown["meta"]["tag"]} == {"SUBSETTED"}
    assert "code" in client.get("/Basic/cut/_history").json()["entry"][0]["resource"]


def test_links_keep_the_form_of_the_answer(client: httpx.Client) -> None:
    put(client, "formed", "one")
    put(client, "formed", "two")
    for path in ("/Basic/formed/_history", "/Basic/_history", "/_history"):
        bundle = client.get(path, params={"_format": "application/fhir+json", "_pretty": "true", "_count": "1"}).json()
        for link in bundle["link"]:
            asked = httpx.URL(link["url"]).params
            assert (asked["_format"], asked["_pretty"], asked["_count"]) == ("application/fhir+json", "true", "1")
