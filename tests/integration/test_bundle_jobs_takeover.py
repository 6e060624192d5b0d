"""Large transactions in the background whose worker dies, or is only slow: the next delivery goes on with what that one staged."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.jobs import purging
from bulkhead.jobs.bundles import answers
from bulkhead.session import Session
from bulkhead.store import Store, commits, keys, large, transactions
from bulkhead.store.capacity import Meter, metered
from bulkhead.store.jobs import DONE, FAILED, RUNNING
from bulkhead.store.table import Table
from bulkhead.store.takeover import FreshIds
from tests.integration.test_bundle_jobs_faults import deliver, item, submitted
from tests.support.bundle_samples import (
    SYSTEM,
    _entry,
    bundle,
    create,
    observation,
    patient,
    post,
    statuses,
    update,
)
from tests.support.faults import Failing, Killed, killed
from tests.support.scene import A, Scene

Json = dict[str, Any]
P, Q = "Patient/p", "Patient/q"
OBSERVATIONS = 5


@pytest.fixture(autouse=True)
def _jobs_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction of this module has all the kinds of calls of one that is large by its size, and few of each."""
    monkeypatch.setattr(commits, "_is_large", lambda writes, others: len(writes) > 4)


def reference(text: str) -> Json:
    return {"reference": text}


def a_list(**content: Any) -> Json:
    code = {"coding": [{"code": "list"}]}
    return {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": code,
        "subject": reference(P),
        **content,
    }


def named(**content: Any) -> Json:
    return patient(id="p", name=[{"family": "First"}], **content)


def prepared(store: Store) -> None:
    given = [named(), patient(id="q", name=[{"family": "First"}])]
    organization = {"resourceType": "Organization", "id": "a", "identifier": [{"system": SYSTEM, "value": "a"}]}
    post(store, *map(update, (*given, organization)))


def the_bundle() -> Json:
    """All the kinds of entries that leave something staged: under fresh ids, under others, under conditions of two kinds, and references."""
    operations = [{"op": "add", "path": "/name/-", "value": {"family": "Added"}}]
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    patch["data"] = base64.b64encode(json.dumps(operations).encode()).decode()
    practitioner = {"resourceType": "Practitioner", "identifier": [{"system": SYSTEM, "value": "doctor"}]}
    performer = {"performer": [reference("urn:uuid:doctor"), reference(f"Organization?identifier={SYSTEM}|a")]}
    return bundle(
        update(patient(id="q", name=[{"family": "First"}], active=True)),
        _entry({"method": "PATCH", "url": P}, patch),
        create(practitioner, "urn:uuid:doctor", f"identifier={SYSTEM}|doctor"),
        create(a_list(), if_none_exist="subject=Patient/p&code=list"),
        update(patient(id="new")),
        *(
            create(observation(P, identifier=[{"system": SYSTEM, "value": f"o{n}"}], **performer))
            for n in range(OBSERVATIONS)
        ),
    )


def beside(store: Store) -> Store:
    """Another process's view of the same table."""
    return Store(store.table.client, store.s3, store.settings)


def assert_done_once(store: Store, job: str, *, version: int = 2) -> list[str]:
    """Everything stands, once, and every entry of the index with it. Returns the Observations; `version`: that of Patient/p."""
    known = item(store, job)
    assert known.state == DONE, known.error
    contents = answers.kept(store, known)["entry"]
    assert statuses(contents) == ["200", "200", *["201"] * (3 + OBSERVATIONS)]
    told = [content["response"]["location"].partition("/_history/")[0] for content in contents]
    heads = store.read_many(told)
    assert heads.keys() == set(told)
    assert len(told) == len(contents)
    assert heads[P].version == version
    assert [name["family"] for name in store.decode(heads[P])["name"]].count("Added") == 1
    made = {hint.source for hint in store.pointing_at(P, "Observation")}
    assert {key for key, head in store.read_many(made).items() if not head.deleted} == set(told[5:])
    doctors = {hint.key for hint in store.by_value("Practitioner", "identifier", "doctor")}
    assert set(store.read_many(doctors)) == {told[2]}
    report = store.check_integrity(repair=False, patience=None)
    assert (report.missing, report.damaged, report.wide) == (0, 0, 0)
    return told[5:]


def items(store: Store) -> list[Json]:
    pages = store.table.client.get_paginator("scan").paginate(TableName=store.table.name, ConsistentRead=True)
    return [found for page in pages for found in page["Items"]]


def assert_nothing_is_left(store: Store) -> None:
    """No litter, neither of transactions nor in the index: but what a worker leaves there that dies after its commit, as any writer may."""
    report = store.check_integrity(repair=False, patience=None)
    assert (report.missing, report.damaged, report.wide, report.orphans) == (0, 0, 0, 0)
    sorts = [(found["pk"]["S"], found["sk"]["S"]) for found in items(store)]
    assert not [key for key in sorts if key[1].startswith(("s#", "k#"))]
    assert not [found for found in items(store) if "txn" in found]
    assert not list(transactions.open_transactions(store.table))


def first_delivery(store: Store, job: str, at: int, *, after: bool = False) -> Any:
    """One that dies at its call number `at`; the client, which counted."""
    own = beside(store)
    dying: Any = Failing(store.table.client, at, killed(), after)
    own.table.client = dying
    with suppress(Killed):
        deliver(own, job)
    return dying


@pytest.fixture(scope="module")
def calls(make_store: Any) -> int:
    """How many calls a delivery makes that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "_is_large", lambda writes, others: len(writes) > 4)
        store = make_store()
        prepared(store)
        made: int = first_delivery(store, submitted(store, the_bundle()), -1).calls
    return made


@pytest.mark.parametrize(("after", "first", "stride"), [(False, 15, 5), (True, 16, 9)])
def test_a_worker_that_dies_at_any_call_is_gone_on_with(
    new_store: Any, calls: int, after: bool, first: int, stride: int
) -> None:
    """From the beginning of its transaction on: before that, nothing is there to go on with."""
    for at in range(first, calls, stride):
        store = new_store(transaction_lease=-1000)
        prepared(store)
        job = submitted(store, the_bundle())
        first_delivery(store, job, at, after=after)
        deliver(store, job)
        assert_done_once(store, job)
        # As the sweeper does: a worker that dies after the commit leaves this to it.
        store.sweep()
        assert_nothing_is_left(store)


def test_workers_die_one_after_the_other(new_store: Any, calls: int) -> None:
    for at in range(17, calls, 12):
        store = new_store(transaction_lease=-1000)
        prepared(store)
        job = submitted(store, the_bundle())
        for turn in (at, at + 2, at + 7):
            first_delivery(store, job, turn)
        deliver(store, job)
        assert_done_once(store, job)
        store.sweep()
        assert_nothing_is_left(store)


def test_a_worker_that_dies_for_good_is_swept_away(new_store: Any) -> None:
    """Deliveries take over from each other, the first of them with all of it marked; then nobody comes: all that they staged goes."""
    for at in (17, 21, 25):
        store = new_store(transaction_lease=-1000)
        prepared(store)
        before = {(found["pk"]["S"], found["sk"]["S"]) for found in items(store)}
        job = submitted(store, the_bundle())
        in_the_middle(store, job)
        for turn in (at, at + 2):
            first_delivery(store, job, turn)
        assert item(store, job).state == RUNNING
        store.sweep()
        lists = ("txn#", "job", "months", "date-months", "claim#", "layout")
        left = {(found["pk"]["S"], found["sk"]["S"]) for found in items(store)} - before
        of_resources = {key for key in left if not key[0].startswith(lists) and not key[1].startswith(("v#", "c#"))}
        # Entries under ids that others may use, too, and an item that holds no reservation any more: the integrity check takes these away.
        of_resources = {key for key in of_resources if not keys.is_reservation(key)}
        assert {key[0] for key in of_resources} <= {P, Q, "Patient/new"}
        assert not [found for found in items(store) if "txn" in found]
        assert store.read_many([P])[P].version == 1


class Pausing:
    """A client that calls `pause` once, before its call number `at`."""

    def __init__(self, client: Any, at: int, pause: Callable[[], None]) -> None:
        self._client, self._at, self._pause = client, at, pause
        self._lock, self._calls = threading.Lock(), 0
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def counted(**arguments: Any) -> Any:
            with self._lock:
                number, self._calls = self._calls, self._calls + 1
            if number == self._at:
                self._pause()
            return call(**arguments)

        return counted


def pausing(store: Store, at: int, pause: Callable[[], None]) -> Store:
    own = beside(store)
    client: Any = Pausing(store.table.client, at, pause)
    own.table.client = client
    return own


def move(store: Store, resources_made: list[str]) -> None:
    """What clients do with new resources: they point elsewhere, and then back, and by another parameter as well."""
    session = Session.of(store, EVERYBODY)
    for key, head in store.read_many(resources_made).items():
        made = {**store.decode(head), "id": head.id}
        for changed in ({"subject": reference(Q)}, {"focus": [reference(P)]}):
            resources.update(session, {**made, **changed}, key, if_match=None)


def test_a_slow_worker_does_no_harm(new_store: Any, calls: int) -> None:
    """It goes on when another has done all of it, and clients have changed what that one made."""
    for at in range(17, calls, 6):
        store = new_store()
        prepared(store)
        job = submitted(store, the_bundle())

        made: list[str] = []

        def overtake(store: Store = store, job: str = job, made: list[str] = made) -> None:
            deliver(beside(store), job)
            made += assert_done_once(store, job)
            move(store, made)

        deliver(pausing(store, at, overtake), job)
        assert len(made) == OBSERVATIONS
        assert [head.version for head in store.read_many(made).values()] == [3] * OBSERVATIONS
        assert set(made) <= {hint.source for hint in store.pointing_at(P, "Observation") if "focus" in hint.via}
        assert item(store, job).state == DONE
        report = store.check_integrity(repair=False, patience=None)
        assert (report.missing, report.damaged) == (0, 0)


def interleaved(store: Store, job: str, first: int, second: int) -> None:
    """Two deliveries: the first waits at a call until the second has come to its own, which then waits until the first has ended."""
    reached, over = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        over.wait(30)

    def run() -> None:
        deliver(pausing(store, second, wait), job)
        reached.set()

    thread = threading.Thread(target=run)

    def start() -> None:
        thread.start()
        reached.wait(30)

    deliver(pausing(store, first, start), job)
    over.set()
    if thread.ident:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(("first", "second"), [(16, 24), (22, 30), (27, 17)])
def test_two_workers_take_turns(store: Store, first: int, second: int) -> None:
    prepared(store)
    job = submitted(store, the_bundle())
    interleaved(store, job, first, second)
    # One of the two may have found that the other is at work, and have left it to a third.
    deliver(store, job)
    assert_done_once(store, job)


def in_the_middle(store: Store, job: str) -> None:
    """A delivery that dies with all of it staged and marked."""
    own = beside(store)

    def dies(*arguments: Any, **named: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(answers, "keep", dies)
        deliver(own, job)
    assert item(store, job).transaction


def test_another_writer_aborts_a_dead_one_and_the_next_delivery_begins_anew(new_store: Any) -> None:
    store = new_store(transaction_lease=-1000)
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    former = item(store, job).transaction
    resources.update(Session.of(store, EVERYBODY), named(gender="other"), P, if_match=None)
    assert transactions.state_now(store.table, former)[0] == transactions.ABORTED
    deliver(store, job)
    made = assert_done_once(store, job, version=3)
    store.sweep()
    assert_nothing_is_left(store)
    begun_first = set(transactions.members(store.table, former)[0])
    assert not begun_first.intersection(f"+{key}" for key in made)


def test_the_sweeper_aborts_a_dead_one_as_the_next_delivery_is_about_to_take_it_over(
    new_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(transaction_lease=-1000)
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    former = item(store, job).transaction
    take_over = transactions.take_over

    def swept(table: Table, transaction: str) -> Json:
        if transaction == former:
            beside(store).sweep()
        return take_over(table, transaction)

    # The delivery has renewed the lease; of one whose process hung longer than that, it ends.
    monkeypatch.setattr(transactions, "renew", lambda table, transaction, lease: None)
    monkeypatch.setattr(transactions, "take_over", swept)
    deliver(store, job)
    assert transactions.state_now(store.table, former)[0] == transactions.ABORTED
    assert_done_once(store, job)
    store.sweep()
    assert_nothing_is_left(store)


def test_the_sweeper_leaves_the_fresh_ids_alone_that_another_has_taken_over(store: Store) -> None:
    """It found the former transaction among the open ones before, and finishes it at any moment of the second delivery."""
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    former = item(store, job).transaction
    finished = []

    def sweep() -> None:
        large.finish(store.table, former)
        finished.append(transactions.state_now(store.table, former)[0])

    deliver(pausing(store, 25, sweep), job)
    assert finished == [transactions.TAKEN_OVER]
    assert_done_once(store, job)
    store.sweep()
    assert_nothing_is_left(store)


@pytest.mark.parametrize("step", ["read", "stage", "put_heads"])
def test_another_writer_comes_between(store: Store, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The marks of the dead one hold nothing any more, once the second has taken it over: the writer is first, and the second reads anew."""
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    taken, times = getattr(FreshIds, step), [0]

    def after_another(ids: FreshIds, *arguments: Any) -> None:
        times[0] += 1
        if times[0] == 1:
            resources.update(Session.of(beside(store), EVERYBODY), named(gender="other"), P, if_match=None)
        taken(ids, *arguments)

    monkeypatch.setattr(FreshIds, step, after_another)
    deliver(store, job)
    assert times[0] == 2
    assert_done_once(store, job, version=3)
    assert store.decode(store.read_many([P])[P])["gender"] == "other"
    store.sweep()
    assert_nothing_is_left(store)


@pytest.mark.parametrize("step", ["stage", "put_heads"])
def test_accounts_are_those_of_the_moment(store: Store, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A `$set-accounts` between the two deliveries, or in the middle of the second, reaches all that is created."""
    scene = Scene(store)
    made = [create(observation(P)) for _ in range(OBSERVATIONS)]
    job = submitted(store, bundle(*made))
    in_the_middle(store, job)
    taken = getattr(FreshIds, step)
    done: list[Any] = []

    def after_it(ids: FreshIds, *arguments: Any) -> None:
        if not done:
            done.append(scene.set(P, A, propagate=step != "put_heads"))
        taken(ids, *arguments)

    monkeypatch.setattr(FreshIds, step, after_it)
    deliver(beside(store), job)
    assert done
    created = [hint.source for hint in store.pointing_at(P, "Observation")]
    if step == "put_heads":
        # The writer had read the accounts before: the propagation finds what it has staged, and waits for it.
        scene.set(P, A, propagate=True)
    assert len(store.read_many(created)) == OBSERVATIONS
    assert scene.accounts_of(created) == {(A,)}
    assert store.check_integrity(repair=False, patience=None).missing == 0


def test_what_the_second_delivery_has_no_use_for_goes(store: Store) -> None:
    """Others have created what the first was about to create, and have moved what its reference meant."""
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    first = {found["pk"]["S"] for found in items(store) if "txn" in found}
    moved = {"resourceType": "Organization", "id": "b", "identifier": [{"system": SYSTEM, "value": "a"}]}
    organization = {"resourceType": "Organization", "id": "a", "name": "A"}
    post(store, update(organization), update(moved), update(a_list(id="theirs")))
    deliver(store, job)
    known = answers.kept(store, item(store, job))["entry"]
    assert statuses(known) == ["200", "200", "201", "200", *["201"] * (1 + OBSERVATIONS)]
    assert known[3]["response"]["location"].startswith("List/theirs/")
    told = {content["response"]["location"].partition("/_history/")[0] for content in known}
    assert [key for key in first - told if key.startswith("List/")]
    assert store.read_many(first - told) == {}
    assert {key for key in told if key.startswith("Observation/")} <= first
    performers = [hint.source for hint in store.pointing_at("Organization/b", "Observation")]
    assert len(store.read_many(performers)) == OBSERVATIONS
    assert list(store.pointing_at("Organization/a", "Observation")) == []
    store.sweep()
    assert_nothing_is_left(store)


def test_what_the_integrity_check_has_noted_is_staged_anew(store: Store) -> None:
    prepared(store)
    job = submitted(store, the_bundle())
    first_delivery(store, job, 24)
    assert store.check_integrity(repair=True, patience=10**6).noted
    deliver(store, job)
    assert not [found for found in items(store) if "noted" in found]
    assert_done_once(store, job)


def test_large_bodies_are_those_of_the_last_delivery(new_store: Any) -> None:
    """Each delivery writes its own: what collects bodies takes away those of the dead ones, and no others."""
    store = new_store(body_limit=1)
    prepared(store)
    job = submitted(store, the_bundle())
    in_the_middle(store, job)
    deliver(store, job)
    store.sweep()
    for key in assert_done_once(store, job):
        collected = store._bodies.collect(key, before=time.time() + 1, repair=True)
        assert (collected.taken, collected.left) == (1, 0)
        head = store.read(key)
        assert head
        assert store.decode(head)["resourceType"] == "Observation"


def test_a_purge_between_the_two_is_final(store: Store) -> None:
    """The patient is gone: the second delivery fails as one that came after it does, and leaves nothing behind."""
    prepared(store)
    job = submitted(store, the_bundle())
    # All is staged, and nothing is marked: that would make the purge wait for the lease to end.
    first_delivery(store, job, 24)
    assert not [found for found in items(store) if "made" in found]
    purging.run(Session.of(store, EVERYBODY), purging.Order(P, compartment=True), wait=lambda seconds: None)
    deliver(store, job)
    assert item(store, job).state == FAILED
    store.sweep()
    assert [hint.source for hint in store.pointing_at(P, "Observation")] == []
    assert P not in {found["pk"]["S"] for found in items(store) if "body" in found}
    assert not [found for found in items(store) if "o0" in found["pk"]["S"]]
    assert_nothing_is_left(store)


def spent(store: Store, job: str) -> Meter:
    with metered(store.table.client) as meter:
        deliver(store, job)
    return meter


def test_an_undisturbed_transaction_costs_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many requests and units as one that nobody can go on with, which has BatchWriteItem for the same items."""
    prepared(store)
    entries = [create(observation(P, identifier=[{"system": SYSTEM, "value": f"o{n}"}])) for n in range(30)]
    spent(store, submitted(store, bundle(*entries)))
    meter = spent(store, submitted(store, bundle(*entries)))
    monkeypatch.setattr(Table, "put_new", lambda table, given: table.put_many(given) or set())
    other = spent(store, submitted(store, bundle(*entries)))
    assert meter.requests["BatchExecuteStatement"] > 5
    assert other.requests["BatchExecuteStatement"] == 0
    assert (meter.total, meter.written, meter.read) == (other.total, other.written, other.read)


@pytest.mark.parametrize("part", [0.5, 0.75])
def test_a_second_delivery_pays_only_what_is_left(store: Store, part: float) -> None:
    """Its heads it writes again: they have another time and another mark."""
    prepared(store)
    entries = [create(observation(P, identifier=[{"system": SYSTEM, "value": f"o{n}"}])) for n in range(30)]
    whole = spent(store, submitted(store, bundle(*entries)))
    job = submitted(store, bundle(*entries))
    with metered(store.table.client) as both:
        first_delivery(store, job, int(whole.total * part))
        deliver(store, job)
        store.sweep()
    assert item(store, job).state == DONE
    assert 0.95 * whole.written <= both.written < 1.35 * whole.written
