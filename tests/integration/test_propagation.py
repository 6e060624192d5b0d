"""Propagation by the state machine of the repository, and many writers at once, on DynamoDB."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from itertools import count, pairwise
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import propagation
from bulkhead.compartments.propagation import Applied
from bulkhead.errors import BulkheadError, Unavailable
from bulkhead.fhir import json
from bulkhead.jobs import polling, propagation_steps
from bulkhead.jobs.lifecycle import Background
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store import jobs as items
from bulkhead.store.jobs import CANCELLED, DONE, FAILED, RUNNING, STARTING
from tests.support.faults import Killed, killed
from tests.support.scene import PATIENT, A, B, C, Machine, Scene, manifest
from tests.support.stepping import Writer

OWNER = EVERYBODY.owner


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


@pytest.fixture
def machine(scene: Scene) -> Machine:
    return Machine(scene.store)


def run(scene: Scene, machine: Machine, *accounts: str, key: str = PATIENT) -> str:
    """A job, from the request to its end."""
    job: str = scene.set(key, *accounts, propagate=True, background=machine.background())
    machine.join(job)
    return job


def found(scene: Scene, job: str) -> items.Job:
    known = scene.store.jobs.read(job)
    assert known is not None
    return known


class TestJob:
    def test_does_what_a_synchronous_request_does(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(230)
        job = run(scene, machine, A, B)
        assert (found(scene, job).state, found(scene, job).updated) == (DONE, 231)
        assert scene.accounts_of([PATIENT, *keys]) == {(A, B)}
        assert set(scene.versions(keys)) == {2}
        assert machine.state(job) == "SUCCEEDED"

    def test_a_second_one_makes_no_versions_and_no_manifest(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(120)
        run(scene, machine, A)
        job = run(scene, machine, A)
        assert found(scene, job).updated == 121
        assert set(scene.versions([PATIENT, *keys])) == {2}
        listed = scene.store.s3.list_objects_v2(Bucket=scene.store.settings.bucket, Prefix=f"manifests/{job}/")
        assert listed["KeyCount"] == 0

    def test_taking_an_account_away_leaves_nothing_behind(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(30)
        run(scene, machine, A)
        assert len(scene.store.in_account(A)) == 31
        assert found(scene, run(scene, machine)).updated == 31
        assert scene.accounts_of([PATIENT, *keys]) == {()}
        assert scene.store.in_account(A) == []

    def test_repairs_what_damage_left_behind(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(50)
        run(scene, machine, A)
        for key in keys[::7]:
            scene.adjust(key, inherited=None)
        scene.adjust(keys[1], inherited={"M": {PATIENT: {"L": [{"S": C}]}}})
        assert found(scene, run(scene, machine, A)).updated == 51
        assert scene.accounts_of(keys) == {(A,)}

    def test_an_empty_compartment_is_one_resource(self, scene: Scene, machine: Machine) -> None:
        assert found(scene, run(scene, machine, A)).updated == 1

    def test_the_target_stands_as_asked_at_once(self, scene: Scene, machine: Machine) -> None:
        started: list[str] = []
        scene.set(PATIENT, A, propagate=True, background=set_accounts_background(started.append))
        assert len(started) == 1
        assert scene.accounts(PATIENT) == (A,)

    def test_passes_over_several_manifests(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(propagation, "PAGE", 40)
        monkeypatch.setattr(propagation_steps, "PAGE", 40)
        monkeypatch.setattr(propagation_steps, "MANIFEST_MEMBERS", 80)
        keys = scene.observations(230)
        job = run(scene, machine, A)
        assert (found(scene, job).total, found(scene, job).updated) == (230, 231)
        assert scene.accounts_of(keys) == {(A,)}
        objects = scene.store.s3.list_objects_v2(Bucket=scene.store.settings.bucket, Prefix=f"manifests/{job}/")
        assert objects["KeyCount"] == 3

    def test_waits_for_the_indexes_before_it_verifies(self, new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = Scene(new_store(propagation_settle=7))
        scene.observations(3)
        job = items.Job("j", OWNER, PATIENT, (A,), 0, 2**33, begun=1)
        scene.store.jobs.create(job)
        scene.store.jobs.change("j", ["starting"], state="running", begun=1)
        scene.store.set_propagate(scene.head(PATIENT), flag=True, within={})
        first = propagation_steps.plan(scene.store, {"job": "j"})
        assert (first["batches"], first["next"], first["settle"]) == (0, "settle", 7)
        second = propagation_steps.plan(scene.store, first)
        assert (second["next"], second["standing"]) == ("finish", 3)


def set_accounts_background(start: Callable[[str], None]) -> Any:
    from bulkhead.jobs.lifecycle import Background

    return Background(start)


class TestStart:
    def test_nothing_is_changed_where_no_run_can_be_started(self, scene: Scene) -> None:
        started: list[str] = []

        def refuse(job: str) -> None:
            started.append(job)
            raise ConnectionError

        with pytest.raises(Unavailable):
            scene.set(PATIENT, A, propagate=True, background=set_accounts_background(refuse))
        assert scene.head(PATIENT).version == 1
        assert scene.store.jobs.read(started[0]) is None

    @pytest.mark.parametrize("caught", ["Organization/unknown", "Patient/unknown"])
    def test_checks_come_before_the_job(self, scene: Scene, caught: str) -> None:
        def start(job: str) -> None:
            raise AssertionError

        target = caught if caught.startswith("Patient") else PATIENT
        account = caught if caught.startswith("Organization") else A
        with pytest.raises(BulkheadError):
            scene.set(target, account, propagate=True, background=set_accounts_background(start))
        assert scene.accounts(PATIENT) == ()

    def test_the_planner_waits_for_the_target(self, scene: Scene) -> None:
        scene.observations(2)
        began: list[Any] = []

        def start(job: str) -> None:
            planner = threading.Thread(target=lambda: began.append(propagation_steps.plan(scene.store, {"job": job})))
            planner.start()
            threads.append(planner)

        threads: list[threading.Thread] = []
        scene.set(PATIENT, A, propagate=True, background=set_accounts_background(start))
        threads[0].join(10)
        assert began[0]["batches"] == 1

    @pytest.mark.parametrize(("changed", "state"), [(True, DONE), (False, FAILED)])
    def test_a_request_that_died_is_finished_or_failed(
        self, scene: Scene, machine: Machine, changed: bool, state: str
    ) -> None:
        keys = scene.observations(3)
        scene.store.jobs.create(items.Job("j", OWNER, PATIENT, (A,), 0, 2**33))
        if changed:
            scene.set(PATIENT, A)
            scene.store.set_propagate(scene.head(PATIENT), flag=True, within={})
        machine.start("j")
        machine.join("j")
        assert found(scene, "j").state == state
        assert scene.accounts_of(keys) == {(A,) if changed else ()}

    def test_the_same_key_is_the_same_job(self, scene: Scene, machine: Machine) -> None:
        scene.observations(3)
        first = scene.set(PATIENT, A, propagate=True, background=machine.background("once"))
        machine.join(first)
        again = scene.set(PATIENT, A, propagate=True, background=machine.background("once"), if_match='W/"1"')
        other = scene.set(PATIENT, A, propagate=True, background=machine.background("twice"))
        assert first == again != other
        assert scene.head(PATIENT).version == 2

    def test_a_key_is_good_for_one_request(self, scene: Scene, machine: Machine) -> None:
        scene.set(PATIENT, A, propagate=True, background=machine.background("once"))
        with pytest.raises(BulkheadError) as caught:
            scene.set(PATIENT, B, propagate=True, background=machine.background("once"))
        assert caught.value.status == 422
        assert scene.accounts(PATIENT) == (A,)

    def test_also_where_two_requests_come_at_once(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second looks for an earlier one before the first has made its job."""
        scene.set(PATIENT, A, propagate=True, background=machine.background("once"))
        read, blind = items.Jobs.read, [True]
        monkeypatch.setattr(items.Jobs, "read", lambda *given: None if blind and blind.pop() else read(*given))
        with pytest.raises(BulkheadError) as caught:
            scene.set(PATIENT, B, propagate=True, background=machine.background("once"))
        assert caught.value.status == 422
        assert scene.accounts(PATIENT) == (A,)

    def test_two_at_once_under_if_match_are_one_job_that_runs(self, scene: Scene) -> None:
        """One stands before each of its calls in turn, while the other comes and goes: neither takes the other's job for failed."""

        def send(store: Store, name: str) -> Any:
            own = copy(scene)
            own.store = store
            background = Background(lambda job: None, name)
            return own.set(PATIENT, A, propagate=True, background=background, if_match=f'W/"{version}"')

        for calls in count():
            scene.set(PATIENT)
            version = scene.head(PATIENT).version
            slow = Writer(scene.store, partial(send, name=f"k{calls}"))
            over = not all(slow.step() for _ in range(calls))
            fast = send(scene.store, f"k{calls}")
            slow.finish()
            assert (slow.error, slow.result) == (None, fast), calls
            assert found(scene, fast).state == RUNNING
            assert scene.accounts(PATIENT) == (A,)
            if over:
                break
        assert calls > 10

    def test_a_request_that_comes_again_later_has_its_time(self, scene: Scene) -> None:
        """The first one died before it could start the run. The run that the next one starts does not take that for dead as well."""
        background = Background(dies, "once")
        with pytest.raises(Killed):
            scene.set(PATIENT, A, propagate=True, background=background)
        job = background.identifier(EVERYBODY.owner)
        assert scene.store.jobs.change(job, [STARTING], created=1.0)
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            raise Waits

        def start(job: str) -> None:
            with pytest.raises(Waits):
                propagation_steps.plan(scene.store, {"job": job}, wait)

        assert scene.set(PATIENT, A, propagate=True, background=Background(start, "once")) == job
        assert waited
        assert found(scene, job).state == RUNNING

    def test_a_job_that_another_has_joined_is_not_taken_back(self, scene: Scene) -> None:
        """The first request cannot start it, and the same one, sent again meanwhile, can."""
        joined: list[Any] = []

        def fails(job: str) -> None:
            joined.append(scene.set(PATIENT, A, propagate=True, background=Background(lambda job: None, "once")))
            raise ConnectionError

        with pytest.raises(Unavailable):
            scene.set(PATIENT, A, propagate=True, background=Background(fails, "once"))
        assert found(scene, joined[0]).state == RUNNING


class Waits(Exception):
    """The planner has nothing to do yet."""


def dies(job: str) -> None:
    raise killed()


def interrupt(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> list[int]:
    """Call `before(n)` before the n-th batch that a worker applies; the calls so far are returned."""
    calls, lock = [0], threading.Lock()

    def interrupted(*arguments: Any, **named: Any) -> Applied:
        with lock:
            calls[0] += 1
            number = calls[0]
        before(number)
        return propagation.apply(*arguments, **named)

    monkeypatch.setattr(propagation_steps, "apply", interrupted)
    return calls


class TestTrouble:
    def test_a_worker_that_dies_is_retried(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(number: int) -> None:
            if number in (1, 3):
                raise RuntimeError

        calls = interrupt(monkeypatch, die)
        keys = scene.observations(330)
        job = run(scene, machine, A)
        assert (found(scene, job).state, found(scene, job).updated) == (DONE, 331)
        assert scene.accounts_of(keys) == {(A,)}
        assert calls[0] == 6

    def test_a_batch_that_always_dies_is_left_to_the_next_pass(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(number: int) -> None:
            if number <= 4:
                raise RuntimeError

        interrupt(monkeypatch, die)
        keys = scene.observations(80)
        assert found(scene, run(scene, machine, A)).updated == 81
        assert scene.accounts_of(keys) == {(A,)}

    def test_members_that_resist_are_named_and_stop_none_of_the_others(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(150)
        broken = [keys[3], keys[101]]
        for key in broken:
            scene.adjust(key, body={"B": b"z damaged"})
        job = run(scene, machine, A)
        known = found(scene, job)
        assert (known.state, known.status) == (FAILED, 503)
        outcome = json.loads(known.error)
        assert [issue["expression"][0] for issue in outcome["issue"][1:]] == broken
        assert "2 members" in outcome["issue"][0]["diagnostics"]
        assert scene.accounts_of([key for key in keys if key not in broken]) == {(A,)}
        assert scene.versions([keys[0]]) == [2]

    def test_a_batch_that_is_delivered_twice_counts_once(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = machine.steps["work"]

        def twice(store: Store, item: dict[str, Any]) -> dict[str, Any]:
            work(store, item)
            assert progress(scene, item["job"]) <= 151
            return work(store, item)

        machine.steps["work"] = twice
        keys = scene.observations(150)
        job = run(scene, machine, A)
        assert found(scene, job).updated == 151
        assert set(scene.versions(keys)) == {2}

    def test_a_machine_that_breaks_off_fails_the_job(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(store: Store, state: dict[str, Any]) -> dict[str, Any]:
            raise RuntimeError("with a patient's name")

        machine.steps["plan"] = broken
        job = run(scene, machine, A)
        known = found(scene, job)
        assert known.state == FAILED
        assert "RuntimeError" in known.error
        assert "name" not in known.error
        assert machine.state(job) == "FAILED"

    def test_a_resource_created_during_the_run_is_not_left_behind(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its writer read the patient before the run changed it, and commits when the workers are done."""
        resource = {"resourceType": "Observation", "id": "late", "subject": {"reference": PATIENT}}
        write = resources.prepare_create(Session.of(scene.store, EVERYBODY), resource, "Observation/late", fresh=True)
        asked, answered = threading.Event(), threading.Event()

        def read_early(writes: Any, read: Any) -> None:
            resources.inherit(Session.of(scene.store, EVERYBODY))(writes, read)
            asked.set()
            answered.wait(20)

        scene.observations(5)
        with ThreadPoolExecutor(1) as writer:
            late = writer.submit(scene.store.commit, [write], (), read_early)
            asked.wait(20)
            second_look = propagation.second_look

            def once_committed(*arguments: Any, **named: Any) -> Any:
                answered.set()
                late.result()
                return second_look(*arguments, **named)

            monkeypatch.setattr(propagation_steps, "second_look", once_committed)
            job = run(scene, machine, A)
        assert scene.accounts("Observation/late") == (A,)
        assert found(scene, job).updated == 7

    def test_what_a_dead_transaction_holds_is_released(self, new_store: Any, machine: Machine) -> None:
        scene = Scene(new_store(transaction_lease=-1))
        keys = scene.observations(3)
        holder = pending(scene, keys[0])
        assert scene.set(PATIENT, A, propagate=True) == 4
        assert scene.accounts_of(keys) == {(A,)}
        assert holder not in str(scene.store.table.get((keys[0], "#")))


def pending(scene: Scene, key: str) -> str:
    """A large transaction that marked `key` and went no further."""
    from bulkhead.store import transactions

    table = scene.store.table
    transaction = transactions.begin(table, [key], scene.store.settings.transaction_lease)
    values = {":txn": {"S": transaction}}
    table.write([table.update_action((key, "#"), "SET #txn = :txn", values)])
    return transaction


def progress(scene: Scene, job: str) -> int:
    text = polling.status(scene.store, OWNER, job, alive=lambda name: True).progress
    return int(text.partition(" ")[0]) if text else 0


class TestProgressAndCancel:
    def test_progress_counts_members(self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        job_ids: list[str] = []
        work = machine.steps["work"]
        lock = threading.Lock()

        def observed(store: Store, item: dict[str, Any]) -> dict[str, Any]:
            with lock:
                seen.append(polling.status(store, OWNER, item["job"], alive=machine.is_running).progress)
                job_ids.append(item["job"])
                return work(store, item)

        machine.steps["work"] = observed
        scene.observations(330)
        run(scene, machine, A)
        # Which of the four workers comes when is not promised: one of the batches has 30 members, the others 100.
        done = [int(progress.removesuffix(" of 331 resources")) for progress in seen]
        assert done[0] == 1
        assert sorted([later - earlier for earlier, later in pairwise([*done, 331])]) == [30, 100, 100, 100]

    def test_cancelling_stops_within_a_batch(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(propagation_steps, "_ITEMS_IN_PARALLEL", 1)
        begun, cancelled = threading.Event(), threading.Event()

        def hold(number: int) -> None:
            if number == 2:
                begun.set()
                cancelled.wait(20)

        calls = interrupt(monkeypatch, hold)
        keys = scene.observations(500)
        job = scene.set(PATIENT, A, propagate=True, background=machine.background())
        begun.wait(20)
        polling.cancel(scene.store, OWNER, job, stop=machine.stop)
        cancelled.set()
        machine.join(job)
        assert calls[0] == 2
        bundle = polling.status(scene.store, OWNER, job, alive=machine.is_running).bundle
        assert bundle is not None
        (entry,) = bundle["entry"]
        assert entry["response"]["status"].startswith("409")
        assert "cancelled: 201 of 501 resources" in entry["response"]["outcome"]["issue"][0]["diagnostics"]
        assert entry["resource"]["parameter"][0]["valueInteger"] == 201
        assert sum(head.accounts == (A,) for head in scene.store.read_many(keys).values()) == 200
        assert found(scene, run(scene, machine, A)).updated == 501
        assert scene.accounts_of(keys) == {(A,)}
        assert set(scene.versions(keys)) == {2}

    def test_cancelling_a_finished_job_changes_nothing(self, scene: Scene, machine: Machine) -> None:
        job = run(scene, machine, A)
        polling.cancel(scene.store, OWNER, job, stop=machine.stop)
        assert found(scene, job).state == DONE

    def test_a_planner_that_meets_a_cancelled_job_ends_it(self, scene: Scene, machine: Machine) -> None:
        scene.observations(3)
        scene.store.jobs.create(items.Job("j", OWNER, PATIENT, (A,), 0, 2**33, state=CANCELLED))
        machine.start("j")
        machine.join("j")
        assert machine.state("j") == "SUCCEEDED"
        assert found(scene, "j").state == CANCELLED


class TestLargeCompartments:
    """More members than one call of the planner lists: here 100 a call, on AWS 200,000."""

    @pytest.fixture(autouse=True)
    def _small_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(propagation_steps, "MANIFEST_MEMBERS", 100)
        monkeypatch.setattr(propagation, "PAGE", 50)

    @pytest.fixture
    def small(self, new_store: Any) -> Scene:
        return Scene(new_store(propagation_batch=10))

    def watched(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[int]]:
        """What a client that asks after each batch sees, and how many results were read for it."""
        progress: list[str] = []
        read: list[int] = []
        results, plan, work = items.Jobs.results, machine.steps["plan"], machine.steps["work"]
        lock = threading.Lock()

        def counted(jobs: items.Jobs, *arguments: Any, **bounds: Any) -> Any:
            found = results(jobs, *arguments, **bounds)
            read.append(len(found))
            return found

        def asking(step: Any) -> Any:
            def run(store: Store, given: dict[str, Any]) -> dict[str, Any]:
                done: dict[str, Any] = step(store, given)
                with lock:
                    status = polling.status(store, OWNER, given["job"], alive=lambda job: True)
                    progress.append(status.progress)
                return done

            return run

        monkeypatch.setattr(items.Jobs, "results", counted)
        machine.steps |= {"plan": asking(plan), "work": asking(work)}
        return progress, read

    def test_members_are_counted_while_they_are_listed(self, small: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(small.store)
        progress, read = self.watched(machine, monkeypatch)
        keys = small.observations(330)
        job = run(small, machine, A)
        assert found(small, job).updated == 331
        assert small.accounts_of(keys) == {(A,)}
        told = [re.fullmatch(r"(\d+) of (at least )?(\d+) resources", text) for text in progress if text]
        assert all(told)
        totals = [int(match[3]) for match in told if match]
        assert totals == sorted(totals)
        assert len(set(totals)) >= 3
        assert totals[-1] == 331
        assert {bool(match[2]) for match in told if match and match[3] != "331"} == {True}
        assert not any(match[2] for match in told if match and match[3] == "331")
        standing = [int(match[1]) for match in told if match]
        assert standing == sorted(standing)
        assert max(standing) == 331
        # However many there are, nobody reads more than those of one call of the planner, and its own.
        assert max(read) <= 150 // 10 + 2

    def test_a_call_that_is_delivered_twice_counts_once(self, small: Scene) -> None:
        small.observations(330)
        job = small.set(PATIENT, A, propagate=True, background=Background(lambda job: None))
        state: dict[str, Any] = {"job": job}
        while state.get("next", "plan") == "plan" and state.get("turn", 1) == 1:
            propagation_steps.plan(small.store, state)
            state = propagation_steps.plan(small.store, state)
            for item in manifest(small.store, state):
                propagation_steps.work(small.store, item)
        known = found(small, job)
        assert (known.total, known.listing) == (330, False)
        assert polling.status(small.store, OWNER, job, alive=lambda job: True).progress == "331 of 331 resources"

    def test_the_second_pass_begins_with_the_best_of_the_first(self, small: Scene) -> None:
        small.observations(330)
        job = small.set(PATIENT, A, propagate=True, background=Background(lambda job: None))
        state: dict[str, Any] = {"job": job}
        while state.get("turn", 1) == 1:
            state = propagation_steps.plan(small.store, state)
            for item in manifest(small.store, state):
                propagation_steps.work(small.store, item)
        state = propagation_steps.plan(small.store, state)
        known = found(small, job)
        assert (known.turn, known.best, known.standing) == (2, 330, 0)
        assert polling.status(small.store, OWNER, job, alive=lambda job: True).progress == "331 of 331 resources"

    def test_who_is_at_work_says_so(self, small: Scene) -> None:
        small.observations(30)
        job = small.set(PATIENT, A, propagate=True, background=Background(lambda job: None))
        assert found(small, job).beat == 0
        before = time.time()
        state = propagation_steps.plan(small.store, {"job": job})
        beat = found(small, job).beat
        assert beat >= before
        for item in manifest(small.store, state):
            propagation_steps.work(small.store, item)
        # It was just said.
        assert found(small, job).beat == beat


class TestFairShares:
    """Ten workers for all jobs together."""

    @pytest.fixture
    def plan(self, scene: Scene) -> Callable[..., int]:
        """The workers that the planner gives to a job of somebody, fenced to these accounts or not."""
        numbers = iter(range(100))
        scene.observations(2)
        scene.set(PATIENT, A, propagate=True)

        def made(owner: str, *within: str, job: str = "") -> int:
            if not job:
                job = f"job-{next(numbers)}"
                fence = within or None
                scene.store.jobs.create(items.Job(job, owner, PATIENT, (B,), 0, 2**33, state=RUNNING, within=fence))
            given: int = propagation_steps.plan(scene.store, {"job": job})["concurrency"]
            return given

        return made

    def test_who_is_alone_has_all(self, plan: Callable[..., int]) -> None:
        assert plan("a") == 10

    def test_a_tenant_with_many_jobs_leaves_half_to_another(self, plan: Callable[..., int]) -> None:
        for _ in range(4):
            plan("a", A)
        assert plan("b", B) == 5
        # The same tenant, though another of its clients.
        assert plan("another", A) == 1

    def test_what_is_asked_again_is_decided_anew(self, plan: Callable[..., int], scene: Scene) -> None:
        assert plan("a") == 10
        assert plan("b") == 5
        assert plan("a", job="job-0") == 5
        propagation_steps.finish(scene.store, {"job": "job-1", "turn": 1, "amiss": 0, "standing": 1})
        assert plan("a", job="job-0") == 10

    @pytest.mark.parametrize("state", [CANCELLED, FAILED, DONE])
    def test_what_is_over_has_no_share(self, plan: Callable[..., int], scene: Scene, state: str) -> None:
        plan("a")
        scene.store.jobs.change("job-0", [RUNNING], state=state)
        assert plan("b") == 10

    def test_what_died_has_no_share_for_long(self, plan: Callable[..., int], scene: Scene) -> None:
        plan("a")
        scene.store.jobs.change("job-0", [RUNNING], beat=time.time() - 3600)
        assert plan("b") == 10

    def test_everybody_has_one_worker_at_least(self, plan: Callable[..., int]) -> None:
        shares = [plan(f"owner-{n}") for n in range(12)]
        assert shares == [10, 5, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1]


class TestAtOnce:
    @pytest.mark.parametrize("runs", [2, 8])
    def test_runs_at_once_end_in_the_state_committed_last(self, scene: Scene, runs: int) -> None:
        keys = scene.observations(150)
        wanted = [(A,), (B,), (C,), (A, B), (B, C), (C, A), (), (A, B, C)][:runs]
        with ThreadPoolExecutor(runs) as callers:
            counts = list(callers.map(lambda accounts: scene.set(PATIENT, *accounts, propagate=True), wanted))
        assert counts == [151] * runs
        last = scene.accounts(PATIENT)
        assert last in wanted
        assert scene.accounts_of(keys) == {last}
        expected = sorted([*keys, PATIENT]) if A in last else []
        assert {pointer.source for pointer in scene.store.in_account(A)} >= set(expected)
        # Who lost a race may have left an entry: never wrong, since the head decides, and collected by the integrity check.
        scene.store.check_integrity(repair=True, patience=86_400.0)
        assert [pointer.source for pointer in scene.store.in_account(A)] == expected

    def test_jobs_at_once_end_in_the_state_committed_last(self, scene: Scene, machine: Machine) -> None:
        keys = scene.observations(150)
        wanted = [(A,), (B,), (C, A)]

        def start(accounts: tuple[str, ...]) -> str:
            job: str = scene.set(PATIENT, *accounts, propagate=True, background=machine.background())
            return job

        with ThreadPoolExecutor(3) as callers:
            started = list(callers.map(start, wanted))
        for job in started:
            machine.join(job)
        assert [(found(scene, job).state, found(scene, job).updated) for job in started] == [(DONE, 151)] * 3
        assert scene.accounts(PATIENT) in wanted
        assert scene.accounts_of(keys) == {scene.accounts(PATIENT)}

    def test_clinical_updates_are_never_lost_nor_undone(self, scene: Scene) -> None:
        keys = scene.observations(120)
        written: dict[str, int] = {}
        over = threading.Event()

        def clinician(share: list[str]) -> None:
            for n in range(10_000):
                key = share[n % len(share)]
                scene.observation(key.partition("/")[2], valueInteger=n)
                written[key] = n
                if over.is_set():
                    return

        with ThreadPoolExecutor(3) as people:
            busy = [people.submit(clinician, keys[share::60][:4]) for share in range(2)]
            for accounts in ((A,), (B,), (A, C)):
                assert scene.set(PATIENT, *accounts, propagate=True) == 121
            over.set()
            for each in busy:
                each.result()
        heads = scene.store.read_many(keys)
        assert {key: scene.store.decode(heads[key])["valueInteger"] for key in written} == written
        assert {head.accounts for head in heads.values()} == {(A, C)}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second looks that find nobody are short here."""
    monkeypatch.setattr(propagation, "_SECOND_LOOKS", (0.01, 0.02))
