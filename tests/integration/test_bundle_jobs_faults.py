"""Bundles in the background whose worker dies anywhere, or that are delivered twice: done once, and the job says so."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from bulkhead import bundles
from bulkhead.access.policy import EVERYBODY
from bulkhead.bundles import batch
from bulkhead.bundles.committing import commit
from bulkhead.bundles.context import REPRESENTATION, Journal
from bulkhead.errors import BulkheadError
from bulkhead.jobs import polling
from bulkhead.jobs.bundles import answers, processing, submission
from bulkhead.jobs.bundles.orders import Order
from bulkhead.jobs.lifecycle import Background
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.jobs import COMMITTED, DONE, Job
from tests.support.bundle_samples import Reads, _entry, bundle, create, get, observation, patient, statuses, update
from tests.support.faults import Failing, Killed, killed, unreachable
from tests.support.scene import lost

Json = dict[str, Any]
BASE = "https://server.example/fhir/R4"


def entries(n: int, observations: int) -> list[Json]:
    """An update, a patch that would show if it were made twice, and creates: about Patient/p<n> and Patient/q<n>, which are there."""
    operations = [{"op": "add", "path": "/name/-", "value": {"family": "Added"}}]
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return [
        update(patient(id=f"p{n}", active=True)),
        _entry({"method": "PATCH", "url": f"Patient/q{n}"}, patch),
        *(create(observation(f"Patient/p{n}")) for _ in range(observations)),
    ]


def prepared(store: Store, n: int) -> None:
    for name in ("p", "q"):
        resource = patient(id=f"{name}{n}", name=[{"family": "First"}])
        bundles.process(bundle(update(resource)), Edge(store).context(ORDER, None))


class Edge:
    """The edge of a store whose bundles read by id only, and that has no audit trail."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def context(self, order: Order, journal: Journal | None) -> bundles.Context:
        store = self._store
        return bundles.Context(
            Session.of(store, EVERYBODY), BASE, Reads(store), store.decode, lambda head: None, order.returns, journal
        )

    def represent(self, head: Head) -> Json:
        """A version as it is stored."""
        return self._store.decode(head)

    def answered(self, given: Json, answer: Json) -> None:
        """Nothing is recorded here."""

    def refused(self, error: BulkheadError, sent: Callable[[], Json]) -> None:
        """Nothing is recorded here."""


ORDER = Order(EVERYBODY, BASE, REPRESENTATION, True)


def submitted(store: Store, body: Json) -> str:
    return submission.submit(store, ORDER, body, background=Background(lost))


def deliver(store: Store, job: str) -> None:
    processing.process(store, job, Edge(store))


def item(store: Store, job: str) -> Job:
    found = store.jobs.read(job)
    assert found is not None
    return found


def assert_done_once(store: Store, job: str, n: int, observations: int, kind: str) -> None:
    """Everything stands, once; the job is done, and its answer is true of every entry."""
    known = item(store, job)
    assert known.state == DONE
    answer = answers.kept(store, known)
    assert answer["type"] == f"{kind}-response"
    contents = answer["entry"][: observations + 2]
    assert statuses(contents) == ["200", "200", *["201"] * observations]
    heads = store.read_many([f"Patient/p{n}", f"Patient/q{n}"])
    assert {head.version for head in heads.values()} == {2}
    assert [each["family"] for each in store.decode(heads[f"Patient/q{n}"])["name"]] == ["First", "Added"]
    pointing = [pointer.source for pointer in store.pointing_at(f"Patient/p{n}", "Observation")]
    made = {key for key, head in store.read_many(pointing).items() if not head.deleted}
    assert len(made) == observations
    told = {content["response"]["location"].partition("/_history")[0] for content in contents}
    assert told == made | set(heads)
    for content in contents:
        key, _, version = content["response"]["location"].partition("/_history/")
        assert f"{content['resource']['resourceType']}/{content['resource']['id']}" == key
        assert store.read_version(key, int(version))


# Kind and number of observations. A large transaction has over a hundred writes, a batch of 72 three groups.
SHAPES = {
    "transaction": ("transaction", 3),
    "with reads": ("transaction", 3),
    "large transaction": ("transaction", 110),
    "batch": ("batch", 70),
}
MODES = {"killed before": (killed, False), "killed after": (killed, True), "unreachable": (unreachable, False)}
# Every call of the small ones; of the others each n-th, since dying at one call is like dying at the next.
CASES = [
    ("transaction", "killed before", 1),
    ("with reads", "killed after", 1),
    ("with reads", "unreachable", 1),
    ("large transaction", "killed before", 4),
    ("large transaction", "killed after", 9),
    ("batch", "killed before", 4),
    ("batch", "killed after", 5),
]


@pytest.mark.parametrize(("shape", "mode", "stride"), CASES)
def test_a_worker_that_dies_at_any_call_is_taken_over(store: Store, shape: str, mode: str, stride: int) -> None:
    kind, observations = SHAPES[shape]
    error, after = MODES[mode]
    client, s3 = store.table.client, store.s3
    seen_committed = 0
    for n in count(0, stride):
        prepared(store, n)
        reads = [get(f"Patient/p{n}")] if shape == "with reads" else []
        job = submitted(store, bundle(*entries(n, observations), *reads, kind=kind))
        dying: Any = Failing(client, n, error(), after)
        store.table.client = dying
        store._s3 = Failing(s3, n, error(), after) if n < 4 else s3
        try:
            deliver(store, job)
        except (Killed, BotoCoreError, BulkheadError):
            assert dying.struck or n < 4
        store.table.client, store._s3 = client, s3
        seen_committed += item(store, job).state == COMMITTED
        deliver(store, job)
        assert_done_once(store, job, n, observations, kind)
        if reads:
            read = answers.kept(store, item(store, job))["entry"][-1]
            assert (read["response"]["status"], read["resource"]["active"]) == ("200 OK", True)
        deliver(store, job)
        assert_done_once(store, job, n, observations, kind)
        if not dying.struck:
            break
    assert n >= 8, "too few faults struck"
    # A transaction that shows resources is over only once its audit trail has them.
    assert bool(seen_committed) is (shape != "batch")


@pytest.mark.parametrize("shape", ["transaction", "large transaction"])
def test_of_two_deliveries_at_once_the_later_one_commits(
    store: Store, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has done everything but its commit when the second begins."""
    kind, observations = SHAPES[shape]
    prepared(store, 0)
    job = submitted(store, bundle(*entries(0, observations), kind=kind))
    keep, deliveries = answers.keep, [0]

    def overtaken(*arguments: Any, **named: Any) -> tuple[str, int]:
        deliveries[0] += 1
        if deliveries[0] == 1:
            deliver(store, job)
        return keep(*arguments, **named)

    monkeypatch.setattr(answers, "keep", overtaken)
    deliver(store, job)
    assert deliveries[0] >= 2
    assert_done_once(store, job, 0, observations, kind)
    assert item(store, job).attempt == 2


@pytest.mark.parametrize("group", [1, 2])
def test_of_a_batch_delivered_twice_at_once_each_entry_is_done_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    """The first delivery is about to commit its first or second group when the other begins, and does all the rest."""
    prepared(store, 0)
    job = submitted(store, bundle(*entries(0, 70), kind="batch"))
    calls = [0]

    def overtaken(*arguments: Any, **named: Any) -> None:
        calls[0] += 1
        if calls[0] == group:
            deliver(store, job)
            assert_done_once(store, job, 0, 70, "batch")
        commit(*arguments, **named)

    monkeypatch.setattr(batch, "GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(batch, "commit", overtaken)
    deliver(store, job)
    assert calls[0] > 3
    assert_done_once(store, job, 0, 70, "batch")


def test_a_dead_large_transaction_is_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds resources until its lease ends, a minute later, for everybody but the job's next delivery."""
    prepared(store, 0)
    job = submitted(store, bundle(*entries(0, 110)))
    keep = answers.keep

    def dies(*arguments: Any, **named: Any) -> tuple[str, int]:
        raise Killed

    monkeypatch.setattr(answers, "keep", dies)
    with pytest.raises(Killed):
        deliver(store, job)
    monkeypatch.setattr(answers, "keep", keep)
    held = item(store, job).transaction
    assert held in str(store.table.get(("Patient/p0", "#")))
    deliver(store, job)
    assert_done_once(store, job, 0, 110, "transaction")
    assert held not in str(store.table.get(("Patient/p0", "#")))


@pytest.mark.parametrize("size", [3, 110])
def test_a_job_that_was_given_up_is_never_committed(store: Store, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A worker that hangs until everybody thinks it dead."""
    prepared(store, 0)
    job = submitted(store, bundle(*entries(0, size)))
    keep = answers.keep

    def late(*arguments: Any, **named: Any) -> tuple[str, int]:
        processing.fail(store, job, "States.Timeout")
        return keep(*arguments, **named)

    monkeypatch.setattr(answers, "keep", late)
    deliver(store, job)
    found = polling.status(store, EVERYBODY.owner, job, alive=lambda job: False).bundle
    assert found is not None
    assert found["entry"][0]["response"]["status"].startswith("503")
    assert store.read_many(["Patient/p0", "Patient/q0"])["Patient/p0"].version == 1
    pointing = [pointer.source for pointer in store.pointing_at("Patient/p0", "Observation")]
    assert store.read_many(pointing) == {}
