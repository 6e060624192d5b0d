"""Who sees what, and what a purge leaves: random requests, stopped, resumed and killed anywhere, against a model of a few lines.

The sibling of the model of accounts: it has shared types, Binaries that follow something, accounts that end, and purges, by themselves and
as jobs whose tasks are delivered twice. Requests go on by single DynamoDB calls; the indexes lag; time passes only where somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.access.scopes import Scope
from bulkhead.errors import BulkheadError
from bulkhead.facts import index_facts
from bulkhead.facts.security_context import context_of
from bulkhead.fhir import dates
from bulkhead.jobs import purge_steps, purging
from bulkhead.jobs.lifecycle import Background
from bulkhead.jobs.purging import Order
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.search import parse, run
from bulkhead.session import Session
from bulkhead.store import Head, Store, erasure, heads
from infra.local.lag import LaggingIndexes
from tests.support.clock import Clock, stopped
from tests.support.faults import Killed, killed
from tests.support.scene import A, B, Scene
from tests.support.searches import search
from tests.support.stepping import Writer

PATIENTS = ("Patient/1", "Patient/2")
NOTES = ("Observation/0", "Observation/1")
LETTERS = ("Binary/0", "Binary/1")
GUIDE = "Practitioner/d"
KEYS = (*PATIENTS, *NOTES, *LETTERS, GUIDE)
LAG, SETTLE, REST = 2, 3, 60

OF_A, OF_B = (replace(EVERYBODY, accounts=(account,)) for account in (A, B))
APP = Caller("app", (Scope("patient", "*", "crs"),), patient="1")
CALLERS = (OF_A, OF_B, APP, replace(APP, accounts=(A,)), EVERYBODY)

ACCOUNTS = st.lists(st.sampled_from((A, B)), unique=True, max_size=2).map(tuple)
NAMED = st.lists(st.sampled_from(PATIENTS), unique=True, max_size=2).map(tuple)
LASTS = st.sampled_from((None, None, 4.0, 40.0))
STEPS = st.sampled_from((None, None, 1, 2, 3, 5, 8, 13, 21))
State = dict[str, Any]


def content(key: str, serial: int, named: tuple[str, ...] = (), context: str | None = None) -> dict[str, Any]:
    """A resource whose version tells its serial number."""
    resource_type, _, identifier = key.partition("/")
    made: dict[str, Any] = {"resourceType": resource_type, "id": identifier, "language": f"x-{serial}"}
    if resource_type == "Observation":
        made |= {"status": "final", "code": {"text": "x"}}
        made |= {"performer": [{"reference": one} for one in named]} if named else {}
    elif resource_type == "Binary":
        made |= {"contentType": "text/plain", "data": "eA=="}
        made |= {"securityContext": {"reference": context}} if context else {}
    return made


@dataclass
class Flight:
    """A request that is under way, and what follows where it comes to its end."""

    writer: Writer
    landed: Callable[[Any], None] = lambda result: None


@dataclass
class Job:
    """A purge as a job, whose tasks are delivered at least once."""

    id: str
    order: Order
    state: State
    delivered: list[State] = field(default_factory=list)
    over: bool = False


class Sharing(RuleBasedStateMachine):
    make: Callable[[], Store]
    clock: Clock

    @initialize()
    def begin(self) -> None:
        self.store = type(self).make()
        self.scene = Scene(self.store)
        self.indexes = LaggingIndexes(self.store.table.client, LAG, self.clock.monotonic)
        client: Any = self.indexes
        self.store.table.client = client
        self.flights: list[Flight] = []
        self.jobs: list[Job] = []
        self.serial = 0
        self.begun: set[Order] = set()
        """Purges that began and that nobody was told are done."""
        for key in KEYS:
            self.scene.create(key, **{name: value for name, value in self.fresh(key).items() if name not in ("id", "resourceType")})  # fmt: skip

    def fresh(self, key: str, named: tuple[str, ...] = PATIENTS[:1], context: str | None = PATIENTS[0]) -> State:
        self.serial += 1
        return content(key, self.serial, named, context)

    # The model

    def heads(self) -> dict[str, Head]:
        return self.store.read_many((*KEYS, A, B))

    def body(self, head: Head) -> State:
        return self.store.decode(head)

    def owns(self, caller: Caller, head: Head) -> bool:
        if head.deleted:
            return False
        if caller.accounts is not None and set(caller.accounts).isdisjoint(head.accounts):
            return False
        chart = f"Patient/{caller.patient}"
        if caller.patient is None or head.key == chart:
            return True
        return head.type == "Observation" and chart in index_facts.targets(self.body(head))

    def is_shared(self, head: Head) -> bool:
        return head.type in ("Practitioner", "Organization") and not head.deleted and head.open

    def sees(self, caller: Caller, head: Head, heads: Mapping[str, Head]) -> bool:
        """The model: what is the caller's own, what is shared, and a Binary that follows either, of Binaries only what is its own."""
        if self.owns(caller, head) or self.is_shared(head):
            return True
        context = heads.get(context_of(self.body(head)) or "") if head.type == "Binary" else None
        if context is None or context.deleted:
            return False
        return self.owns(caller, context) or self.is_shared(context)

    # Requests

    def start(
        self, work: Callable[[Store], Any], steps: int | None, landed: Callable[[Any], None] = lambda _: None
    ) -> None:
        flight = Flight(Writer(self.store, work), landed)
        self.flights.append(flight)
        self.go_on(flight, steps)

    def go_on(self, flight: Flight, steps: int | None) -> None:
        while steps is None or steps > 0:
            if not flight.writer.step():
                self.land(flight)
                return
            steps = None if steps is None else steps - 1

    def land(self, flight: Flight) -> None:
        self.flights.remove(flight)
        error = flight.writer.error
        if error is None:
            flight.landed(flight.writer.result)
        elif not isinstance(error, BulkheadError | Killed):
            raise error

    @rule(key=st.sampled_from(KEYS), named=NAMED, context=st.sampled_from((None, *KEYS)), steps=STEPS)
    def write(self, key: str, named: tuple[str, ...], context: str | None, steps: int | None) -> None:
        resource = self.fresh(key, named, context)
        self.start(lambda store: resources.update(Session.of(store, EVERYBODY), resource, key), steps)

    @rule(key=st.sampled_from(KEYS), steps=STEPS)
    def delete(self, key: str, steps: int | None) -> None:
        self.start(lambda store: resources.delete(Session.of(store, EVERYBODY), key), steps)

    @rule(key=st.sampled_from(KEYS), accounts=ACCOUNTS, lasts=LASTS, propagates=st.booleans(), steps=STEPS)
    def set_accounts(
        self, key: str, accounts: tuple[str, ...], lasts: float | None, propagates: bool, steps: int | None
    ) -> None:
        end = dates.text(datetime.fromtimestamp(self.clock.now + (lasts or 0), UTC))
        request = Request(accounts, propagates and key in PATIENTS, dict.fromkeys(accounts[:1], end) if lasts else {})
        self.start(lambda store: set_accounts_run.run(Session.of(store, EVERYBODY), key, request), steps)

    @precondition(lambda self: not self.flights)
    @rule(
        key=st.sampled_from((*LETTERS, GUIDE)),
        context=st.sampled_from((None, *KEYS, A)),
        caller=st.sampled_from((OF_A, OF_B)),
    )
    def a_fenced_caller_writes(self, key: str, context: str | None, caller: Caller) -> None:
        """Alone. It opens nothing that it does not see, shares nothing with everybody, and changes nothing that it only reads."""
        before = self.heads()
        try:
            resources.update(Session.of(self.store, caller), self.fresh(key, (), context), key)
        except BulkheadError:
            assert self.heads() == before
            return
        after = self.heads()[key]
        assert not set(after.accounts).isdisjoint(caller.accounts or ())
        assert not self.is_shared(after)
        former = before.get(key)
        assert former is None or former.deleted or self.owns(caller, former)
        follows = context_of(self.body(after)) if key in LETTERS else None
        if follows and not (former and not former.deleted and context_of(self.body(former)) == follows):
            assert self.sees(caller, before[follows], before)
            assert not self.is_shared(before[follows])

    # Purges

    @rule(key=st.sampled_from(KEYS), steps=STEPS)
    def purge(self, key: str, steps: int | None) -> None:
        order = Order(key, key in PATIENTS)
        there = self.serials(key)
        self.begun.add(order)

        def work(store: Store) -> None:
            session = Session.of(store, EVERYBODY)
            purging.require(session, order)
            purging.run(session, order, self.clock.sleep)

        self.start(work, steps, lambda _: self.purged(order, there))

    @rule(key=st.sampled_from(PATIENTS), steps=STEPS)
    def purge_in_the_background(self, key: str, steps: int | None) -> None:
        order = Order(key, True)

        def started(job: str) -> None:
            self.begun.add(order)
            self.jobs.append(Job(job, order, {"job": job, "next": "plan"}))

        self.start(lambda store: purge_steps.submit(Session.of(store, EVERYBODY), order, Background(started)), steps)

    @precondition(lambda self: any(not job.over for job in self.jobs))
    @rule(again=st.booleans(), steps=STEPS)
    def deliver(self, again: bool, steps: int | None) -> None:
        job = next(job for job in self.jobs if not job.over)
        if again and job.delivered:
            state = dict(job.delivered[-1])
            self.start(lambda store: purge_steps.plan(store, state), steps)
        elif job.state["next"] == "finish":
            job.over = True
            self.start(lambda store: purge_steps.finish(store, job.state), steps)
        else:
            state, there = dict(job.state), self.serials(job.order.target)

            def planned(new: State) -> None:
                job.delivered.append(state)
                if job.state == state:
                    job.state = new
                if new["next"] == "finish":
                    self.purged(job.order, there)

            self.start(lambda store: purge_steps.plan(store, dict(state)), steps, planned)

    def serials(self, key: str) -> set[str]:
        """What the table has of a resource: the serial numbers of all versions."""
        bodies = (item for item in self.store.table.query(key) if "body" in item)
        return {self.store.decode(heads.from_item(item))["language"] for item in bodies}

    def purged(self, order: Order, there: set[str]) -> None:
        """Nothing is left of what was there when the purge began: what is there now came after the id had rested."""
        self.begun.discard(order)
        assert not there & self.serials(order.target)

    # What happens to them

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(0, 9), steps=STEPS)
    def resume(self, which: int, steps: int | None) -> None:
        self.go_on(self.flights[which % len(self.flights)], steps)

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(0, 9))
    def kill(self, which: int) -> None:
        flight = self.flights[which % len(self.flights)]
        flight.writer.kill(killed())
        self.land(flight)

    @rule(seconds=st.sampled_from((1, 10, REST + 1)))
    def time_passes(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    # What must hold

    @invariant()
    def each_sees_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        heads = self.heads()
        for caller in CALLERS:
            fence = policy.fence(self.store, caller, policy.READ)
            for key, head in heads.items():
                if not head.deleted:
                    assert fence(self.store.version(head)) == self.sees(caller, head, heads), (caller.bounds, key)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for flight in list(self.flights):
            flight.writer.kill(killed())
            self.land(flight)
        self.clock.sleep(REST + SETTLE)
        self.indexes.catch_up()
        self.store.abort_open()
        self.store.sweep()
        self.each_sees_what_the_model_says()
        self.each_finds_what_the_model_says()
        for order in (*self.begun, Order(PATIENTS[0], True)):
            self.purge_now(order)
        report = self.store.check_integrity(repair=True, patience=None)
        assert (report.missing, report.damaged) == (0, 0)

    def each_finds_what_the_model_says(self) -> None:
        heads = {key: head for key, head in self.heads().items() if not head.deleted}
        for caller in (OF_A, OF_B, APP):
            fence = policy.fence(self.store, caller, policy.SEARCH)
            for name in ("Binary", "Practitioner", "Observation"):
                found = {one.key for one in run.find(self.store, parse.parse([], name), 100, fence=fence)}
                expected = {key for key, head in heads.items() if head.type == name and self.sees(caller, head, heads)}
                assert found == expected, (caller.bounds, name)
                assert search(self.store, name, "_summary=count", fence=fence)["total"] == len(expected)

    def last(self, key: str, heads: Mapping[str, Head]) -> Head | None:
        """The last content of a resource, deleted or not."""
        head = heads.get(key)
        return self.store.read_version(key, head.version - 1) if head and head.deleted else head

    def purge_now(self, order: Order) -> None:
        """Nobody else is at work: what goes and what stays is what the model says."""
        heads = self.heads()
        lasts = {key: last for key in KEYS if (last := self.last(key, heads)) is not None}
        names = {key: set(index_facts.targets(self.body(last))) & set(PATIENTS) for key, last in lasts.items()}
        gone = {order.target}
        if order.compartment:
            gone |= {key for key in NOTES if names.get(key) == {order.target}}
        while more := {key for key in LETTERS if key in lasts and context_of(self.body(lasts[key])) in gone} - gone:
            gone |= more
        session = Session.of(self.store, EVERYBODY)
        outcome = purging.run(session, order, self.clock.sleep)
        if order.target in heads or not order.compartment:
            assert outcome.shared <= set(KEYS)
            stays = {key for key in NOTES if order.compartment and len(names.get(key, ())) == len(PATIENTS)}
            assert stays <= outcome.shared or order.target not in heads
            assert self.heads().keys() == heads.keys() - gone
            assert not any(self.serials(key) for key in gone)
        self.indexes.catch_up()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stopped, for purges as well."""
    clock = stopped(monkeypatch)
    steps: Any = purging.steps

    class Moment(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override] # of the one base
            return datetime.fromtimestamp(clock.now, UTC)

    monkeypatch.setattr(erasure, "datetime", Moment)
    monkeypatch.setattr(purge_steps, "time", clock)
    monkeypatch.setattr(
        purging, "steps", lambda session, order, place, wait=None: steps(session, order, place, wait=clock.sleep)
    )
    return clock


@pytest.fixture
def sharing(make_store: Any, clock: Clock) -> type[Sharing]:
    Sharing.make = staticmethod(lambda: make_store(propagation_settle=SETTLE, purge_rest=REST, definitions_ttl=0))
    Sharing.clock = clock
    return Sharing


def test_sharing_follows_the_model(sharing: type[Sharing]) -> None:
    run_state_machine_as_test(
        sharing,
        settings=settings(
            max_examples=7, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
