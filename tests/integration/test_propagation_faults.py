"""`$set-accounts` that dies at any of its DynamoDB calls: nothing is torn, and sending it again finishes it."""

from __future__ import annotations

import contextlib
from copy import copy
from functools import partial
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from bulkhead.compartments import propagation
from bulkhead.errors import BulkheadError
from bulkhead.jobs.lifecycle import Background
from bulkhead.store import Store, pre_commit
from bulkhead.store.jobs import DONE, FAILED
from tests.support.faults import Failing, Killed, killed, unreachable
from tests.support.scene import PATIENT, A, B, C, Machine, Scene
from tests.support.stepping import Writer


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "_SECOND_LOOKS", (0.001,))


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def members(scene: Scene) -> list[str]:
    """Three, one of which has accounts of its own."""
    keys = scene.observations(3)
    scene.set(keys[0], C)
    return keys


def assert_whole(scene: Scene, keys: list[str], before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Each resource has the old accounts or the new ones, a body, a history without gaps, and is found by what it has."""
    for key in [PATIENT, *keys]:
        head = scene.head(key)
        mine = (C,) if key == keys[0] else ()
        assert head.accounts in ((*mine, *before), (*mine, *after))
        assert scene.store.decode(head)["id"] == head.id
        versions = [past.version for past in scene.store.versions(key, None, 100)]
        assert versions == list(range(head.version, 0, -1))
        for account in head.accounts:
            assert key in [pointer.source for pointer in scene.store.in_account(account)]


@pytest.mark.parametrize(
    ("ways", "fault", "after"),
    [
        ("batch", killed, False),
        ("batch", killed, True),
        ("batch", unreachable, False),
        ("batch", unreachable, True),
        ("single", killed, True),
        ("single", unreachable, False),
    ],
)
def test_a_synchronous_request_that_dies_is_finished_by_another(
    new_store: Any, ways: str, fault: Any, after: bool
) -> None:
    # One after the other, where members are written one by one: so each of these calls is one at which it dies.
    scene = Scene(new_store(bulk_writes=ways, threads=1 if ways == "single" else 8))
    keys = members(scene)
    scene.set(PATIENT, A, propagate=True)
    client = scene.store.table.client
    before, wanted = (A,), (B,)
    for at in count():
        failing: Any = Failing(client, at, fault(), after)
        scene.store.table.client = failing
        try:
            scene.set(PATIENT, *wanted, propagate=True)
        except (Killed, BotoCoreError, BulkheadError):
            assert failing.struck
        scene.store.table.client = client
        assert_whole(scene, keys, before, wanted)
        assert scene.set(PATIENT, *wanted, propagate=True) == 4
        assert scene.accounts_of(keys[1:]) == {wanted}
        assert scene.accounts(keys[0]) == (C, *wanted)
        assert_whole(scene, keys, wanted, wanted)
        before, wanted = wanted, before
        if not failing.struck:
            break
    assert at > 8


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_asynchronous_request_that_dies_goes_on_or_has_changed_nothing(scene: Scene, after: bool) -> None:
    """Whatever it left: once its machine runs, the job is over, and done exactly where the target was changed."""
    keys = members(scene)
    machine = Machine(scene.store)
    client = scene.store.table.client
    for at in count():
        former, wanted = scene.accounts(PATIENT), ((A,), (B,))[at % 2]
        started: list[str] = []
        failing: Any = Failing(client, at, killed(), after)
        scene.store.table.client = failing
        with contextlib.suppress(Killed):
            scene.set(PATIENT, *wanted, propagate=True, background=Background(started.append))
        scene.store.table.client = client
        for job in started:
            scene.adjust(f"job#{job}", created={"N": "0"})
            machine.start(job)
            machine.join(job)
            known = scene.store.jobs.read(job)
            assert known is not None
            assert known.state == (DONE if scene.accounts(PATIENT) == wanted else FAILED)
            if known.state == DONE:
                assert scene.accounts_of(keys[1:]) == {wanted}
        assert started or scene.accounts(PATIENT) == former
        assert_whole(scene, keys, former, wanted)
        assert scene.set(PATIENT, *wanted, propagate=True) == 4
        if not failing.struck:
            break
    assert at > 3


@pytest.mark.parametrize("step", ["plan", "work", "finish"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_task_that_dies_is_run_again(scene: Scene, step: str, after: bool) -> None:
    """Lambda and Step Functions deliver a task again; whatever its first delivery did counts once."""
    keys = members(scene)
    machine = Machine(scene.store)
    run, struck = machine.steps[step], [True]

    def dies_once(store: Store, given: dict[str, Any]) -> dict[str, Any]:
        if faults:
            failing: Any = Failing(store.table.client, faults.pop(), unreachable(), after)
            try:
                return run(Store(failing, store.s3, store.settings), given)
            finally:
                struck[0] = failing.struck
        return run(store, given)

    machine.steps[step] = dies_once
    for at in count():
        faults = [at]
        wanted = ((A,), (B,))[at % 2]
        job = scene.set(PATIENT, *wanted, propagate=True, background=machine.background())
        machine.join(job)
        known = scene.store.jobs.read(job)
        assert known is not None
        assert (known.state, known.updated) == (DONE, 4)
        assert scene.accounts_of(keys[1:]) == {wanted}
        assert_whole(scene, keys, wanted, wanted)
        if not struck[0]:
            break
    assert at > 0


@pytest.mark.parametrize("asked", [0, 2])
def test_a_late_writer_inherits_what_is_passed_on_now_whoever_writes_beside_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """A throttled table: a propagation gave up waiting for the writer. Another sets the accounts of what it made, and keeps what it inherited."""
    monkeypatch.setattr(pre_commit, "_LATE", -1.0)
    for calls in count():
        key = f"Observation/{calls}-{asked}"
        scene.set(PATIENT, A, propagate=True)
        writer = Writer(scene.store, partial(put, scene, key))
        for _ in range(calls):
            writer.step()
        if made := scene.store.read(key):
            writer.finish()
            break
        scene.set(PATIENT, B, propagate=True)
        while scene.store.read(key) is None:
            writer.step()
        over = not all(writer.step() for _ in range(asked))
        scene.set(key, C)
        writer.finish()
        assert writer.error is None
        assert set(scene.accounts(key)) == {B, C}, (calls, over)
    assert made
    assert calls > 3


def put(scene: Scene, key: str, store: Store) -> None:
    own = copy(scene)
    own.store = store
    own.put(key, subject={"reference": PATIENT})
