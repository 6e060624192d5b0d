"""Large bodies in S3: something leads to each, no version ever loses its own, and those that no version has go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import BulkheadError, Conflict, VersionConflict
from bulkhead.store import Store, Write, commits, heads, keys
from bulkhead.store.bodies import Collected
from functions.sweeper import handler
from tests.support import stepping
from tests.support.changes import body, change, creation, facts, note
from tests.support.faults import Failing, Killed, killed, unreachable
from tests.support.memory_s3 import MemoryS3
from tests.support.stepping import Writer

LARGE = "large"
"""Threads of this name commit whatever they write as a large transaction."""
KEY = "Observation/1"
EXAMPLES = 25
LATER = time.time() + 3600
"""Before this every pointer was made: no writer is too young to be taken for dead."""

Work = Callable[[Store], Any]
_numbers = count()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.store.throttling.time.sleep", lambda seconds: None)
    is_large = commits._is_large
    monkeypatch.setattr(
        commits, "_is_large", lambda *arguments: threading.current_thread().name == LARGE or is_large(*arguments)
    )


@pytest.fixture(scope="module")
def one_store(make_store: Any) -> Store:
    """One for all: each interleaving is about a resource of its own. All bodies are too large for it."""
    made: Store = make_store(body_limit=10)
    return Store(made.table.client, MemoryS3(), made.settings)


@pytest.fixture
def store(one_store: Store) -> Store:
    """Its bucket is empty."""
    forget(one_store)
    return one_store


def forget(store: Store) -> None:
    store.s3.versions.clear()


def objects(store: Store) -> list[str]:
    return sorted(at.removeprefix("bodies/") for at, versions in store.s3.versions.items() for _ in versions)


def pointers(store: Store, key: str) -> list[str]:
    return [keys.body_name(item["sk"]["S"]) for item in store.table.query(key, keys.BODY, keys.BODY)]


def needed(store: Store, key: str) -> list[str]:
    names = [heads.name_in_s3(version.body) for version in store.versions(key, None, 99)]
    return sorted(name for name in names if name)


def put(store: Store, key: str, text: str = "changed") -> None:
    """Create or update, as one who has read what there is."""
    head = store.read(key)
    if head is None:
        write = creation(store, key, fresh=False)
        write.body = body(store, key, text)
    else:
        write = change(store, head, facts("Patient/1", codes=("a",)), facts("Patient/1", codes=("b",)), text)
    store.commit([write])


def collect(store: Store, key: str) -> Collected:
    return store._bodies.collect(key, before=LATER, repair=True)


def collecting(key: str) -> Work:
    return lambda store: collect(store, key)


def require_whole(store: Store, *resources: str) -> None:
    """Every version can be read, and once nobody is at work the bucket has their bodies and nothing else."""
    for key in resources:
        for version in store.versions(key, None, 99):
            assert version.deleted or store.decode(version)["id"] == version.id
        collect(store, key)
        assert sorted(pointers(store, key)) == needed(store, key)
    assert objects(store) == sorted(name for key in resources for name in needed(store, key))


def create_fresh(key: str) -> Work:
    return lambda store: store.commit([creation(store, key, fresh=True)])


def create(key: str) -> Work:
    return lambda store: store.commit([creation(store, key, fresh=False)])


def update(key: str) -> Work:
    return lambda store: put(store, key, "the same content each time")


WAYS: list[tuple[Callable[[str], Work], bool]] = [(create_fresh, False), (create, False), (update, True)]
"""Each way to write, and whether there is a version before."""
ways = pytest.mark.parametrize(("way", "exists"), WAYS, ids=["create fresh", "create", "update"])
sizes = pytest.mark.parametrize("size", ["small", LARGE])


def begun(store: Store, exists: bool) -> str:
    key = f"Observation/{next(_numbers)}"
    if exists:
        put(store, key, "before")
    return key


def calls_of(store: Store, work: Work) -> list[str]:
    """The calls to DynamoDB and S3 that a piece of work makes, in order."""
    made: list[str] = []

    class Listed:
        def __init__(self, client: Any) -> None:
            self._client, self.exceptions = client, client.exceptions

        def __getattr__(self, name: str) -> Any:
            made.append(name)
            return getattr(self._client, name)

    work(Store(Listed(store.table.client), Listed(store.s3), store.settings))  # type: ignore[arg-type] # it wraps a client
    return made


def test_only_large_bodies_cost_more(new_store: Any) -> None:
    """One request to leave the pointer, one to S3, and the check in the request that commits anyway."""
    calls, units = {}, {}
    for limit in (10, 300_000):
        store = new_store(body_limit=limit)
        put(store, "Observation/0")
        with store.metered() as meter:
            calls[limit] = calls_of(store, update(KEY))
            calls[limit] += calls_of(store, update(KEY))
        units[limit] = meter.written
    small, large = calls[300_000], calls[10]
    assert small.count("put_item") == 2
    assert sorted(large) == sorted(
        [
            *("transact_write_items" if call == "put_item" else call for call in small),
            *["batch_write_item", "put_object"] * 2,
        ]
    )
    # For each: a pointer, its check, and twice the unit of the head.
    assert units[10] - units[300_000] == 2 * (1 + 2 + 1)


def test_what_is_sent_again_is_another_object(store: Store) -> None:
    key = begun(store, True)
    for _ in range(2):
        put(store, key, "the same")
    assert len(needed(store, key)) == len(set(needed(store, key))) == 3
    assert sorted(pointers(store, key)) == needed(store, key) == objects(store)


def test_those_of_one_transaction_are_put_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the others: one after another they would never come."""
    resources = [begun(store, exists=False) for _ in range(3)]
    together, put_object = threading.Barrier(3), store.s3.put_object

    def met(**arguments: Any) -> Any:
        together.wait(20)
        return put_object(**arguments)

    monkeypatch.setattr(store.s3, "put_object", met)
    store.commit([creation(store, key, fresh=True) for key in resources])
    require_whole(store, *resources)


def test_threads_that_need_the_client_at_once_make_one(one_store: Store) -> None:
    made: list[MemoryS3] = []
    together = threading.Barrier(4)

    def make() -> MemoryS3:
        made.append(MemoryS3())
        return made[-1]

    store = Store(one_store.table.client, make, one_store.settings)

    def needing(number: int) -> Any:
        together.wait(20)
        return store.s3

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(needing, range(4))) == {store.s3}
    assert made == [store.s3]


def test_where_one_of_several_fails_nothing_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = [begun(store, exists=False) for _ in range(3)]
    numbers, put_object, done = count(), store.s3.put_object, threading.Semaphore(0)

    def failing(**arguments: Any) -> None:
        if next(numbers) == 1:
            assert all(done.acquire(timeout=20) for _ in range(2))
            raise ReadTimeoutError(endpoint_url="s3")
        put_object(**arguments)
        done.release()

    monkeypatch.setattr(store.s3, "put_object", failing)
    with pytest.raises(BotoCoreError):
        store.commit([creation(store, key, fresh=True) for key in resources])
    assert not any(store.read(key) for key in resources)
    require_whole(store, *resources)


def test_a_version_that_only_changes_accounts_has_the_body_of_its_base(store: Store) -> None:
    """Also where older code wrote that, and nothing leads to it."""
    key = begun(store, True)
    store.table.put_many([], [(key, keys.body_sort(name)) for name in pointers(store, key)])
    head = store.read(key)
    assert head is not None
    store.commit([heads.accounts_write(head, explicit=("Organization/a",))])
    assert len(objects(store)) == 1
    assert pointers(store, key) == []


@sizes
@ways
def test_a_collector_takes_nothing_that_a_version_gets(
    store: Store, way: Callable[[str], Work], exists: bool, size: str
) -> None:
    """It comes at each moment of a writer, from its beginning to its end, and takes it for dead each time."""
    refused = written = 0
    for calls in count():
        key = begun(store, exists)
        writer = Writer(store, way(key), size, objects=True)
        over = not all(writer.step() for _ in range(calls))
        collect(store, key)
        writer.finish()
        assert writer.error is None or isinstance(writer.error, Conflict), writer.error
        refused, written = refused + bool(writer.error), written + (writer.error is None)
        assert len(store.versions(key, None, 9)) == exists + (writer.error is None)
        require_whole(store, key)
        forget(store)
        if over:
            break
    assert calls > 4
    assert written > 1
    assert refused


@sizes
@ways
def test_a_collector_that_has_looked_already_takes_nothing_that_a_version_gets(
    store: Store, way: Callable[[str], Work], exists: bool, size: str
) -> None:
    """It has found the writer's pointer needed by nobody, and is about to condemn it while the writer goes on, further each time."""
    refused = 0
    for calls in count():
        key = begun(store, exists)
        writer = Writer(store, way(key), size, objects=True)
        while len(pointers(store, key)) == exists:
            assert writer.step()
        collector = Writer(store, collecting(key), objects=True)
        while collector.stands_before != "transact_write_items":
            assert collector.step()
        over = not all(writer.step() for _ in range(calls))
        # It condemns the pointer, if it may, and removes the object when the writer has come to its end.
        collector.step()
        writer.finish()
        collector.finish()
        assert collector.error is None
        assert collector.result.taken == bool(writer.error)
        refused += isinstance(writer.error, Conflict)
        assert len(store.versions(key, None, 9)) == exists + (writer.error is None)
        require_whole(store, key)
        forget(store)
        if over:
            break
    assert 0 < refused < calls


@sizes
@ways
def test_a_writer_that_dies_leaves_what_is_collected(
    store: Store, way: Callable[[str], Work], exists: bool, size: str
) -> None:
    for calls in count():
        key = begun(store, exists)
        writer = Writer(store, way(key), size, objects=True)
        over = not all(writer.step() for _ in range(calls))
        writer.kill(killed())
        store.abort_open()
        store.sweep()
        require_whole(store, key)
        forget(store)
        if over:
            break
    assert calls > 4


def orphan(store: Store, key: str) -> str:
    """The name of a body of a writer that died before its commit."""
    writer = Writer(store, update(key), objects=True)
    before = set(pointers(store, key))
    while not (set(pointers(store, key)) - before and (set(pointers(store, key)) - before) & set(objects(store))):
        assert writer.step()
    writer.kill(killed())
    (name,) = set(pointers(store, key)) - before
    return name


@sizes
@pytest.mark.parametrize("exists", [False, True])
def test_a_writer_loses_nothing_to_a_collector_at_work(store: Store, exists: bool, size: str) -> None:
    """It writes, from beginning to end, at each moment of a collector that has a dead writer's body to take away."""
    for calls in count():
        key = begun(store, exists)
        left = orphan(store, key)
        collector = Writer(store, collecting(key), objects=True)
        over = not all(collector.step() for _ in range(calls))
        writer = Writer(store, update(key), size)
        writer.finish()
        collector.finish()
        assert writer.error is collector.error is None
        assert len(store.versions(key, None, 9)) == exists + 1
        assert left not in needed(store, key)
        require_whole(store, key)
        forget(store)
        if over:
            break
    assert calls > 4


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [killed, unreachable])
@pytest.mark.parametrize("service", ["dynamodb", "s3"])
def test_a_collector_that_dies_anywhere_is_finished_by_another(
    store: Store, fault: Any, after: bool, service: str
) -> None:
    for at in count():
        key = begun(store, True)
        left = orphan(store, key)
        client = store.table.client if service == "dynamodb" else store.s3
        failing: Any = Failing(client, at, fault(), after)
        mine = (
            Store(failing, store.s3, store.settings)
            if service == "dynamodb"
            else Store(store.table.client, failing, store.settings)
        )
        try:
            collect(mine, key)
        except (Killed, BotoCoreError, BulkheadError):
            assert failing.struck
        put(store, key, "later")
        require_whole(store, key)
        assert left not in objects(store)
        forget(store)
        if not failing.struck:
            break
    assert at > 1


@settings(max_examples=EXAMPLES)
@given(st.lists(st.integers(0, 3), max_size=60), st.booleans())
def test_no_interleaving_loses_a_body(one_store: Store, schedule: list[int], exists: bool) -> None:
    """Two writers, one of a large transaction, and two collectors."""
    forget(one_store)
    key = begun(one_store, exists)
    writers = [
        Writer(one_store, update(key), objects=True),
        Writer(one_store, update(key), LARGE, objects=True),
        *(Writer(one_store, collecting(key), objects=True) for _ in range(2)),
    ]

    def require_readable() -> None:
        assert all(one_store.decode(version) for version in one_store.versions(key, None, 9))

    stepping.run(writers, schedule, require_readable)
    written = [writer for writer in writers[:2] if writer.error is None]
    assert all(writer.error is None or isinstance(writer.error, Conflict) for writer in writers)
    assert len(one_store.versions(key, None, 9)) == exists + len(written)
    require_whole(one_store, key)


@sizes
def test_what_is_put_after_it_was_looked_for_is_taken_back(store: Store, size: str) -> None:
    """A writer that slept between its pointer and its object, for longer than any does."""
    key = begun(store, True)
    writer = Writer(store, update(key), size, objects=True)
    while len(pointers(store, key)) < 2:
        assert writer.step()
    assert collect(store, key) == Collected(1, 0)
    writer.finish()
    assert isinstance(writer.error, Conflict)
    assert "send it again" in str(writer.error)
    assert objects(store) == needed(store, key)


@sizes
def test_it_is_taken_back_also_where_another_writer_was_faster(store: Store, size: str) -> None:
    key = begun(store, True)
    writer = Writer(store, update(key), size, objects=True)
    while len(pointers(store, key)) < 2:
        assert writer.step()
    collect(store, key)
    put(store, key, "faster")
    writer.finish()
    assert isinstance(writer.error, VersionConflict)
    assert objects(store) == needed(store, key)


def test_what_may_yet_be_committed_is_not_taken_back(store: Store) -> None:
    """Whoever was told nothing sends the same write again."""
    key = begun(store, True)
    head = store.read(key)
    assert head is not None
    write = change(store, head, facts(), facts(), "mine")
    store._bodies.offload([write], 10)
    for at in count():
        failing: Any = Failing(store.table.client, at, unreachable(), for_ever=True)
        try:
            Store(failing, store.s3, store.settings).commit([write])
        except (BotoCoreError, BulkheadError):
            store._bodies.take_back([write])
            assert len(objects(store)) == 2
            continue
        break
    require_whole(store, key)
    assert note(store, store.read(key)) == "mine"


def test_writers_of_one_transaction_fail_together(store: Store) -> None:
    """More bodies than one request checks."""
    resources = [f"Basic/{next(_numbers)}" for _ in range(60)]
    writes = [creation(store, key) for key in resources]
    store._bodies.offload(writes, 10)
    assert len(objects(store)) == 60
    assert collect(store, resources[57]) == Collected(1, 0)
    with pytest.raises(Conflict):
        store.commit(writes)
    assert store.read_many(resources) == {}
    assert len(objects(store)) == 59
    remade = [creation(store, key, fresh=False) for key in resources]
    assert len(store.commit(remade)) == 60
    require_whole(store, *resources)


def test_the_same_write_sent_again_needs_its_pointer(store: Store) -> None:
    """Whoever failed for another reason commits what it has put already."""
    key = begun(store, True)
    head = store.read(key)
    assert head is not None
    write = change(store, head, facts(), facts(), "mine")
    store._bodies.offload([write], 10)
    with pytest.raises(VersionConflict):
        store.commit([replace(write, base=_at(head, 7))])
    store.commit([write])
    require_whole(store, key)
    assert note(store, store.read(key)) == "mine"


def _at(head: Any, version: int) -> Any:
    from msgspec.structs import replace as changed

    return changed(head, version=version)


def test_bodies_of_writers_that_may_be_at_work_stay(store: Store) -> None:
    key = begun(store, True)
    orphan(store, key)
    assert store._bodies.collect(key, before=time.time() - 60, repair=True) == Collected(0, 1)
    assert len(objects(store)) == 2
    assert store._bodies.collect(key, before=LATER, repair=False) == Collected(1, 0)
    assert len(objects(store)) == 2
    assert collect(store, key) == Collected(1, 0)
    assert collect(store, key) == Collected(0, 0)
    require_whole(store, key)


def test_a_restored_table_takes_nothing_from_the_one_that_still_serves(store: Store) -> None:
    """The writer of the first table commits after the moment as which the second one was restored; both have one bucket."""
    key = begun(store, True)
    name = orphan(store, key)
    (pointer,) = [item for item in store.table.query(key, keys.BODY, keys.BODY) if item["sk"]["S"].endswith(name)]
    store.table.put({**pointer, "by": {"S": "the table that was"}})
    assert collect(store, key) == Collected(0, 1)
    assert name in objects(store)
    # Once the bucket is its own, an operator says so.
    store.adopt_bodies(None, lambda: True)
    assert collect(store, key) == Collected(1, 0)
    require_whole(store, key)


def by_older_code(store: Store, key: str, text: str) -> Write:
    """A write whose body lies under its hash, and nothing leads there."""
    write = creation(store, key, fresh=False)
    assert write.body is not None
    write.body = body(store, key, text)
    store.s3.put_object(Bucket=store.settings.bucket, Key=f"bodies/{text}", Body=write.body)
    write.body = heads.IN_S3 + text.encode()
    return write


def test_what_older_code_left_is_adopted_and_collected(store: Store) -> None:
    key, other = begun(store, False), begun(store, False)
    head = by_older_code(store, key, "a" * 64).head("2026-01-01T00:00:00.000Z")
    store.table.put(heads.to_item(head))
    by_older_code(store, key, "b" * 64)
    by_older_code(store, other, "c" * 64)
    store.s3.put_object(Bucket=store.settings.bucket, Key="bodies/" + "d" * 64, Body=b"no body")
    assert collect(store, key) == Collected(0, 0)
    assert handler.adopt(store, None, lambda: False) == {"adopted": 3, "after": None}
    assert handler.adopt(store, None, lambda: True) == {"adopted": 0, "after": None}
    store.s3.versions.pop("bodies/" + "d" * 64)
    assert (collect(store, key), collect(store, other)) == (Collected(1, 0), Collected(1, 0))
    assert objects(store) == ["a" * 64]
    assert note(store, store.read(key)) == "a" * 64


def test_an_object_that_could_not_be_read_now_is_not_passed_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bucket does not give is no object of somebody else's: the operator calls again."""
    key = begun(store, False)
    by_older_code(store, key, "a" * 64)

    def silent(**_: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="https://bucket")

    with monkeypatch.context() as patched:
        patched.setattr(store.s3, "get_object", silent)
        with pytest.raises(ReadTimeoutError):
            store.adopt_bodies(None, lambda: True)
    assert store.adopt_bodies(None, lambda: True) == (1, None)


def test_no_commit_relies_on_what_was_adopted(store: Store) -> None:
    """Whoever adopts may have read the object before it was collected, and leave the pointer afterwards."""
    key = begun(store, True)
    writer = Writer(store, update(key), objects=True)
    while len(objects(store)) < 2:
        assert writer.step()
    adopting = Writer(store, lambda store: store.adopt_bodies(None, lambda: True), objects=True)
    while adopting.stands_before != "batch_get_item":
        assert adopting.step()
    collect(store, key)
    adopting.finish()
    assert len(pointers(store, key)) == 2
    writer.finish()
    assert isinstance(writer.error, Conflict)
    require_whole(store, key)


def test_a_round_of_the_check_collects_in_every_segment(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_store(body_limit=10)
    store = Store(made.table.client, MemoryS3(), made.settings)
    resources = [begun(store, n % 2 == 0) for n in range(6)]
    names = [orphan(store, key) for key in resources]
    assert store.check_integrity(repair=True, patience=86_400.0).noted >= 6
    assert store.check_integrity(repair=False, patience=None).bodies == 6
    monkeypatch.setattr("bulkhead.store.rounds.time.time", lambda: LATER + 86_400)
    reports: Sequence[Any] = [store.check_segment(n, of=3, after=None, time_left=lambda: True)[0] for n in range(3)]
    assert sum(report.bodies for report in reports) == 6
    assert not any(report.clean for report in reports if report.bodies)
    assert not set(names) & set(pointers(store, resources[0]))
    assert store.check_integrity(repair=True, patience=None).bodies == 0
