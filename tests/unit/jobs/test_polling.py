"""What a job's status says. Running ones, end to end: tests/integration/test_propagation.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from bulkhead.access import policy
from bulkhead.errors import Issue, NotFound, Unavailable
from bulkhead.jobs import executions, lifecycle, polling
from bulkhead.store import Store
from bulkhead.store.jobs import CANCELLED, DONE, FAILED, RUNNING, STARTING, Job
from functions import http
from tests.support.scene import SCOPE, SUBJECT, issue, request

A, PATIENT = "Organization/a", "Patient/1"
LATER = 2**33
OWNER = policy.caller_of({"sub": SUBJECT, "scope": SCOPE}, "on").owner


@pytest.fixture
def made(store: Store) -> Callable[..., Job]:
    """Makes a job; attributes that only a change sets are set by one."""

    def make(name: str = "j", state: str = STARTING, **changes: Any) -> Job:
        known: dict[str, Any] = {"owner": "me", "created": time.time(), "expires": LATER} | {
            key: changes.pop(key) for key in ("owner", "created", "expires") if key in changes
        }
        job = Job(name, known["owner"], PATIENT, (A,), known["created"], known["expires"], state)
        assert store.jobs.create(job)
        if changes:
            assert store.jobs.change(name, [state], **changes)
        return replace(job, **changes)

    return make


def alive(job: Job) -> bool:
    return True


def dead(job: Job) -> bool:
    return False


def nobody(job: Job) -> NoReturn:
    raise AssertionError("the state machine was asked about a job that is over")


class TestItems:
    def test_a_job_comes_back_as_it_was_put(self, store: Store, made: Callable[..., Job]) -> None:
        job = made(state=RUNNING, begun=5.5, total=7, updated=3, status=503, error="{}")
        assert store.jobs.read("j") == job

    def test_an_id_is_taken_once(self, store: Store, made: Callable[..., Job]) -> None:
        job = made()
        assert not store.jobs.create(replace(job, owner="other"))
        assert store.jobs.read("j") == job

    def test_an_expired_one_is_not_there_and_its_id_is_free(self, store: Store, made: Callable[..., Job]) -> None:
        job = made(expires=int(time.time()))
        assert store.jobs.read("j") is None
        assert store.jobs.create(replace(job, expires=LATER))

    def test_changes_only_in_the_allowed_states(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=CANCELLED)
        assert not store.jobs.change("j", [STARTING, RUNNING], state=DONE)
        assert not store.jobs.change("unknown", [STARTING], state=DONE)
        assert store.jobs.read("unknown") is None

    def test_results_by_batch_the_last_delivery_counts(self, store: Store, made: Callable[..., Job]) -> None:
        job = made()
        store.jobs.record(job, 1, 0, standing=10, left=[f"Observation/{n}" for n in range(150)])
        store.jobs.record(job, 1, 1, standing=99)
        store.jobs.record(job, 1, 1, standing=100)
        store.jobs.record(job, 2, 0, standing=5)
        first, *others = store.jobs.results("j")
        assert (first.turn, first.standing, first.left, len(first.names)) == (1, 10, 150, 100)
        assert [(result.turn, result.standing, result.left) for result in others] == [(1, 100, 0), (2, 5, 0)]

    def test_everything_of_a_job_expires_with_it(self, store: Store, made: Callable[..., Job]) -> None:
        store.jobs.record(made(), 1, 0, standing=10)
        found = list(store.table.query("job#j"))
        assert [item["ttl"]["N"] for item in found] == [str(LATER)] * 2


class TestStatus:
    @pytest.mark.parametrize(
        ("changes", "progress"),
        [({}, "0 resources so far"), ({"state": RUNNING, "begun": 1}, "1 resource so far")],
    )
    def test_before_the_members_are_known(
        self, store: Store, made: Callable[..., Job], changes: dict[str, Any], progress: str
    ) -> None:
        made(**changes)
        assert polling.status(store, "me", "j", alive=alive) == polling.Status(progress, None)

    def test_members_and_the_target_are_counted(self, store: Store, made: Callable[..., Job]) -> None:
        job = made(state=RUNNING, begun=1, total=5000)
        store.jobs.record(job, 1, 0, standing=700)
        store.jobs.record(job, 1, 1, standing=499)
        assert polling.status(store, "me", "j", alive=alive).progress == "1200 of 5001 resources"

    def test_an_empty_compartment(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=RUNNING, begun=1, total=0)
        assert polling.status(store, "me", "j", alive=alive).progress == "1 of 1 resources"

    def test_a_later_pass_does_not_start_from_nothing(self, store: Store, made: Callable[..., Job]) -> None:
        job = made(state=RUNNING, begun=1, total=100)
        store.jobs.record(job, 1, 1, standing=100)
        store.jobs.record(job, 2, 0, standing=20)
        assert polling.status(store, "me", "j", alive=alive).progress == "101 of 101 resources"

    def test_never_more_than_all(self, store: Store, made: Callable[..., Job]) -> None:
        store.jobs.record(made(state=RUNNING, begun=1, total=3), 1, 1, standing=9)
        assert polling.status(store, "me", "j", alive=alive).progress == "4 of 4 resources"

    def test_done(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=RUNNING, begun=1, total=2)
        store.jobs.change("j", [RUNNING], state=DONE, updated=3)
        assert polling.status(store, "me", "j", alive=nobody).bundle == {
            "resourceType": "Bundle",
            "type": "batch-response",
            "entry": [
                {
                    "resource": {
                        "resourceType": "Parameters",
                        "parameter": [{"name": "resourcesUpdated", "valueInteger": 3}],
                    },
                    "response": {"status": "200 OK"},
                }
            ],
        }

    def test_failed_says_why(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=RUNNING)
        issues = [Issue("incomplete", "2 members"), Issue("incomplete", "this one", "Observation/1")]
        assert lifecycle.give_up(store, "j", Unavailable("", issues=issues))
        bundle = polling.status(store, "me", "j", alive=nobody).bundle
        assert bundle is not None
        (entry,) = bundle["entry"]
        assert entry["response"]["status"] == "503 Service Unavailable"
        assert [each.get("expression") for each in entry["response"]["outcome"]["issue"]] == [None, ["Observation/1"]]
        assert "resource" not in entry

    def test_what_is_over_stays_over(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=CANCELLED)
        assert not lifecycle.give_up(store, "j", Unavailable("late"))

    @pytest.mark.parametrize("state", [STARTING, RUNNING])
    def test_a_dead_run_is_a_failed_one(self, store: Store, made: Callable[..., Job], state: str) -> None:
        made(state=state, created=time.time() - 2 * lifecycle.START_GRACE)
        bundle = polling.status(store, "me", "j", alive=dead).bundle
        assert bundle is not None
        assert bundle["entry"][0]["response"]["status"].startswith("503")
        known = store.jobs.read("j")
        assert known is not None
        assert known.state == FAILED

    def test_a_run_that_has_not_started_yet_is_not_dead(self, store: Store, made: Callable[..., Job]) -> None:
        made()
        assert polling.status(store, "me", "j", alive=dead).bundle is None

    def test_nor_one_that_ended_just_now(self, store: Store, made: Callable[..., Job]) -> None:
        made(state=RUNNING)

        def ends(job: Job) -> bool:
            store.jobs.change("j", [RUNNING], state=DONE, updated=3)
            return False

        bundle = polling.status(store, "me", "j", alive=ends).bundle
        assert bundle is not None
        assert bundle["entry"][0]["response"]["status"] == "200 OK"

    @pytest.mark.parametrize(("subject", "job"), [("me", "unknown"), ("other", "j"), ("me", "expired")])
    def test_nobody_elses_business(self, store: Store, made: Callable[..., Job], subject: str, job: str) -> None:
        made()
        made("expired", expires=int(time.time()))
        with pytest.raises(NotFound):
            polling.status(store, subject, job, alive=alive)
        with pytest.raises(NotFound):
            polling.cancel(store, subject, job, stop=lambda name: None)


class TestCancel:
    @pytest.mark.parametrize("state", [STARTING, RUNNING])
    def test_marks_and_then_stops(self, store: Store, made: Callable[..., Job], state: str) -> None:
        made(state=state, begun=1, total=9)
        stopped: list[str] = []

        def stop(job: Job) -> None:
            known = store.jobs.read(job.id)
            stopped.append(known.state if known else "")

        polling.cancel(store, "me", "j", stop=stop)
        assert stopped == [CANCELLED]
        bundle = polling.status(store, "me", "j", alive=nobody).bundle
        assert bundle is not None
        assert "cancelled: 1 of 10 resources" in bundle["entry"][0]["response"]["outcome"]["issue"][0]["diagnostics"]

    @pytest.mark.parametrize("state", [DONE, FAILED, CANCELLED])
    def test_of_what_is_over_has_no_effect(self, store: Store, made: Callable[..., Job], state: str) -> None:
        made(state=state)
        polling.cancel(store, "me", "j", stop=nobody)
        known = store.jobs.read("j")
        assert known is not None
        assert known.state == state


class TestHandler:
    @pytest.fixture(autouse=True)
    def here(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "connect", lambda: store)
        monkeypatch.setattr(executions, "is_running", lambda store, job: alive(job))
        monkeypatch.setattr(executions, "stop", lambda store, job: None)

    def test_running_then_cancelled(self, made: Callable[..., Job]) -> None:
        made(state=RUNNING, begun=1, total=4, owner=OWNER)
        answer = request("GET", "job/j/status")
        assert answer["statusCode"] == 202
        assert answer["headers"]["x-progress"] == "1 of 5 resources"
        assert int(answer["headers"]["retry-after"]) > 0
        assert answer["resource"]["resourceType"] == "OperationOutcome"
        assert request("DELETE", "job/j/status")["statusCode"] == 202
        over = request("GET", "job/j/status")
        assert over["statusCode"] == 200
        assert over["resource"]["type"] == "batch-response"

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_somebody_elses(self, made: Callable[..., Job], method: str) -> None:
        made(owner=OWNER)
        answer = request(method, "job/j/status", subject="other")
        assert (answer["statusCode"], issue(answer)[0]) == (404, "not-found")

    @pytest.mark.parametrize(
        "other",
        [{"scope": "system/*.cruds"}, {"claims": {"accounts": A}}, {"claims": {"patient": "1"}}],
    )
    def test_that_of_another_token_of_the_same_subject(self, made: Callable[..., Job], other: dict[str, Any]) -> None:
        made(owner=OWNER)
        assert request("GET", "job/j/status", **other)["statusCode"] == 404
        assert request("DELETE", "job/j/status", **other)["statusCode"] == 404
        assert request("GET", "job/j/status")["statusCode"] == 202

    def test_no_token(self, made: Callable[..., Job]) -> None:
        made()
        assert request("GET", "job/j/status", scope=None)["statusCode"] == 401
