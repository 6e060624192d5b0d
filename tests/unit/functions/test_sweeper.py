"""The sweeper counts jobs on which nobody works, and takes those off the list that are over."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from bulkhead import observability, resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.session import Session
from bulkhead.store import BODIES, Store, keys, layout
from bulkhead.store.integrity import Report
from bulkhead.store.jobs import BUNDLE, CANCELLED, COMMITTED, DONE, FAILED, RUNNING, STARTING, Job
from functions.sweeper import handler
from infra.integrity_construct import DEFINITION
from infra.local import states
from tests.support.memory_s3 import MemoryS3

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
    removed = swept.jobs.read("removed")
    assert removed is not None
    assert swept.jobs.remove(removed)
    assert listed(swept) == set()


def test_the_alarm_s_metric_and_the_ids_are_told(
    swept: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(observability, "is_on_lambda", lambda: True)
    create(swept, "dead", age=HALF_AN_HOUR + 5)
    handler.count_dead(swept)
    (metric,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if observability.JOBS_DEAD in line]
    assert metric[observability.JOBS_DEAD] == [1]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert [record.job for record in caplog.records if record.message == "dead job"] == ["dead"]  # type: ignore[attr-defined]
    swept.jobs.change("dead", [RUNNING], state=DONE)
    handler.count_dead(swept)
    assert observability.JOBS_DEAD not in capsys.readouterr().out


def test_a_minute_in_which_nothing_is_to_do_reports_nothing(
    swept: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Idle has to cost nothing, and a metric that is reported every minute does not."""
    monkeypatch.setattr(observability, "is_on_lambda", lambda: True)
    with swept.metered() as meter:
        handler.handler({}, Late())
    assert meter.read > 0
    assert "_aws" not in capsys.readouterr().out
    handler.handler({"step": "segment", "input": {"number": 0, "of": 1}}, Late())
    assert "_aws" in capsys.readouterr().out


@pytest.mark.parametrize("given", [handler.CHECK, {"step": "sum", "input": {"segments": [], "compared": []}}])
def test_damage_that_a_check_finds_is_told(
    swept: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: dict[str, Any]
) -> None:
    monkeypatch.setattr(observability, "is_on_lambda", lambda: True)
    report = Report(damaged=2, names=("Basic/b", "Basic/c"))
    monkeypatch.setattr(swept, "check_integrity_on", lambda *_: report)
    if "input" in given:
        compared = handler.compare(swept, handler.whole_table(1)["segments"][0], lambda: True)
        given["input"] = handler.whole_table(1) | {"compared": [compared | {"report": asdict(report)}]}
    handler.handler(given, Late())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ResourcesDamaged" in line]
    (metric,) = [line for line in told if "_aws" in line]
    assert metric[observability.RESOURCES_DAMAGED] == [2]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    monkeypatch.setattr(swept, "check_integrity_on", lambda *_: Report())
    handler.handler(handler.CHECK, Late())
    assert observability.RESOURCES_DAMAGED not in capsys.readouterr().out


def test_an_operator_has_bodies_of_older_code_adopted_page_by_page(
    swept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = MemoryS3(page=2)
    monkeypatch.setattr(swept, "_s3", bucket)
    for number in range(5):
        body = swept.encode({"resourceType": "Basic", "id": "b"})
        bucket.put_object(Bucket="bulkhead", Key=f"{BODIES}{number:064}", Body=body)
    answers = [handler.handler({"step": "adopt"}, Late())]
    while answers[-1]["after"]:
        answers.append(handler.handler({"step": "adopt", "input": {"after": answers[-1]["after"]}}, Late()))
    assert [answer["adopted"] for answer in answers] == [2, 2, 1]
    assert len(list(swept.table.query("Basic/b", keys.BODY, keys.BODY))) == 5
    # A day later they are old enough.
    assert handler.handler({"step": "segment", "input": {"number": 0, "of": 1}}, Late())["report"]["bodies"] == 0
    monkeypatch.setattr("bulkhead.store.rounds.time.time", lambda: time.monotonic() + 9e9)
    assert handler.handler({"step": "segment", "input": {"number": 0, "of": 1}}, Late())["report"]["bodies"] == 5
    assert bucket.versions == {}


class Paging:
    """A client whose pages have four items."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def scan(self, **arguments: Any) -> Any:
        return self._client.scan(**arguments, Limit=4)


class Late:
    """The context of a call that comes through one page."""

    def get_remaining_time_in_millis(self) -> int:
        return 0


@pytest.fixture
def faulty(swept: Store) -> Store:
    """Twelve resources, each with an entry too many."""
    session = Session.of(swept, EVERYBODY)
    for number in range(12):
        basic = {"resourceType": "Basic", "id": f"b{number}", "code": {"text": "x"}}
        resources.update(session, basic, f"Basic/b{number}")
        swept.table.put({"pk": {"S": f"Basic/b{number}"}, "sk": {"S": keys.ENTRY + "Patient/x#"}, "v": {"N": "1"}})
    # As older code leaves it.
    layout._known.pop(swept.table, None)
    swept.table.put({"pk": {"S": keys.LAYOUT}, "sk": {"S": keys.HEAD}, "layout": {"N": str(layout.CLINICAL)}})
    swept.table.client = Paging(swept.table.client)  # type: ignore[assignment] # it wraps a client
    return swept


Invoke = Callable[[dict[str, Any]], Any]
"""What happens to one call of the state machine, by its payload."""


def run_machine(segments: int, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The output of an execution whose tasks are `invoke`; a pause between two attempts takes no time."""
    monkeypatch.setattr(states, "_pause", lambda *_: None)
    machine = json.loads(DEFINITION.read_text())
    states.check(machine)
    runtime = states.Runtime(lambda _, payload: invoke(payload), lambda *_: b"", {}, threading.Event())
    return states.run(machine, handler.whole_table(segments), runtime)


@pytest.mark.parametrize("dying", [(), (2, 3, 7)], ids=["nothing fails", "calls die"])
def test_the_state_machine_goes_through_the_whole_table_in_segments(
    faulty: Store, monkeypatch: pytest.MonkeyPatch, dying: tuple[int, ...]
) -> None:
    calls = 0

    def invoke(payload: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls in dying:
            raise states.ExecutionFailed("Lambda.Unknown")
        return handler.handler(payload, Late())

    assert not layout.has(faulty.table, layout.CURRENT)
    report = run_machine(3, invoke, monkeypatch)
    assert (report["stale"], report["damaged"], report["left_out"]) == (12, 0, 0)
    # One whose items two calls share is looked at by both.
    assert report["resources"] >= 12
    # One page a call: it took more calls than there are segments.
    assert calls > 4
    assert layout.has(faulty.table, layout.CURRENT)
    assert run_machine(2, invoke, monkeypatch)["stale"] == 0


@pytest.mark.parametrize("error", ["Lambda.Unknown", "States.Runtime"], ids=["caught", "the child fails"])
def test_a_segment_that_fails_holds_no_other_up_and_is_told(
    faulty: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    def invoke(payload: dict[str, Any]) -> Any:
        if payload["step"] == "segment" and payload["input"]["number"] == 1:
            raise states.ExecutionFailed(error, "a traceback, which may be long" * 1_000)
        return handler.handler(payload, Late())

    with pytest.raises(states.ExecutionFailed) as failed:
        run_machine(3, invoke, monkeypatch)
    # The alarm on failed executions tells of it.
    assert failed.value.error == "SegmentsLeftOut"
    (told,) = [record for record in caplog.records if "left segments out" in record.message]
    assert told.segments == [1]  # type: ignore[attr-defined]
    assert told.errors == ([error] if error == "Lambda.Unknown" else [])  # type: ignore[attr-defined]
    # It has not gone through all, so it must not say that it has; but the rest is mended, and comes into the report.
    assert not layout.has(faulty.table, layout.CURRENT)
    (report,) = [json.loads(record.report) for record in caplog.records if record.message == "integrity check"]  # type: ignore[attr-defined]
    assert 0 < report["stale"] < 12
    following = run_machine(3, lambda payload: handler.handler(payload, Late()), monkeypatch)
    assert following["stale"] == 12 - report["stale"]
    assert layout.has(faulty.table, layout.CURRENT)


def test_segments_name_few_damaged_resources_so_that_all_reports_fit_a_state(
    swept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"Basic/{number:060}" for number in range(100))
    monkeypatch.setattr(swept, "check_segment", lambda *_, **__: (Report(damaged=100, names=names), None))
    given = handler.whole_table(100)
    given["compared"] = [handler.compare(swept, each, lambda: True) for each in given["segments"]]
    assert len(json.dumps(given)) < states.PAYLOAD_LIMIT
    assert handler.handler({"step": "sum", "input": given}, None)["damaged"] == 10_000
