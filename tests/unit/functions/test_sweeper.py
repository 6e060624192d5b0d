"""The sweeper counts jobs on which nobody works, and takes those off the list that are over."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from bulkhead import observability
from bulkhead.store import Store, keys
from bulkhead.store.jobs import BUNDLE, CANCELLED, COMMITTED, DONE, FAILED, RUNNING, STARTING, Job
from functions.sweeper import handler

HALF_AN_HOUR = 1800


@pytest.fixture
def swept(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(handler, "connect", lambda: store)
    return store


def create(store: Store, name: str, *, state: str = RUNNING, age: float = 0, **values: Any) -> None:
    now = time.time()
    times = {"created": now - age, "expires": int(now) + 86_400} | values
    store.jobs.create(Job(name, "owner", "Patient/p", (), state=state, **times))


def listed(store: Store) -> set[str]:
    return {item["sk"]["S"] for item in store.table.query(keys.OPEN_JOBS)}


@pytest.mark.parametrize("state", [STARTING, RUNNING, COMMITTED])
def test_a_job_is_dead_where_nobody_was_seen_at_work_for_half_an_hour(swept: Store, state: str) -> None:
    create(swept, "dead", state=state, age=HALF_AN_HOUR + 5)
    create(swept, "young", state=state, age=HALF_AN_HOUR - 60)
    create(swept, "a-bundle", state=state, age=HALF_AN_HOUR + 5, kind=BUNDLE)
    assert [job.id for job in swept.jobs.dead()] == ["a-bundle", "dead"]
    assert handler.handler({}, None) == {"finished": 0, "dead": 2}
    assert listed(swept) == {"dead", "young", "a-bundle"}


@pytest.mark.parametrize("sign", ["beat", "begun"])
def test_a_sign_of_work_keeps_a_job_alive(swept: Store, sign: str) -> None:
    create(swept, "old", age=50 * HALF_AN_HOUR)
    swept.jobs.change("old", [RUNNING], **{sign: time.time() - 60})
    assert swept.jobs.dead() == []
    swept.jobs.change("old", [RUNNING], **{sign: time.time() - HALF_AN_HOUR - 5})
    assert [job.id for job in swept.jobs.dead()] == ["old"]


@pytest.mark.parametrize("state", [DONE, FAILED, CANCELLED])
def test_what_is_over_is_no_longer_listed(swept: Store, state: str) -> None:
    create(swept, "over", age=2 * HALF_AN_HOUR)
    swept.jobs.change("over", [RUNNING], state=state)
    create(swept, "expired", age=2 * HALF_AN_HOUR, expires=int(time.time()) - 1)
    create(swept, "open")
    assert swept.jobs.dead() == []
    assert listed(swept) == {"open"}


def test_a_job_that_is_just_being_created_stays_on_the_list(swept: Store) -> None:
    create(swept, "listed first", age=2 * HALF_AN_HOUR)
    swept.table.put_many([], [(keys.job_key("listed first"), keys.HEAD)])
    assert swept.jobs.dead() == []
    assert listed(swept) == {"listed first"}


def test_a_job_that_never_started_leaves_the_list(swept: Store) -> None:
    create(swept, "removed")
    swept.jobs.remove("removed")
    assert listed(swept) == set()


def test_the_alarm_s_metric_and_the_ids_are_told(
    swept: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(observability, "is_measuring", lambda: True)
    create(swept, "dead", age=HALF_AN_HOUR + 5)
    handler.count_dead(swept)
    (metric,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if observability.JOBS_DEAD in line]
    assert metric[observability.JOBS_DEAD] == [1]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert [record.job for record in caplog.records if record.message == "dead job"] == ["dead"]  # type: ignore[attr-defined]
    swept.jobs.change("dead", [RUNNING], state=DONE)
    handler.count_dead(swept)
    assert observability.JOBS_DEAD not in capsys.readouterr().out
