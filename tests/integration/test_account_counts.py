"""What is counted of an account is what a search for it pages through, after anything; and under a fence what is paged through there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.errors import BulkheadError
from bulkhead.fhir import dates
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Store, counts, keys, transactions
from bulkhead.store.table import key_of
from tests.support.clock import Clock, stopped
from tests.support.faults import Killed, killed
from tests.support.scene import PATIENT, A, B, C, Scene
from tests.support.searches import pages, search
from tests.support.stepping import Writer

TYPES = ("Observation", "Organization")
NAMES = ("Observation/0", "Observation/1", "Observation/2", "Organization/0", "Organization/a")
OF_A, OF_B = (replace(EVERYBODY, accounts=(account,)) for account in (A, B))
CALLERS = (OF_A, OF_B, replace(EVERYBODY, accounts=(A, B)), replace(EVERYBODY, accounts=()))
EVERYTHING = 1_000_000
YEAR = 365 * 24 * 3600.0


@pytest.fixture
def from_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are counted however few there are."""
    monkeypatch.setattr(counts, "FEW", -1)
    monkeypatch.setattr(counts, "KEYS_FOR_A_HEAD", 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stopped(monkeypatch)


class World:
    """A scene, and what may happen there."""

    def __init__(self, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.clock, self.monkeypatch = store, clock, monkeypatch
        self.scene = Scene(store)
        self.serial = 0
        self.writers: list[Writer] = []
        for number, key in enumerate(NAMES):
            self.put(EVERYBODY, key, ((A,), (B,), (), (A, C), ())[number])

    def content(self, key: str, *accounts: str) -> dict[str, Any]:
        self.serial += 1
        resource_type, _, identifier = key.partition("/")
        content: dict[str, Any] = {"resourceType": resource_type, "id": identifier, "language": f"x-{self.serial}"}
        if resource_type == "Observation":
            content |= {"status": "final", "code": {"text": "x"}, "subject": {"reference": PATIENT}}
        return content | {"meta": {"accounts": [{"reference": one} for one in accounts]}} if accounts else content

    def put(self, caller: Caller, key: str, accounts: tuple[str, ...]) -> None:
        resources.update(Session.of(self.store, caller), self.content(key, *accounts), key)

    def delete(self, caller: Caller, key: str) -> None:
        resources.delete(Session.of(self.store, caller), key)

    def share(self, caller: Caller, key: str, accounts: tuple[str, ...], *, ends: bool, propagate: bool) -> None:
        end = dates.text(datetime.fromtimestamp(self.clock.now, UTC) + timedelta(seconds=YEAR))
        asked = Request(accounts, propagate, ends=dict.fromkeys(accounts, end) if ends else {})
        set_accounts_run.run(Session.of(self.store, caller), key, asked)

    def leave(self, key: str, account: str) -> None:
        """The entry of a writer that lost, or died."""
        place, (attributes, via) = keys.account_entry(key, account)
        item: Any = {**key_of(place), "v": {"N": "99"}, "via": {"SS": sorted(via)}}
        if self.store.table.get(place) is None:
            self.store.table.put(item | {name: {"S": text} for name, text in attributes.items()})

    def die(self, key: str, accounts: tuple[str, ...], steps: int) -> None:
        """A writer that dies somewhere between its first call and its last."""
        writer = Writer(
            self.store, lambda store: resources.update(Session.of(store, EVERYBODY), self.content(key, *accounts), key)
        )
        for _ in range(steps):
            writer.step()
        writer.kill(killed())

    def begin(self, key: str, account: str, steps: int) -> None:
        """A large transaction that makes one resource, writes another and deletes a third, and stands somewhere meanwhile."""

        def work(store: Store) -> None:
            session = Session.of(store, EVERYBODY)
            head, new = store.read(key), f"{key.partition('/')[0]}/n{self.serial}"
            writes = [resources.prepare_create(session, self.content(new, account), new, fresh=True)]
            content = self.content(key, account)
            changed = head and resources.prepare_update(session, content, head, partial=False)
            writes += [changed or resources.prepare_create(session, content, key, fresh=False)]
            found = [store.read(name) for name in NAMES if name != key]
            writes += [resources.prepare_delete(store, head) for head in found if head and not head.deleted][:1]
            store.commit(writes, (), resources.inherit(session))

        with self.monkeypatch.context() as patched:
            patched.setattr("bulkhead.store.commits.TRANSACT_LIMIT", 1)
            writer = Writer(self.store, work)
            for _ in range(steps):
                writer.step()
        self.writers.append(writer)

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *given = step
        # What a caller may not do, or another one holds, changes nothing.
        with suppress(BulkheadError):
            getattr(self, kind)(*given[:-1], **given[-1])

    def require_equal(self) -> None:
        """What is counted is what is paged through, for everybody."""
        for name in TYPES:
            for caller in CALLERS:
                fence = policy.fence(self.store, caller, policy.SEARCH)
                found = pages(self.store, name, "_count=3", fence=fence)
                assert len(found) == len(set(found)) == self.counted(name, "", fence), (name, caller.accounts)
            for asked, under in ((A, None), (C, None), (f"{A},{B}", None), (A, OF_A)):
                fence = policy.fence(self.store, under or EVERYBODY, policy.SEARCH)
                query = f"_account={asked}"
                assert len(pages(self.store, name, query, fence=fence)) == self.counted(name, query, fence), (
                    name,
                    query,
                )

    def counted(self, name: str, query: str, fence: Any) -> int:
        total: int = search(self.store, name, f"{query}&_summary=count", fence=fence)["total"]
        return total

    def end(self) -> None:
        for writer in self.writers:
            writer.kill(killed())
            assert writer.error is None or isinstance(writer.error, (Killed, BulkheadError)), writer.error
        self.clock.sleep(YEAR)
        self.store.abort_open()
        self.store.sweep()


ACCOUNTS = st.lists(st.sampled_from((A, B, C)), unique=True, max_size=2).map(tuple)
NAME, SOMEBODY, STEPS = st.sampled_from(NAMES), st.sampled_from((EVERYBODY, OF_A)), st.integers(0, 30)
NOTHING_MORE: st.SearchStrategy[dict[str, bool]] = st.just({})
KINDS: list[Any] = [
    st.tuples(st.just("put"), SOMEBODY, NAME, ACCOUNTS, NOTHING_MORE),
    st.tuples(st.just("delete"), SOMEBODY, NAME, NOTHING_MORE),
    st.tuples(
        st.just("share"),
        SOMEBODY,
        st.sampled_from((PATIENT, *NAMES)),
        ACCOUNTS,
        st.fixed_dictionaries({"ends": st.booleans(), "propagate": st.booleans()}),
    ),
    st.tuples(st.just("leave"), NAME, st.sampled_from((A, B)), NOTHING_MORE),
    st.tuples(st.just("die"), NAME, ACCOUNTS, STEPS, NOTHING_MORE),
    st.tuples(st.just("begin"), NAME, st.sampled_from((A, B)), STEPS, NOTHING_MORE),
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(KINDS), max_size=12))
def test_whatever_happened(
    make_store: Any, clock: Clock, from_keys: None, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Any, ...]]
) -> None:
    world = World(make_store(sync_limit=1000), clock, monkeypatch)
    for step in steps:
        world.do(step)
    world.require_equal()
    world.end()
    world.require_equal()


@pytest.fixture
def world(make_store: Any, clock: Clock, from_keys: None, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(make_store(sync_limit=1000), clock, monkeypatch)


def carrying(world: World, account: str) -> list[str]:
    """What a search for an account pages through, which is what is counted of it."""
    query, fence = f"_account={account}", policy.fence(world.store, EVERYBODY, policy.SEARCH)
    found = pages(world.store, "Observation", f"{query}&_count=100", fence=fence)
    assert len(found) == world.counted("Observation", query, fence)
    return sorted(found)


def test_a_writer_that_dies_at_any_of_its_calls(world: World) -> None:
    before = carrying(world, A)
    made = moved = 0
    for steps in range(20):
        new, other = f"Observation/new{steps}", f"Observation/other{steps}"
        world.put(EVERYBODY, other, (B,))
        world.die(new, (A,), steps)
        world.die(other, (A,), steps)
        now = carrying(world, A)
        made, moved = made + (new in now), moved + (other in now)
        assert len(now) == len(before) + made + moved
    # Some died before their commit, and some behind it.
    assert 0 < made < 20
    assert 0 < moved < 20


@pytest.mark.parametrize("key", ["Observation/1", "Observation/none"])
def test_a_large_transaction_that_stands_at_any_of_its_calls(world: World, key: str) -> None:
    before = carrying(world, A)
    world.begin(key, A, 0)
    (writer,) = world.writers
    answers = [carrying(world, A)]
    # Its limit is looked up behind its first calls.
    world.monkeypatch.setattr("bulkhead.store.commits.TRANSACT_LIMIT", 1)
    stood = 0
    while writer.step():
        answers.append(carrying(world, A))
        stood += any(transactions.open_transactions(world.store.table))
    assert stood > 10
    # All of it comes at once: one new resource, one that others had, and one that is gone.
    assert answers[0] == before
    assert len({tuple(answer) for answer in answers}) == 2
    assert writer.error is None
