"""Who has which accounts: random requests, runs and transactions, all of them stopped, resumed and killed anywhere, against ten lines.

Every request is a writer that goes on by single DynamoDB calls (`stepping`), so that requests lie across each other as they may;
time passes only where somebody waits; the indexes lag, and a propagation waits longer than they do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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

from bulkhead import bundles, resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import propagation
from bulkhead.errors import BulkheadError
from bulkhead.facts import index_facts
from bulkhead.fhir import dates
from bulkhead.jobs import lifecycle, propagation_steps
from bulkhead.jobs.lifecycle import Background
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Head, Store, commits, keys
from bulkhead.store.heads import NEVER, OWN, Grants
from bulkhead.store.jobs import DONE
from infra.local.lag import LaggingIndexes
from tests.support.bundle_samples import SYSTEM, bundle, context, update
from tests.support.clock import Clock, stopped
from tests.support.faults import Killed, killed
from tests.support.scene import A, B, C, Scene, manifest
from tests.support.stepping import Writer

PATIENTS = ("Patient/1", "Patient/2")
ROOTS = (*PATIENTS, "Encounter/1")
NEWCOMER = "Patient/new"
NAMES = tuple(f"Observation/{n}" for n in range(3))
LARGE = "large"
LAG, SETTLE = 2, 3
# Of the time that a writer may take and die: one that takes longer looks at its targets again once it has committed.
IN_TIME = 0.7

OF_A = replace(EVERYBODY, accounts=(A,))
WRITER_OF_A = replace(OF_A, sets_accounts=False)

SECRET = {"system": "urn:labels", "code": "secret"}
PRIVATE = "urn:labels|secret"

LASTS = st.sampled_from((None, None, 4.0, 40.0))
"""For how many seconds the first account of a request lasts."""
INHERIT = st.sampled_from((None, None, True, False))
ACCOUNTS = st.lists(st.sampled_from((A, B, C)), unique=True, max_size=2).map(tuple)
NAMED = st.lists(st.sampled_from((*ROOTS, NEWCOMER)), unique=True, max_size=3).map(tuple)
# How far a request comes before others have their turn; None: to its end.
STEPS = st.sampled_from((None, 1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 25))
State = dict[str, Any]


Own = tuple[tuple[str, str | None], ...]
"""Own accounts, each with its end; None where it may be any."""


def observation(key: str, named: tuple[str, ...], serial: int, private: bool = False) -> dict[str, Any]:
    people = [{"reference": one} for one in named if not one.startswith("Encounter/")]
    encounters = [{"reference": one} for one in named if one.startswith("Encounter/")]
    content: dict[str, Any] = {
        "resourceType": "Observation",
        "id": key.partition("/")[2],
        "identifier": [{"system": SYSTEM, "value": f"{serial % 3}"}],
        "status": "final",
        "code": {"text": "x"},
        "valueInteger": serial,
    }
    content |= {"meta": {"security": [SECRET]}} if private else {}
    return content | ({"performer": people} if people else {}) | ({"encounter": encounters[0]} if encounters else {})


@dataclass
class Flight:
    """A request that is under way: what it writes, and what follows where it comes to its end."""

    writer: Writer
    begun: float
    serials: dict[str, int] = field(default_factory=dict)
    """The clinical writes: key -> what tells them."""
    root: str = ""
    """The target of a run."""
    own: dict[str, Own] = field(default_factory=dict)
    """What it makes of the own accounts of resources."""
    sealed: dict[str, bool] = field(default_factory=dict)
    """Which of these it seals, or opens."""
    alone: bool = True
    """Whether nobody else was at work on these."""
    landed: Callable[[Any], None] = lambda result: None


@dataclass
class Job:
    """A job as the state machine of AWS would have it, which delivers its tasks at least once, in parallel and now and then again."""

    id: str
    root: str
    request: Flight
    state: State
    waiting: list[State] = field(default_factory=list)
    """Items of the Map that were not delivered yet."""
    delivered: list[tuple[str, State]] = field(default_factory=list)
    over: bool = False


class Accounts(RuleBasedStateMachine):
    make: Callable[[str], Store]
    clock: Clock
    lag: float = LAG

    @initialize(ways=st.sampled_from(("batch", "single")))
    def begin(self, ways: str) -> None:
        self.store = type(self).make(ways)
        self.scene = Scene(self.store)
        self.scene.create(*ROOTS)
        self.indexes = LaggingIndexes(self.store.table.client, self.lag, self.clock.monotonic)
        client: Any = self.indexes
        self.store.table.client = client
        self.flights: list[Flight] = []
        self.jobs: list[Job] = []
        self.serial = 0
        self.told: dict[str, list[int]] = {}
        """Clinical writes that somebody was told are done."""
        self.own: dict[str, set[Own]] = {key: {()} for key in (*NAMES, *ROOTS)}
        """What the own accounts of a resource may be: one possibility, but where requests lay across each other, or died."""
        self.sealed: dict[str, set[bool]] = {key: {False} for key in NAMES}
        """Whether a resource may be sealed, likewise."""
        self.finished: dict[str, Any] = {root: standing(self.store.read(root)) for root in ROOTS}
        """How a target stood when the last run that finished on it has looked at its members."""

    # What is there

    def heads(self) -> dict[str, Head]:
        return self.store.read_many((*NAMES, *ROOTS, NEWCOMER))

    def named(self, head: Head) -> list[str]:
        return sorted(index_facts.targets(self.store.decode(head)))

    def inherits_nothing(self, head: Head) -> bool:
        return head.sealed or self.private(head)

    def private(self, head: Head) -> bool:
        """Whether a resource, or what was deleted, has the label."""
        last = self.store.read_version(head.key, head.version - 1) if head.deleted else head
        assert last is not None
        return SECRET in self.store.decode(last).get("meta", {}).get("security", ())

    def expected(self, head: Head, heads: dict[str, Head]) -> Grants:
        """The model: its own, then what the targets that it names have of their own, of Patients always, of others while they propagate.

        Of others within bounds, by what it has from elsewhere. Deleted targets give as others do. What is sealed or private has its own only.
        An account has the latest of its ends; what is handed on for the sake of another account ends with that.
        """
        given = [head.granted_by(OWN)]
        named = [] if self.inherits_nothing(head) else [heads[root] for root in self.named(head) if root in heads]
        carries = merged([*given, *(root.granted_by(OWN) for root in named if root.type == "Patient")])
        for root in named:
            own = root.granted_by(OWN)
            if root.type == "Patient":
                given.append(own)
            elif root.propagate:
                reasons = {
                    one: [carries[other] for other in root.within[one] if other in carries]
                    for one in own
                    if one in root.within
                }
                given.append(
                    {
                        one: min(end, max(reasons[one])) if one in reasons else end
                        for one, end in own.items()
                        if reasons.get(one, True)
                    }
                )
        return merged(given)

    def is_possible(self, head: Head, possible: Own) -> bool:
        """Whether a resource has these own accounts, up to those that have ended."""
        now, own = self.clock.stamp(), head.granted_by(OWN)
        left = [(account, end) for account, end in possible if (account in own if end is None else end > now)]
        return [account for account, _ in left] == list(own) and all(end in (None, own[one]) for one, end in left)

    def ends(self, accounts: tuple[str, ...], lasts: float | None) -> dict[str, str]:
        """The ends of a request whose first account lasts so many seconds."""
        end = dates.text(datetime.fromtimestamp(self.clock.now + (lasts or 0), UTC))
        return dict.fromkeys(accounts[:1], end) if lasts else {}

    # Requests

    def start(self, work: Callable[[Store], Any], steps: int | None, large: bool = False, **more: Any) -> Flight:
        flight = Flight(Writer(self.store, work, LARGE if large else "writer"), self.clock.now, **more)
        for other in self.flights:
            if flight.own.keys() & other.own.keys():
                flight.alone = other.alone = False
        for key, accounts in flight.own.items():
            self.own[key].add(accounts)
        for key, sealed in flight.sealed.items():
            self.sealed[key].add(sealed)
        self.flights.append(flight)
        self.go_on(flight, steps)
        return flight

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
            for key, serial in flight.serials.items():
                self.told.setdefault(key, []).append(serial)
            for key, accounts in flight.own.items():
                if flight.alone:
                    self.own[key] = {accounts}
            for key, sealed in flight.sealed.items():
                if flight.alone:
                    self.sealed[key] = {sealed}
            flight.landed(flight.writer.result)
        elif not isinstance(error, BulkheadError | Killed):
            raise error

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    @rule(key=st.sampled_from(NAMES), named=NAMED, steps=STEPS, private=st.booleans())
    def write(self, key: str, named: tuple[str, ...], steps: int | None, private: bool = False) -> None:
        serial = self.next_serial()
        resource = observation(key, named, serial, private)
        self.start(
            lambda store: resources.update(Session.of(store, EVERYBODY), resource, key), steps, serials={key: serial}
        )

    @rule(key=st.sampled_from((*NAMES, *ROOTS)), steps=STEPS)
    def delete(self, key: str, steps: int | None) -> None:
        self.start(lambda store: resources.delete(Session.of(store, EVERYBODY), key), steps)

    @rule(root=st.sampled_from(ROOTS))
    def write_a_root_again(self, root: str) -> None:
        """Its accounts, and whether it propagates, are what they were before it was deleted."""
        before = self.store.read(root)
        if before and before.deleted and not self.flights:
            self.scene.create_again(root)
            after = self.scene.head(root)
            assert (after.explicit, after.propagate, after.within) == (before.explicit, before.propagate, before.within)

    @precondition(lambda self: not self.flights)
    @rule(root=st.sampled_from(ROOTS), given=st.booleans(), propagates=st.booleans())
    def a_fenced_caller_sets_accounts(self, root: str, given: bool, propagates: bool) -> None:
        """Alone, so that it is known what stood before: the accounts of others stay where they are."""
        before = self.heads()
        try:
            set_accounts_run.run(Session.of(self.store, OF_A), root, Request((A,) if given else (), propagates))
        except BulkheadError:
            assert self.heads() == before
            return
        if propagates:
            self.finished[root] = surveyed[id(self.store)] or standing(self.store.read(root))
        self.own[root] = {owned(self.scene.head(root))}
        after, now = self.heads(), self.clock.stamp()
        for key, head in after.items():
            if key in before and self.settled_before(key, before):
                kept = {one for one in before[key].accounts if one != A and before[key].until(one) > now}
                assert kept <= set(head.accounts), key
                assert set(head.accounts) - set(before[key].accounts) <= {A}, key

    def settled_before(self, key: str, before: dict[str, Head]) -> bool:
        """Whether a resource stood as all of its targets asked: a run brings it to what they ask, whoever sent for it."""
        if key not in NAMES or before[key].deleted:
            return True
        return set(before[key].accounts) == set(self.expected(before[key], before))

    @precondition(lambda self: not self.flights)
    @rule(
        key=st.sampled_from((*NAMES, *PATIENTS)),
        named=st.sampled_from(PATIENTS),
        removes=st.booleans(),
        private=st.booleans(),
    )
    def a_fenced_caller_deletes_and_writes(self, key: str, named: str, removes: bool, private: bool) -> None:
        """Whatever comes of it: nobody else loses an account that is the resource's own, and nothing is closed or opened by it."""
        before = self.store.read(key)
        serial = self.next_serial()
        patient = key.startswith("Patient/")
        resource = (
            {"resourceType": "Patient", "id": key[8:]} if patient else observation(key, (named,), serial, private)
        )
        try:
            if removes:
                resources.delete(Session.of(self.store, WRITER_OF_A), key)
            resources.update(Session.of(self.store, WRITER_OF_A), resource, key)
            if not patient:
                self.told.setdefault(key, []).append(serial)
        except BulkheadError:
            pass
        if after := self.store.read(key):
            if before:
                now = self.clock.stamp()
                assert after.explicit == tuple(one for one, end in before.granted_by(OWN).items() if end > now)
                assert after.sealed == before.sealed
                assert patient or self.private(after) == self.private(before)
            self.own[key] = {owned(after)}

    @rule(key=st.sampled_from(PATIENTS), accounts=ACCOUNTS, steps=STEPS)
    def write_a_patient(self, key: str, accounts: tuple[str, ...], steps: int | None) -> None:
        """Again, if it was deleted; with accounts of its own, as one may write them who has the right."""
        given = [{"reference": account} for account in accounts]
        resource = {"resourceType": "Patient", "id": key.partition("/")[2], "meta": {"accounts": given}}
        self.start(
            lambda store: resources.update(Session.of(store, EVERYBODY), resource, key),
            steps,
            own={key: tuple((account, None) for account in accounts)},
        )

    @rule(
        keys=st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3),
        accounts=ACCOUNTS,
        named=NAMED,
        large=st.booleans(),
        steps=STEPS,
    )
    def arrive_together(
        self, keys: list[str], accounts: tuple[str, ...], named: tuple[str, ...], large: bool, steps: int | None
    ) -> None:
        """A patient with accounts and some of its resources, in one transaction."""
        serials = {key: self.next_serial() for key in keys}
        meta = {"meta": {"accounts": [{"reference": account} for account in accounts]}} if accounts else {}
        patient = {"resourceType": "Patient", "id": "new", **meta}
        written = [observation(key, tuple({*named, NEWCOMER}), serial) for key, serial in serials.items()]
        entries = [update(patient), *(update(one) for one in written)]
        self.start(lambda store: bundles.process(bundle(*entries), context(store)), steps, large, serials=serials)

    @rule(key=st.sampled_from((*NAMES, *ROOTS)), accounts=ACCOUNTS, steps=STEPS, lasts=LASTS, inherit=INHERIT)
    def own_accounts(
        self,
        key: str,
        accounts: tuple[str, ...],
        steps: int | None,
        lasts: float | None = None,
        inherit: bool | None = None,
    ) -> None:
        ends = self.ends(accounts, lasts)
        inherit = inherit if key in NAMES else None
        request = Request(accounts, ends=ends, inherit=inherit)
        self.start(
            lambda store: set_accounts_run.run(Session.of(store, EVERYBODY), key, request),
            steps,
            own={key: asked_own(request)},
            sealed={} if inherit is None else {key: not inherit},
        )

    @rule(root=st.sampled_from(ROOTS), accounts=ACCOUNTS, steps=STEPS, lasts=LASTS)
    def propagate(self, root: str, accounts: tuple[str, ...], steps: int | None, lasts: float | None = None) -> None:
        request = Request(accounts, True, self.ends(accounts, lasts))

        def work(store: Store) -> Any:
            set_accounts_run.run(Session.of(store, EVERYBODY), root, request)
            return surveyed[id(store)]

        self.start(
            work,
            steps,
            root=root,
            own={root: asked_own(request)},
            landed=lambda seen: self.finished.update({root: seen}),
        )

    @rule(root=st.sampled_from(ROOTS), accounts=ACCOUNTS, steps=STEPS, lasts=LASTS)
    def propagate_in_the_background(
        self, root: str, accounts: tuple[str, ...], steps: int | None, lasts: float | None = None
    ) -> None:
        request = Request(accounts, True, self.ends(accounts, lasts))
        flights: list[Flight] = []

        def start(job: str) -> None:
            self.jobs.append(Job(job, root, flights[0], {"job": job, "next": "plan"}))

        def work(store: Store) -> Any:
            return set_accounts_run.run(
                Session.of(store, EVERYBODY), root, request, if_match=None, background=Background(start)
            )

        flights.append(self.start(work, 0, own={root: asked_own(request)}))
        self.go_on(flights[0], steps)

    @rule(
        writer=st.sampled_from(("move", "leave", "arrive", LARGE)),
        run=st.sampled_from(("run", "run", "job")),
        root=st.sampled_from(ROOTS),
        key=st.sampled_from(NAMES),
        accounts=st.permutations(((A,), (B,), (A, C), ())),
        steps=st.integers(2, 9),
    )
    def a_run_passes_a_writer(
        self, writer: str, run: str, root: str, key: str, accounts: list[tuple[str, ...]], steps: int
    ) -> None:
        self.across(writer, run, root, key, accounts, steps)

    @rule(
        first=st.sampled_from(("run", "job", "worker", "own", "move", "open", "unlabel")),
        second=st.sampled_from(("move", "leave", "arrive", LARGE, "run", "own", "seal", "open", "label", "unlabel")),
        root=st.sampled_from(ROOTS),
        key=st.sampled_from(NAMES),
        accounts=st.permutations(((A,), (B,), (A, C), ())),
        steps=st.integers(1, 20),
    )
    def others_pass_a_run(
        self, first: str, second: str, root: str, key: str, accounts: list[tuple[str, ...]], steps: int
    ) -> None:
        self.across(first, second, root, key, accounts, steps)

    def across(self, first: str, second: str, root: str, key: str, accounts: list[tuple[str, ...]], steps: int) -> bool:
        """One request stands, somewhere, while another about the same resources comes and goes. Whether it had come to its end."""
        begun = len(self.flights)
        self.about(first, root, key, accounts[0], steps)
        standing_still = self.flights[begun:]
        self.about(second, root, key, accounts[1], None)
        for flight in standing_still:
            if flight in self.flights:
                self.go_on(flight, None)
        return not standing_still

    def about(self, kind: str, root: str, key: str, accounts: tuple[str, ...], steps: int | None) -> None:
        if kind in ("move", "unlabel"):
            self.write(key, (root,), steps)
        elif kind == "label":
            self.write(key, (root,), steps, private=True)
        elif kind in ("seal", "open"):
            self.own_accounts(key, accounts, steps, inherit=kind == "open")
        elif kind == "leave":
            self.write(key, (next(one for one in ROOTS if one != root),), steps)
        elif kind == "run":
            self.propagate(root, accounts, steps)
        elif kind == "worker":
            self.start(
                lambda store: propagation.apply(store, root, [key], reaches=propagation.Reach(root, None)), steps
            )
        elif kind == "job":
            self.propagate_in_the_background(root, accounts, steps)
            for _ in range(8 if steps is None else 0):
                self.deliver(len(self.jobs) - 1, None, False)
        elif kind in ("arrive", LARGE):
            self.arrive_together([key], accounts, (root,), kind == LARGE, steps)
        else:
            self.own_accounts(key, accounts, steps)

    # The state machine, whose tasks come late, twice, and in any order that it allows

    @precondition(lambda self: any(not job.over for job in self.jobs))
    @rule(which=st.integers(0, 99), steps=STEPS, again=st.booleans())
    def deliver(self, which: int, steps: int | None, again: bool) -> None:
        open_jobs = [job for job in self.jobs if not job.over and job.request not in self.flights]
        if not open_jobs:
            return
        job = open_jobs[which % len(open_jobs)]
        if again and job.delivered:
            step, state = job.delivered[which % len(job.delivered)]
            self.start(lambda store: self.task(store, step, state), steps)
        elif job.waiting:
            item = job.waiting[which % len(job.waiting)]
            self.start(lambda store: self.task(store, "work", item), steps, landed=lambda _: self.worked(job, item))
        elif job.state["next"] == "finish":
            self.start(lambda store: self.task(store, "finish", job.state), steps, landed=lambda _: self.closed(job))
        else:
            known = self.store.jobs.read(job.id)
            if known and known.state == "starting":
                self.clock.now = max(self.clock.now, known.created + lifecycle.START_GRACE + 1)
            self.clock.sleep(job.state.get("settle", 0))
            state = dict(job.state)
            self.start(
                lambda store: self.task(store, "plan", state), steps, landed=lambda new: self.planned(job, state, new)
            )

    def task(self, store: Store, step: str, state: State) -> Any:
        work: dict[str, Callable[[Store, State], State]] = {
            "plan": propagation_steps.plan,
            "work": propagation_steps.work,
            "finish": propagation_steps.finish,
        }
        result = work[step](store, dict(state))
        return result, surveyed.get(id(store))

    def planned(self, job: Job, before: State, result: Any) -> None:
        state, seen = result
        job.delivered.append(("plan", before))
        if job.waiting or job.state != before:
            return
        job.state = state | {"seen": seen}
        job.waiting = manifest(self.store, state)

    def worked(self, job: Job, item: State) -> None:
        job.delivered.append(("work", item))
        if item in job.waiting:
            job.waiting.remove(item)

    def closed(self, job: Job) -> None:
        job.over = True
        known = self.store.jobs.read(job.id)
        if known and known.state == DONE:
            self.finished[job.root] = job.state["seen"]

    # What happens to them

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(0, 9), steps=STEPS)
    def resume(self, which: int, steps: int | None) -> None:
        self.go_on(self.flights[which % len(self.flights)], steps)

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(0, 9))
    def kill(self, which: int) -> None:
        self.end(self.flights[which % len(self.flights)])

    def end(self, flight: Flight) -> None:
        """Killed. But who took his time and has just committed is let go on: the one moment in which a death leaves a resource behind."""
        heads = self.heads()
        committed = any(
            key in heads and not heads[key].deleted and self.store.decode(heads[key])["valueInteger"] == serial
            for key, serial in flight.serials.items()
        )
        committed |= any(key in heads and not heads[key].sealed for key in flight.sealed)
        if not (committed and self.clock.now - flight.begun > IN_TIME):
            flight.writer.kill(killed())
        else:
            flight.writer.finish()
        self.land(flight)

    @rule()
    def restart(self) -> None:
        """Of the whole process: all that was under way dies."""
        for flight in list(self.flights):
            self.end(flight)
        self.store.abort_open()
        self.store.sweep()

    @rule(seconds=st.sampled_from((0.1, 1, 10)))
    def time_passes(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    # What must hold

    @invariant()
    def who_finished_has_left_nothing_behind(self) -> None:
        """The accounts of all resources that nobody is at work on, and whose targets have finished their last run."""
        if not hasattr(self, "store"):
            return
        heads = self.heads()
        busy = {key for flight in self.flights for key in (*flight.serials, flight.root)}
        settled = {root for root in ROOTS if standing(heads.get(root)) == self.finished[root]}
        for key in NAMES:
            head = heads.get(key)
            if head and not head.deleted and key not in busy and settled.issuperset(self.named(head)):
                expected = self.expected(head, heads)
                if any(heads[root].within for root in self.named(head) if root in heads):
                    # What it gained from elsewhere since may open more to it, with its next write or run.
                    assert set(head.accounts) <= set(expected), key
                    assert all(head.until(one) <= expected[one] for one in head.accounts), key
                else:
                    assert {one: head.until(one) for one in head.accounts} == expected, key
                    assert head.accounts == tuple(expected), key
        for key, possible in self.own.items():
            if key in heads:
                assert any(self.is_possible(heads[key], own) for own in possible), key
        for key, sealed in self.sealed.items():
            if key in heads:
                assert heads[key].sealed in sealed, key
        living = {key: head for key, head in heads.items() if not head.deleted}
        entries = [keys.account_entry(key, account)[0] for key, head in living.items() for account in head.accounts]
        assert len(self.store.table.get_many(entries)) == len(entries), "a resource is not found by its account"

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.restart()
        self.who_finished_has_left_nothing_behind()
        self.clinical_writes_are_all_there()
        self.clock.sleep(60)
        for root, head in sorted(self.heads().items(), key=lambda pair: not pair[0].startswith("Patient/")):
            if root in NAMES:
                continue
            if head.deleted:
                self.scene.create_again(root)
            if head.within:
                listed = [key for page in propagation.members(self.store, root) for key in page]
                count = propagation.propagate(self.store, root, listed, changed_at=None, fence=None, naming=True)
                assert count == self.members(root)
            else:
                assert self.scene.set(root, *head.explicit, propagate=True) == 1 + self.members(root)
        heads = self.heads()
        for key in NAMES:
            if key in heads and not heads[key].deleted:
                assert heads[key].accounts == tuple(self.expected(heads[key], heads)), key
        self.the_index_is_right()

    def members(self, root: str) -> int:
        heads = self.heads()
        return sum(root in self.named(heads[key]) for key in NAMES if key in heads and not heads[key].deleted)

    def clinical_writes_are_all_there(self) -> None:
        """Each version that somebody was told of, once and in its place: nothing is lost, nothing undone by a run."""
        for key in NAMES:
            past = self.store.versions(key, None, 1000)[::-1]
            written = [self.store.decode(head)["valueInteger"] for head in past if not head.deleted]
            changes = [one for n, one in enumerate(written) if n == 0 or written[n - 1] != one]
            assert len(changes) == len(set(changes)), f"{key} went back to what it was"
            assert set(self.told.get(key, ())) <= set(changes), f"{key} has lost a write"

    def the_index_is_right(self) -> None:
        self.indexes.catch_up()
        # A restart does not find the transactions that the index does not show yet: the sweeper comes again.
        self.store.abort_open()
        self.store.sweep()
        report = self.store.check_integrity(repair=True, patience=None)
        assert (report.missing, report.damaged) == (0, 0)
        self.indexes.catch_up()
        heads = {key: head for key, head in self.heads().items() if not head.deleted}
        for account in (A, B, C):
            carriers = sorted(key for key, head in heads.items() if account in head.accounts)
            assert [pointer.source for pointer in self.store.in_account(account)] == carriers


def merged(given: list[Grants]) -> Grants:
    """What several givers give together: each account once, with the latest of its ends."""
    found: Grants = {}
    for grants in given:
        for account, end in grants.items():
            found[account] = max(end, found.get(account, ""))
    return found


def owned(head: Head) -> Own:
    return tuple(head.granted_by(OWN).items())


def asked_own(request: Request) -> Own:
    return tuple((account, request.ends.get(account, NEVER)) for account in request.accounts)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stopped. Runs have one thread, as the writers that they are; transactions of threads of this name are large ones."""
    is_large = commits._is_large
    monkeypatch.setattr(
        commits, "_is_large", lambda *arguments: threading.current_thread().name == LARGE or is_large(*arguments)
    )
    monkeypatch.setattr(propagation, "_THREADS", 1)
    return stopped(monkeypatch)


surveyed: dict[int, Any] = {}
"""By store: how the target stood when the members that were listed last were looked at."""


def standing(head: Head | None) -> Any:
    return head and (head.version, head.propagate, head.within, head.deleted)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills `surveyed`."""
    passing, members = propagation._passing, propagation.members

    def passing_on(store: Store, target: str) -> Any:
        if surveyed.get(id(store)) is None:
            surveyed[id(store)] = standing(store.read(target))
        return passing(store, target)

    def listing(store: Store, target: str, after: str | None = None) -> Any:
        surveyed[id(store)] = None
        return members(store, target, after)

    monkeypatch.setattr(propagation, "_passing", passing_on)
    monkeypatch.setattr(propagation, "members", listing)
    monkeypatch.setattr(propagation_steps, "members", listing)


@pytest.fixture
def accounts(make_store: Any, clock: Clock, watched: None) -> type[Accounts]:
    Accounts.make = staticmethod(lambda ways: make_store(propagation_settle=SETTLE, private=PRIVATE, bulk_writes=ways))
    Accounts.clock = clock
    return Accounts


class AtOnce(Accounts):
    """Where the indexes do not lag, and a run does not wait for them: so no writer takes so long that it looks again."""

    lag = 0


@pytest.fixture
def at_once(accounts: type[Accounts], make_store: Any) -> type[Accounts]:
    AtOnce.make = staticmethod(lambda ways: make_store(private=PRIVATE, bulk_writes=ways))
    return AtOnce


PASSING = [
    ("move", "run"),
    ("move", "job"),
    ("arrive", "run"),
    ("large", "run"),
    ("worker", "run"),
    ("worker", "leave"),
    ("run", "move"),
    ("run", "run"),
    ("run", "large"),
    ("own", "run"),
    ("open", "run"),
    ("unlabel", "run"),
    ("run", "open"),
    ("run", "label"),
    ("worker", "seal"),
]
AT_ONCE = [("move", "run"), ("arrive", "run"), ("open", "run"), ("unlabel", "run")]


@pytest.mark.parametrize(("first", "second"), PASSING)
def test_a_request_is_passed_by_another_at_each_of_its_calls(accounts: type[Accounts], first: str, second: str) -> None:
    pass_at_each_call(accounts(), first, second)


@pytest.mark.parametrize(("first", "second"), AT_ONCE)
def test_so_it_is_where_no_time_passes(at_once: type[Accounts], first: str, second: str) -> None:
    pass_at_each_call(at_once(), first, second)


def pass_at_each_call(machine: Accounts, first: str, second: str) -> None:
    machine.begin("batch")
    key, root = NAMES[0], PATIENTS[0]
    for steps in range(1, 60):
        wanted = ((A,), (B,), (C,))[steps % 3 :] + ((A,), (B,), (C,))[: steps % 3]
        if first == "run":
            # Takes away what the other one gives back.
            wanted = (wanted[0], wanted[1], wanted[0])
        # The resource comes to the patient, or is a member already: only then a late worker can do harm.
        if first in ("worker", "own"):
            machine.write(key, (root,), None)
        elif "unlabel" in (first, second):
            machine.write(key, (root,), None, private=True)
        elif "open" in (first, second) or second == "label":
            machine.write(key, (root,), None)
            if second != "label":
                machine.own_accounts(key, (), None, inherit=False)
        else:
            machine.delete(key, None)
        machine.propagate(root, wanted[0], None)
        if first == "worker":
            machine.own_accounts(root, wanted[1], None)
        ended = machine.across(first, second, root, key, [wanted[1], wanted[2]], steps)
        machine.who_finished_has_left_nothing_behind()
        if ended:
            break
    machine.teardown()
    assert steps > 3


@pytest.mark.parametrize("written", [5, 6])
def test_a_writer_that_a_run_does_not_see_commits_before_its_end(at_once: type[Accounts], written: int) -> None:
    """It has read the patient before the run changed it, and comes so soon afterwards that it does not look again: the run has to."""
    machine = at_once()
    machine.begin("batch")
    for steps in range(4, 40, 2):
        machine.delete(NAMES[0], None)
        machine.write(NAMES[0], PATIENTS[:1], written)
        machine.propagate(PATIENTS[0], ((A,), (B,))[steps // 2 % 2], steps)
        for flight in list(machine.flights):
            machine.go_on(flight, None)
        machine.who_finished_has_left_nothing_behind()
    machine.teardown()


def test_accounts_follow_the_model(accounts: type[Accounts]) -> None:
    run_state_machine_as_test(
        accounts,
        settings=settings(
            max_examples=16, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
