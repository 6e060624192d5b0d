"""`GET [base]/job`: a caller's own jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from bulkhead.access.policy import caller_of
from bulkhead.errors import BadRequest
from bulkhead.fhir import validation
from bulkhead.jobs import listing, polling
from bulkhead.jobs.listing import Query, parse
from bulkhead.store import Store
from bulkhead.store.jobs import BUNDLE, DONE, RUNNING, Job
from functions import http
from tests.support.scene import PATIENT, SCOPE, SUBJECT, A, request

BASE = "https://server.example/fhir/R4"
OWNER = caller_of({"sub": SUBJECT, "scope": SCOPE}, "on").owner
NOW = time.time()


@pytest.fixture
def made(store: Store) -> Callable[..., Job]:
    def make(name: str, age: float = 0, **changes: Any) -> Job:
        job = replace(Job(name, OWNER, PATIENT, (A,), NOW - age, int(NOW) + 86_400), **changes)
        assert store.jobs.create(job)
        return job

    return make


def listed(store: Store, count: int = 10, after: str | None = None, owner: str = OWNER) -> list[str]:
    bundle = listing.page(store, owner, Query(count, after), base=BASE)
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


def values(resource: dict[str, Any]) -> dict[str, Any]:
    return {
        each["name"]: next(value for name, value in each.items() if name != "name") for each in resource["parameter"]
    }


def test_the_newest_first_and_nobody_elses(store: Store, made: Callable[..., Job]) -> None:
    for age in (2, 0, 1):
        made(f"j{age}", age)
    made("other", owner="somebody#else")
    assert listed(store) == ["j0", "j1", "j2"]
    assert listed(store, owner="somebody#else") == ["other"]
    assert listed(store, owner="nobody") == []


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_pages_hold_every_job_once(store: Store, made: Callable[..., Job], count: int) -> None:
    for age in range(7):
        made(f"j{age}", age)
    found: list[str] = []
    query = Query(count)
    while True:
        bundle = listing.page(store, OWNER, query, base=BASE)
        names = [entry["resource"]["id"] for entry in bundle["entry"]]
        assert len(names) <= count
        found += names
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if not following:
            break
        query = parse(parse_qsl(urlsplit(following[0]).query), 10, 100)
    assert found == [f"j{age}" for age in range(7)]


def test_what_expired_or_never_started_is_not_listed(store: Store, made: Callable[..., Job]) -> None:
    made("alive")
    made("expired", expires=int(time.time()) - 1)
    assert store.jobs.remove(made("removed"))
    assert listed(store) == ["alive"]


def test_an_id_that_is_taken_anew_is_listed_once(store: Store, made: Callable[..., Job]) -> None:
    made("j", 5, expires=int(time.time()) - 1)
    made("j")
    assert listed(store) == ["j"]


def test_each_says_what_it_does_and_how_far_it_is(store: Store, made: Callable[..., Job]) -> None:
    job = made("running", 1, state=RUNNING, begun=1, total=9)
    store.jobs.change(job.id, [RUNNING], begun=1.0)
    store.jobs.record(job, 1, 1, standing=4)
    made("done", state=RUNNING, kind=BUNDLE, target="", total=3)
    store.jobs.change("done", [RUNNING], state=DONE, done=3)
    bundle = listing.page(store, OWNER, Query(10), base=BASE)
    validation.check(bundle, "Bundle")
    done, running = (values(entry["resource"]) for entry in bundle["entry"])
    assert (running["kind"], running["state"], running["target"]) == ("set-accounts", "running", {"reference": PATIENT})
    assert running["progress"] == polling.status(store, OWNER, "running", alive=lambda job: True).progress
    assert running["status"] == f"{BASE}/job/running/status"
    assert "ended" not in running
    assert (done["kind"], done["state"], done["progress"]) == ("bundle", "done", "3 of 3 entries")
    assert done["ended"] >= done["created"]


@pytest.mark.parametrize(
    "pairs",
    [
        [("_count", "x")],
        [("_count", "-1")],
        [("_count", "1"), ("_count", "2")],
        [("_cursor", "")],
        [("_cursor", "1#2")],
        [("owner", "somebody")],
    ],
)
def test_a_wrong_parameter_is_named(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(pairs, 10, 100)
    assert caught.value.issues[0].expression == pairs[0][0]


def test_links_keep_the_form_of_the_answer(store: Store, made: Callable[..., Job]) -> None:
    for name in ("one", "two"):
        made(name)
    query = parse([("_format", "xml"), ("_pretty", "true"), ("_count", "1")], 10, 10)
    for link in listing.page(store, OWNER, query, base=BASE)["link"]:
        assert {"_format": ["xml"], "_pretty": ["true"], "_count": ["1"]}.items() <= parse_qs(
            link["url"].partition("?")[2]
        ).items()


def test_count_has_bounds() -> None:
    assert parse([], 10, 100) == Query(10)
    assert parse([("_count", "0")], 10, 100).count == 1
    assert parse([("_count", "500")], 10, 100).count == 100
    assert parse([("_count", "9" * 20)], 10, 100).count == 100


def test_over_http(store: Store, made: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "connect", lambda: store)
    made("j")
    answer = request("GET", "job")
    assert (answer["statusCode"], [entry["resource"]["id"] for entry in answer["resource"]["entry"]]) == (200, ["j"])
    assert "entry" not in request("GET", "job", subject="other")["resource"]
    assert request("GET", "job", scope=None)["statusCode"] == 401
