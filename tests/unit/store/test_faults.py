"""Failing and dying at every call of a commit: a reader sees all of it or nothing, and whoever comes later is not held up for ever."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from bulkhead import history
from bulkhead.access.policy import EVERYBODY
from bulkhead.errors import BulkheadError
from bulkhead.facts.index_facts import Value
from bulkhead.session import Session
from bulkhead.store import Claim, Head, Store, Write, identifiers, keys, one_request, transactions
from bulkhead.store import active_months as months_module
from bulkhead.store.heads import Identifier, Unique
from tests.support.changes import change, creation, deletion, facts, note
from tests.support.faults import Failing, Killed, killed, unreachable


@pytest.fixture(autouse=True)
def no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of reservations: who comes after a dead writer need not wait."""
    monkeypatch.setattr(identifiers, "_LEASE", 0)


OLD = facts("Patient/1", "Encounter/1", codes=("a", "b"), identifiers=("old",))
NEW = facts("Patient/2", "Encounter/1", codes=("b", "c", "d"), identifiers=("new",))
UNNAMED = facts("Patient/2", "Encounter/1", codes=("b", "c", "d"))
CONDITION = "Observation?code=1"

Prepare = Callable[[Store], tuple[list[Write], list[Claim]]]


def claimed(key: str) -> list[Claim]:
    """That `key` is the only one of its kind, and that nobody else has its identifier."""
    unique = Unique((Identifier("Observation", "new", "urn:s"),), lambda head: True, None)
    return [Claim(CONDITION, key), Claim("Observation?identifier=urn:s|new", key, unique=unique)]


def create(store: Store) -> tuple[list[Write], list[Claim]]:
    return [creation(store, "Observation/new", NEW, explicit=("Organization/a",))], claimed("Observation/new")


def update(store: Store) -> tuple[list[Write], list[Claim]]:
    head = store.read("Observation/0") or _seed(store, 1)[0]
    return [change(store, head, OLD, NEW, explicit=("Organization/b",))], []


def transaction(size: int) -> Prepare:
    """Twenty updates, twenty deletes, the rest creates, one of them under an id of the client's; and a claim."""

    def prepare(store: Store) -> tuple[list[Write], list[Claim]]:
        heads = list(store.read_many(f"Observation/{n}" for n in range(40)).values()) or _seed(store, 40)
        heads.sort(key=lambda head: int(head.id))
        writes = [creation(store, f"Observation/new{n}", UNNAMED if n % 10 else NEW) for n in range(size - len(heads))]
        writes += [change(store, head, OLD, NEW, explicit=("Organization/b",)) for head in heads[::2]]
        writes += [deletion(head, OLD) for head in heads[1::2]]
        writes[0].fresh = False
        return writes, claimed(writes[0].key)

    return prepare


def _seed(store: Store, count: int) -> list[Head]:
    heads: list[Head] = []
    for start in range(0, count, 50):
        numbers = range(start, min(start + 50, count))
        heads += store.commit([creation(store, f"Observation/{n}", OLD, explicit=("Organization/a",)) for n in numbers])
    return heads


def observed(store: Store, writes: list[Write]) -> str:
    """`old` or `new`, whichever all of `writes` show; AssertionError where they differ, or the index or the history disagrees."""
    heads = store.read_many(write.key for write in writes)
    states = set()
    for write in writes:
        head = heads.get(write.key)
        version = head.version if head else 0
        assert version in (write.version, write.version - 1)
        states.add("new" if version == write.version else "old")
    assert len(states) == 1, states
    (state,) = states
    for write in [write for write in writes if write.base][:6]:
        version = heads[write.key].version
        assert [past.version for past in store.versions(write.key, None, 10)] == list(range(version, 0, -1))
    standing = {write.key: write.new if state == "new" else write.old for write in writes}
    for target in ("Patient/1", "Patient/2"):
        hinted = {pointer.source for pointer in store.pointing_at(target)}
        assert {key for key, its in standing.items() if its and target in its.targets} <= hinted
    for name in ("old", "new"):
        hinted = {hint.key for hint in store.by_value("Observation", "identifier", name)}
        value = Value("identifier", name, "urn:s")
        assert {key for key, its in standing.items() if its and value in its.values} <= hinted
    for account in ("Organization/a", "Organization/b"):
        carriers = {key for key, head in heads.items() if account in head.accounts}
        assert carriers <= {pointer.source for pointer in store.in_account(account)}
    return state


CASES: dict[str, Prepare] = {"create": create, "update": update, "60 entries": transaction(60)}
MODES: dict[str, tuple[Callable[[], BaseException], bool, bool]] = {
    "killed before": (killed, False, False),
    "killed after": (killed, True, False),
    "unreachable from then on": (unreachable, False, True),
    "answer lost": (unreachable, True, False),
}


def _run(new_store: Any, prepare: Prepare, mode: str, at: int) -> bool:
    """One commit with a fault at call `at`. Whether the fault struck; all that must hold afterwards is asserted."""
    error, after, for_ever = MODES[mode]
    months_module._noted.clear()
    store: Store = new_store(transaction_lease=-1000)
    writes, claims = prepare(store)
    months_module._noted.clear()
    client = store.table.client
    failing: Any = Failing(client, at, error(), after, for_ever)
    store.table.client = failing
    told: BaseException | None = None
    try:
        store.commit(writes, claims)
    except (Killed, Exception) as raised:
        told = raised
    store.table.client = client
    state = observed(store, writes)
    if told is None:
        assert state == "new", "the client was told that it is done"
    if failing.struck:
        _writers_go_on(store, prepare, state)
    return bool(failing.struck)


def _writers_go_on(store: Store, prepare: Prepare, state: str) -> None:
    """After a fault a later writer is not held up, and sweeping leaves no mark behind."""
    store.sweep()
    if state == "old":
        writes, claims = prepare(store)
        store.commit(writes, claims)
        assert observed(store, writes) == "new"
        assert store.claim_owner(CONDITION) in (None, *(claim.owner for claim in claims))
    pages = store.table.client.get_paginator("scan").paginate(TableName=store.table.name, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    assert not [item["pk"] for item in items if "txn" in item]
    assert not [item["sk"] for item in items if item["sk"]["S"].startswith("s#")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_a_fault_at_every_call(new_store: Any, case: str, mode: str) -> None:
    at = 0
    while _run(new_store, CASES[case], mode, at):
        at += 1
    assert at >= 2, "no fault struck"


# Dying before each call meets every state that can be left behind; the other modes differ in what is caught, so strides do.
STRIDES = [("killed before", 4, first) for first in range(4)] + [
    (mode, 7, 0) for mode in MODES if mode != "killed before"
]


@pytest.mark.parametrize(("mode", "stride", "first"), STRIDES)
def test_a_fault_in_a_large_transaction(new_store: Any, mode: str, stride: int, first: int) -> None:
    at = first
    while _run(new_store, transaction(130), mode, at):
        at += stride
    assert at >= 20


def test_a_writer_waits_for_no_dead_transaction(new_store: Any) -> None:
    store: Store = new_store(transaction_lease=-1000)
    writes, claims = transaction(300)(store)
    base = next(write.base for write in writes if write.base)
    failing: Any = Failing(store.table.client, 10**9, killed())
    store.table.client = failing
    original = failing._client.update_item

    def die_at_commit(**arguments: Any) -> Any:
        if arguments.get("ExpressionAttributeValues", {}).get(":state") == {"S": "COMMITTED"}:
            raise killed()
        return original(**arguments)

    failing.update_item = die_at_commit
    with pytest.raises(Killed):
        store.commit(writes, claims)
    store.table.client = failing._client
    assert observed(store, writes) == "old"
    (head,) = store.commit([change(store, base, OLD, NEW, "later")])
    assert note(store, store.read(base.key)) == "later"
    assert head.version == base.version + 1


def test_who_reads_the_feed_finishes_what_a_dead_process_committed(new_store: Any) -> None:
    """Killed at calls after the one that decides: the first page is held back, the next one misses no version, and nobody sweeps."""

    def commit(at: int) -> tuple[Store, list[Write], int]:
        """A commit that is killed at its call number `at`; and how many calls there were."""
        months_module._noted.clear()
        store: Store = new_store(transaction_lease=-1000, history_settle=0)
        writes, claims = transaction(120)(store)
        client = store.table.client
        failing: Any = Failing(client, at, killed())
        store.table.client = failing
        with suppress(Killed):
            store.commit(writes, claims)
        store.table.client = client
        return store, writes, failing.calls

    _, _, calls = commit(-1)
    finished = 0
    for at in range(calls - 1, 0, -3):
        store, writes, _ = commit(at)
        if observed(store, writes) == "old":
            break
        for begun, _ in list(transactions.open_transactions(store.table)):
            finished += 1
            held, page = _feed(store), _feed(store)
            assert not list(transactions.open_transactions(store.table))
            assert (held.settled or "") <= begun < (page.settled or "")
            versions = {(head.key, head.version) for head in page.heads}
            assert {(write.key, write.version) for write in writes} <= versions
    assert finished > 1


def _feed(store: Store) -> history.Page:
    pairs = [("_since", "2020-01-01T00:00:00Z"), ("_sort", "_lastUpdated"), ("_count", "1000")]
    return history.page(Session.of(store, EVERYBODY), history.parse("Observation", pairs, 20, limit=1000))


def test_a_reader_sees_one_side_within_a_request(new_store: Any) -> None:
    store: Store = new_store(transaction_lease=1000)
    writes, claims = transaction(150)(store)
    client = store.table.client
    seen: list[set[str]] = []

    class Watching:
        exceptions = client.exceptions

        def __getattr__(self, name: str) -> Any:
            def watched(**arguments: Any) -> Any:
                answer = getattr(client, name)(**arguments)
                if name == "update_item" and arguments["Key"]["pk"]["S"].startswith("txn#") and not seen:
                    seen.append(reading())
                return answer

            return watched

    def reading() -> set[str]:
        reader = Store(client, store.s3, store.settings)
        with one_request():
            heads = reader.read_many(write.key for write in writes)
        return {"new" if (heads[w.key].version if w.key in heads else 0) == w.version else "old" for w in writes}

    store.table.client = Watching()  # type: ignore[assignment] # it wraps a client
    store.commit(writes, claims)
    assert seen == [{"new"}]


def test_refusals_are_bulkhead_errors(store: Store) -> None:
    (head,) = _seed(store, 1)
    store.commit([change(store, head, OLD, NEW)])
    with pytest.raises(BulkheadError):
        store.commit([change(store, head, OLD, NEW)])


def test_a_transaction_that_dies_as_it_begins_leaves_no_list_of_its_members(store: Store) -> None:
    client: Any = store.table.client
    for at in count():
        failing: Any = Failing(client, at, killed())
        store.table.client = failing
        with suppress(Killed):
            transactions.begin(store.table, ["Patient/p"], -1000, entries=[("identifier", "of a patient")])
        store.table.client = client
        store.sweep()
        items, _ = store.table.scan(0, 1, None)
        assert [item for item in items if item["sk"]["S"].startswith(keys.MEMBERS)] == []
        if not failing.struck:
            break
    assert at == 2
