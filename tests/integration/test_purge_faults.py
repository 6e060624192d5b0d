"""`$purge` that dies at any of its DynamoDB calls, and beside writers: nothing is torn, and nothing of what was erased comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.access.policy import EVERYBODY
from bulkhead.errors import BulkheadError, Conflict
from bulkhead.jobs import purging
from bulkhead.jobs.purging import Order
from bulkhead.session import Session
from bulkhead.store import Store, heads, keys
from tests.integration.test_purge import MARK, PATIENT, traces
from tests.support.faults import Failing, Killed, killed, unreachable
from tests.support.memory_s3 import MemoryS3
from tests.support.scene import A, Scene
from tests.support.stepping import Writer

WRITTEN = "zxqvwritten"
OBSERVATION = "Observation/o"


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_SECOND_LOOKS", (0.001,))
    monkeypatch.setattr("bulkhead.compartments.propagation._SECOND_LOOKS", (0.001,))


@pytest.fixture
def make_scene(new_store: Any) -> Callable[[], Scene]:
    def make() -> Scene:
        made = new_store(body_limit=600)
        return Scene(Store(made.table.client, MemoryS3(), made.settings))

    return make


def much() -> str:
    """A text that is too large for the table, also once it is compressed."""
    return "".join(uuid4().hex for _ in range(60))


def record(scene: Scene, patient: str = PATIENT) -> list[str]:
    """A patient, an observation in two versions that is too large for the table, a Binary that follows it."""
    number = patient.removeprefix(PATIENT)
    identifier = [{"system": "urn:s", "value": f"{MARK}{number}"}]
    scene.put(patient, name=[{"text": MARK}], identifier=identifier)
    key = f"{OBSERVATION}{number}"
    for n in range(2):
        scene.put(key, subject={"reference": patient}, note=[{"text": f"{MARK}{n} {much()}"}], code={"text": MARK})
    assert heads.name_in_s3(scene.head(key).body)
    binary = f"Binary/b{number}"
    scene.put(binary, contentType=f"text/{MARK}", securityContext={"reference": key}, data="AAAA")
    return [patient, key, binary]


def purge(store: Store, patient: str = PATIENT) -> int:
    return purging.run(Session.of(store, EVERYBODY), Order(patient, True)).erased


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [killed, unreachable])
def test_a_purge_that_dies_anywhere_is_finished_by_another(make_scene: Any, fault: Any, after: bool) -> None:
    scene = make_scene()
    client = scene.store.table.client
    for at in count():
        patient = f"{PATIENT}{at}"
        keys = record(scene, patient)
        failing: Any = Failing(client, at, fault(), after)
        scene.store.table.client = failing
        try:
            purge(scene.store, patient)
        except (Killed, BotoCoreError, BulkheadError):
            assert failing.struck
        scene.store.table.client = client
        if scene.store.read(patient):
            assert all(scene.store.read(key) for key in keys)
        purge(scene.store, patient)
        assert traces(scene.store, MARK) == []
        assert scene.store.gravestones(keys).keys() == set(keys)
        assert not any(stone.open for stone in scene.store.gravestones(keys).values())
        if not failing.struck:
            break
    assert at > 20


def update(store: Store) -> None:
    scene = Scene.__new__(Scene)
    scene.store = store
    text = f"{WRITTEN} {much()}"
    identifier = [{"system": "urn:s", "value": WRITTEN}]
    scene.put(OBSERVATION, subject={"reference": PATIENT}, note=[{"text": text}], identifier=identifier)


def share(store: Store) -> None:
    scene = Scene.__new__(Scene)
    scene.store = store
    scene.set(PATIENT, A, propagate=True)


def ended(writer: Writer) -> None:
    """It did what it had to, or was told that it could not."""
    assert writer.error is None or isinstance(writer.error, BulkheadError), writer.error


@pytest.mark.parametrize("work", [update, share])
def test_a_writer_that_is_overtaken_leaves_nothing(make_scene: Any, work: Callable[[Store], None]) -> None:
    """It stands before each of its calls in turn while the purge runs, from its beginning to its end."""
    refused = 0
    for calls in count():
        scene = make_scene()
        keys = record(scene)
        writer = Writer(scene.store, work)
        over = not all(writer.step() for _ in range(calls))
        purge(scene.store)
        writer.finish()
        ended(writer)
        assert traces(scene.store, MARK) == traces(scene.store, WRITTEN) == []
        assert scene.store.read_many(keys) == {}
        if over:
            break
        refused += isinstance(writer.error, Conflict)
    assert calls > 4
    assert refused or work is share


@pytest.mark.parametrize("work", [update, share])
def test_a_purge_that_is_overtaken_erases_what_came_before(make_scene: Any, work: Callable[[Store], None]) -> None:
    for calls in count(step=2):
        scene = make_scene()
        keys = record(scene)
        purger = Writer(scene.store, purge)
        over = not all(purger.step() for _ in range(calls))
        try:
            work(scene.store)
        except BulkheadError:
            assert scene.store.read(PATIENT) is None
        purger.finish()
        assert purger.error is None
        assert traces(scene.store, MARK) == traces(scene.store, WRITTEN) == []
        assert scene.store.read_many(keys) == {}
        if over:
            break
    assert calls > 20


def move(store: Store) -> None:
    """The observation is another patient's from now on."""
    scene = Scene.__new__(Scene)
    scene.store = store
    scene.put(OBSERVATION, subject={"reference": "Patient/p"}, note=[{"text": WRITTEN}])


def follow_another(store: Store) -> None:
    """The Binary follows another patient's data from now on."""
    scene = Scene.__new__(Scene)
    scene.store = store
    scene.put("Binary/b", contentType=f"text/{WRITTEN}", securityContext={"reference": "Patient/p"}, data="AAAA")


@pytest.mark.parametrize(("work", "key"), [(move, OBSERVATION), (follow_another, "Binary/b")])
def test_what_becomes_anothers_while_a_purge_runs_stays(
    make_scene: Any, work: Callable[[Store], None], key: str
) -> None:
    """Whoever wrote it was told that it is there: whatever the purge had found out before."""
    stayed = 0
    for calls in count():
        scene = make_scene()
        record(scene)
        purger = Writer(scene.store, purge)
        over = not all(purger.step() for _ in range(calls))
        try:
            work(scene.store)
            written = True
        except BulkheadError:
            written = False
        purger.finish()
        assert purger.error is None
        head = scene.store.read(key)
        assert (head is not None) == written, calls
        stayed += head is not None and head.version > 1
        if over:
            break
    assert stayed > 4


def test_what_a_dead_writer_leaves_goes_when_the_id_is_free(make_scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene()
    record(scene)
    writer = Writer(scene.store, update)
    # It has read what it changes.
    writer.step()
    writer.step()
    purge(scene.store)
    while writer.step() and not traces(scene.store, WRITTEN):
        pass
    writer.kill(killed())
    assert traces(scene.store, WRITTEN)
    monkeypatch.setattr("bulkhead.fhir.dates.now", lambda: "2999-01-01T00:00:00.000Z")
    scene.store.sweep()
    assert [place for place in traces(scene.store, WRITTEN) if place.startswith(OBSERVATION)] == []
    assert scene.store.gravestones([OBSERVATION, PATIENT]) == {}


def put_its_body(scene: Scene, *, further: int = 0) -> Writer:
    """A writer that has put a pointer to its new body, and has made so many calls more."""

    def pointers() -> int:
        return len(list(scene.store.table.query(OBSERVATION, keys.BODY, keys.BODY)))

    before = pointers()
    writer = Writer(scene.store, update, objects=True)
    while pointers() == before:
        assert writer.step()
    for _ in range(further):
        writer.step()
    return writer


def test_a_body_that_no_version_has_goes_with_the_others(make_scene: Any) -> None:
    """Its writer died before the commit."""
    scene = make_scene()
    record(scene)
    put_its_body(scene, further=1).kill(killed())
    assert traces(scene.store, WRITTEN)
    purge(scene.store)
    assert traces(scene.store, WRITTEN) == traces(scene.store, MARK) == []


@pytest.mark.parametrize("further", range(4))
def test_a_body_that_is_put_after_the_purge_goes_when_the_id_is_free(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch, further: int
) -> None:
    """Its writer has put the pointer before, and dies."""
    scene = make_scene()
    record(scene)
    writer = put_its_body(scene)
    purge(scene.store)
    for _ in range(further):
        writer.step()
    writer.kill(killed())
    assert bool(traces(scene.store, WRITTEN)) == (further > 0)
    monkeypatch.setattr("bulkhead.fhir.dates.now", lambda: "2999-01-01T00:00:00.000Z")
    scene.store.sweep()
    assert not [place for place in traces(scene.store, WRITTEN) if place.startswith(("bodies/", OBSERVATION))]
    assert not list(scene.store.table.query(OBSERVATION))


def collect(store: Store) -> None:
    """As the integrity check, which takes every writer for dead."""
    store._bodies.collect(OBSERVATION, before=9e9, repair=True)


def test_the_integrity_check_and_a_purge_leave_nothing_to_each_other(make_scene: Any) -> None:
    """The check stands before each of its calls in turn, with the body of a writer that died, while the purge runs."""
    for calls in count():
        scene = make_scene()
        record(scene)
        put_its_body(scene, further=1).kill(killed())
        collector = Writer(scene.store, collect, objects=True)
        over = not all(collector.step() for _ in range(calls))
        purge(scene.store)
        collector.finish()
        assert collector.error is None
        assert traces(scene.store, WRITTEN) == traces(scene.store, MARK) == []
        if over:
            break
    assert calls > 4


class ReadOnly(MemoryS3):
    """As functions on AWS see the bucket that may put objects, and not remove them."""

    def list_object_versions(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectVersions")


def test_who_may_not_remove_objects_is_told_and_leaves_it_to_the_sweeper(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene()
    record(scene)
    writer = put_its_body(scene)
    purge(scene.store)
    bucket = ReadOnly()
    bucket.versions = scene.store.s3.versions
    mine = Store(scene.store.table.client, bucket, scene.store.settings)
    with pytest.raises(Conflict):
        update(mine)
    writer.kill(killed())
    monkeypatch.setattr("bulkhead.fhir.dates.now", lambda: "2999-01-01T00:00:00.000Z")
    scene.store.sweep()
    assert not [place for place in traces(scene.store, WRITTEN) if place.startswith(("bodies/", OBSERVATION))]


def sweep(store: Store) -> None:
    store.sweep()


@pytest.mark.parametrize("other", [update, sweep, collect])
def test_who_frees_an_id_takes_nothing_from_who_writes_it(make_scene: Any, other: Callable[[Store], None]) -> None:
    """The id of what was purged is free again: another stands before each of its calls in turn while the resource is made anew."""
    scene = make_scene()
    scene.store.settings = replace(scene.store.settings, purge_rest=0)
    for calls in count():
        record(scene)
        purge(scene.store)
        scene.put(PATIENT, name=[{"text": MARK}])
        slow = Writer(scene.store, other)
        over = not all(slow.step() for _ in range(calls))
        with suppress(Conflict):
            update(scene.store)
        slow.finish()
        ended(slow)
        update(scene.store)
        report = scene.store.check_integrity(repair=False, patience=None)
        assert (report.missing, report.damaged) == (0, 0), calls
        versions = scene.store.versions(OBSERVATION, None, 9)
        assert [one.version for one in versions] == list(range(len(versions), 0, -1)), calls
        assert all(scene.store.decode(one)["note"][0]["text"].startswith(WRITTEN) for one in versions)
        if over:
            break
    assert calls > 1
