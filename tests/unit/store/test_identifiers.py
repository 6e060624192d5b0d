"""Conditional creates against all other writers of an identifier, stopped at every DynamoDB call, under indexes that show nothing.

Whatever the order: a resource is made under a condition only if nothing that meets it was there at that moment. Nobody else is
ever refused.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from bulkhead import bundles, resources
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.errors import Conflict, MultipleMatches
from bulkhead.resources import conditional
from bulkhead.resources.conditions import condition
from bulkhead.session import Session
from bulkhead.store import Store, commits, identifiers
from bulkhead.store.capacity import metered
from bulkhead.store.heads import OWN, accounts_write
from tests.conftest import lagging
from tests.support.bundle_samples import SYSTEM, bundle, context, create, key_of, observation, patient, post, update
from tests.support.clock import stopped
from tests.support.faults import killed
from tests.support.stepping import Writer, run

Work = Callable[[Store], Any]
LARGE = "large"
_values = count()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for another writer gets its turn at once; and threads of this name commit whatever they write as a large transaction."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(identifiers, "_LOOKS", (0.01,))
    monkeypatch.setattr(identifiers, "_LEASE", 0)
    is_large = commits._is_large
    monkeypatch.setattr(
        commits, "_is_large", lambda *arguments: threading.current_thread().name == LARGE or is_large(*arguments)
    )


@pytest.fixture(scope="module")
def lagging_store(make_store: Any) -> Store:
    """One for all: each race is about an identifier of its own."""
    store: Store = make_store()
    lagging(store)
    return store


def found(store: Store, value: str) -> set[str]:
    """The active patients that have an identifier, for a reader at this moment."""
    hints = store.by_value("Patient", "identifier", value)
    heads = [head for head in store.read_many(hint.key for hint in hints).values() if not head.deleted]
    return {head.key for head in heads if (body := store.decode(head)).get("active") and identified(body, value)}


def identified(body: dict[str, Any], value: str) -> bool:
    return any(one["value"] == value for one in body.get("identifier", ()))


def under(value: str, criteria: str = "identifier={}") -> Any:
    return condition("Patient", criteria.format(f"{SYSTEM}|{value}"), "x", base="")


# Who creates under a condition: returns the key of what was made, None where somebody else's was found.


def conditional_create(value: str, criteria: str = "identifier={}") -> Work:
    def work(store: Store) -> str | None:
        head, made = resources.create(Session.of(store, EVERYBODY), patient(value, active=True), under(value, criteria))
        return head.key if made else None

    return work


def conditional_update(value: str) -> Work:
    def work(store: Store) -> str | None:
        head, made = conditional.update(Session.of(store, EVERYBODY), patient(value, active=True), under(value))
        return head.key if made else None

    return work


def conditional_entry(value: str) -> Work:
    def work(store: Store) -> str | None:
        entries = [
            create(patient(value, active=True), "urn:uuid:p", f"identifier={SYSTEM}|{value}"),
            create(observation("urn:uuid:p")),
        ]
        made = bundles.process(bundle(*entries), context(store))["entry"][0]
        return key_of(made) if made["response"]["status"].startswith("201") else None

    return work


# Who writes an identifier without a condition.


def plain_create(value: str) -> Work:
    return lambda store: resources.create(Session.of(store, EVERYBODY), patient(value, active=True))[0].key


def plain_put(value: str) -> Work:
    key = f"Patient/put-{value}"
    return lambda store: (
        resources.update(Session.of(store, EVERYBODY), patient(value, active=True, id=key[8:]), key)[0].key
    )


def plain_update(value: str) -> Work:
    """Of a patient who is there, with another identifier."""
    key = f"Patient/old-{value}"
    return lambda store: (
        resources.update(Session.of(store, EVERYBODY), patient(value, active=True, id=key[8:]), key)[0].key
    )


def activation(value: str) -> Work:
    """Of a patient who has the identifier, and meets the condition that asks for an active one from now on."""
    key = f"Patient/idle-{value}"
    return lambda store: (
        resources.update(Session.of(store, EVERYBODY), patient(value, active=True, id=key[8:]), key)[0].key
    )


def prepare(store: Store, value: str, plain: Callable[[str], Work]) -> None:
    if plain is plain_update:
        resources.update(Session.of(store, EVERYBODY), patient("x" + value, id=f"old-{value}"), f"Patient/old-{value}")
    if plain is activation:
        resources.update(
            Session.of(store, EVERYBODY), patient(value, active=False, id=f"idle-{value}"), f"Patient/idle-{value}"
        )


def race(
    store: Store,
    conditionals: Sequence[tuple[Callable[[str], Work], str]],
    plains: Sequence[tuple[Callable[[str], Work], str]],
    schedule: Iterable[int],
) -> None:
    """Let the writers (what they do, and how they commit) go on as scheduled, and check what came of it."""
    value = f"v{next(_values)}"
    for plain, _ in plains:
        prepare(store, value, plain)
    order: list[str] = []
    writers = [Writer(store, work(value), name) for work, name in [*conditionals, *plains]]
    run(writers, schedule, lambda: order.extend(sorted(found(store, value) - set(order))))
    made = [writer.result for writer in writers[: len(conditionals)] if writer.result]
    plain_ones = {writer.result for writer in writers[len(conditionals) :]}
    assert set(order) == {*made, *plain_ones}, "what was made is there, and nothing else"
    assert not made or order[0] == made[0], "under a condition something was made although something was there"
    assert len(made) < 2
    for writer in writers:
        # Who comes to late finds both of them.
        assert writer.error is None or (isinstance(writer.error, MultipleMatches) and made and plain_ones)


def interleavings(conditional_steps: int, plain_steps: int) -> list[list[int]]:
    """One goes some steps, then the other some, then the first one to its end: every place where two writers can meet twice."""
    steps = (conditional_steps, plain_steps)
    return [
        [first] * begun + [1 - first] * between + [first] * 100
        for first in (0, 1)
        for begun in range(steps[first] + 1)
        for between in range(1, steps[1 - first] + 1)
    ]


def interruptions(conditional_steps: int, plain_steps: int) -> list[list[int]]:
    """The whole of the one at each place of the other."""
    steps = (conditional_steps, plain_steps)
    return [[first] * begun + [1 - first] * 100 for first in (0, 1) for begun in range(1, steps[first] + 1)]


CONDITIONALS = [(conditional_create, "small"), (conditional_update, "small"), (conditional_entry, LARGE)]
PLAINS = [(plain_create, "small"), (plain_put, "small"), (plain_update, "small"), (plain_create, LARGE)]


def test_a_plain_create_meets_a_conditional_one_anywhere(lagging_store: Store) -> None:
    for schedule in interleavings(10, 5):
        race(lagging_store, CONDITIONALS[:1], PLAINS[:1], schedule)


@pytest.mark.parametrize("made", CONDITIONALS, ids=lambda made: f"{made[0].__name__}, {made[1]}")
@pytest.mark.parametrize("plain", PLAINS, ids=lambda plain: f"{plain[0].__name__}, {plain[1]}")
def test_others_interrupt_each_other(lagging_store: Store, made: Any, plain: Any) -> None:
    stride = 1 if made[1] == LARGE and plain is PLAINS[0] else 4
    for schedule in interruptions(*(16 if writer[1] == LARGE else 6 for writer in (made, plain)))[::stride]:
        race(lagging_store, [made], [plain], schedule)


@pytest.mark.parametrize("seed", range(12))
def test_many_at_once(lagging_store: Store, seed: int) -> None:
    chance = random.Random(seed)
    conditionals = [chance.choice(CONDITIONALS) for _ in range(chance.randint(2, 3))]
    plains = [chance.choice(PLAINS) for _ in range(chance.randint(0, 1))]
    schedule = chance.choices(range(len(conditionals) + len(plains)), k=60)
    race(lagging_store, conditionals, plains, schedule)


def by_active(value: str) -> Work:
    return conditional_create(value, "identifier={}&active=true")


def test_who_comes_to_meet_the_condition_meanwhile_counts(lagging_store: Store) -> None:
    for schedule in interleavings(10, 5)[::4]:
        race(lagging_store, [(by_active, "small")], [(activation, "small")], schedule)


def crowd(store: Store, values: Sequence[str], size: int, accounts: tuple[str, ...] = ()) -> None:
    """Patients with all these identifiers, none of them active."""
    named = [{"system": SYSTEM, "value": value} for value in values]
    made = [update(patient(identifier=named, active=False, id=f"{values[0]}-{n:03}")) for n in range(size)]
    post(store, *made)
    if accounts:
        heads = store.read_many(f"Patient/{values[0]}-{n:03}" for n in range(size))
        store.commit([accounts_write(head, explicit=accounts) for head in heads.values()])


def test_of_any_number_who_comes_to_meet_the_condition_counts(lagging_store: Store) -> None:
    """Ninety have the identifier: the one that is activated meanwhile, at each place, is neither the first nor the last."""
    schedules = [[0] * begun + [1] * 100 for begun in range(9, 17)]
    values = [f"v{next(_values)}" for _ in schedules]
    crowd(lagging_store, values, 90)
    for value, schedule in zip(values, schedules, strict=True):
        key, order = f"Patient/{values[0]}-045", list[str]()

        def activate(store: Store, key: str = key) -> None:
            body = store.decode(store.read(key) or pytest.fail("it is gone"))
            resources.update(Session.of(store, EVERYBODY), {**body, "active": True}, key)

        def note(value: str = value, order: list[str] = order) -> None:
            order.extend(sorted(found(lagging_store, value) - set(order)))

        writers = [Writer(lagging_store, by_active(value)), Writer(lagging_store, activate)]
        run(writers, schedule, note)
        assert [writer.error for writer in writers] == [None, None]
        made = writers[0].result
        assert order == ([made, key] if made else [key]), "made although one met the condition"
        body = lagging_store.decode(lagging_store.read(key) or pytest.fail("it is gone"))
        resources.update(Session.of(lagging_store, EVERYBODY), {**body, "active": False}, key)


@pytest.mark.parametrize("size", ["small", LARGE])
def test_more_than_can_be_watched_are_refused_unless_the_caller_does_not_see_them(store: Store, size: str) -> None:
    crowd(store, ["v"], 110, ("Organization/b",))
    refused = Writer(store, by_active("v"), size)
    refused.finish()
    assert isinstance(refused.error, MultipleMatches)
    assert "resources have this identifier" in str(refused.error)
    assert not found(store, "v")
    assert store.table.get(("Patient|identifier|v", "#")) is None
    fenced = Writer(store, made_by(OF_A, "v"), size)
    fenced.finish()
    assert fenced.error is None
    assert found(store, "v") == {fenced.result}


@pytest.mark.parametrize("end", [None, "2020-01-01T00:00:00.000Z"], ids=["never any", "ended"])
def test_a_crowd_without_accounts_is_not_seen_either(store: Store, end: str | None) -> None:
    """Another tenant gave them up, or let them end: that must not keep a tenant from making its own."""
    crowd(store, ["v"], 110)
    if end:
        heads = store.read_many(f"Patient/v-{n:03}" for n in range(110))
        ends = {OWN: {"Organization/b": end}}
        store.commit([accounts_write(head, explicit=("Organization/b",), ends=ends) for head in heads.values()])
    fenced = Writer(store, made_by(OF_A, "v"))
    fenced.finish()
    assert fenced.error is None
    assert found(store, "v") == {fenced.result}


def test_a_crowd_of_a_shared_type_without_accounts_is_seen(store: Store) -> None:
    named = {"identifier": [{"system": SYSTEM, "value": "v"}]}
    post(store, *(update({"resourceType": "Practitioner", "id": f"v-{n:03}", **named}) for n in range(110)))
    active = condition("Practitioner", f"identifier={SYSTEM}|v&active=true", "x", base="")
    with pytest.raises(MultipleMatches):
        conditional.create(Session.of(store, OF_A), {"resourceType": "Practitioner", **named}, active)


def test_a_dead_conditional_writer_holds_nobody_up(lagging_store: Store) -> None:
    for at in range(7):
        value = f"v{next(_values)}"
        dead = Writer(lagging_store, conditional_create(value))
        for _ in range(at):
            dead.step()
        dead.kill(killed())
        left = found(lagging_store, value)
        assert (conditional_create(value)(lagging_store) is None) == bool(left)
        assert plain_create(value)(lagging_store)
        assert len(found(lagging_store, value)) == 2
        assert lagging_store.table.get((f"Patient|identifier|{value}", "#")) is None


def test_another_conditional_writer_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it makes is found; where it makes nothing, it is not waited for long."""
    clock = stopped(monkeypatch)
    monkeypatch.setattr(identifiers, "_LEASE", 2)
    first = Writer(store, conditional_create("v"))
    while store.table.get(("Patient|identifier|v", "#")) is None:
        first.step()
    begun = clock.now
    second = Writer(store, conditional_create("v"))
    for _ in range(9):
        second.step()
    first.finish()
    second.finish()
    assert first.result
    assert second.result is None
    assert clock.now - begun < 2
    dead = Writer(store, conditional_create("w"))
    while store.table.get(("Patient|identifier|w", "#")) is None:
        dead.step()
    dead.kill(killed())
    assert conditional_create("w")(store)
    assert 2 <= clock.now - begun < 6


def test_a_dead_plain_writer_holds_nobody_up(lagging_store: Store) -> None:
    for at in range(4):
        value = f"v{next(_values)}"
        dead = Writer(lagging_store, plain_create(value))
        for _ in range(at):
            dead.step()
        dead.kill(killed())
        left = found(lagging_store, value)
        assert (conditional_create(value)(lagging_store) is None) == bool(left)
        assert len(found(lagging_store, value)) == 1


def test_nothing_is_left_of_who_was_overtaken(store: Store) -> None:
    loser = Writer(store, conditional_create("v"))
    for _ in range(2):
        loser.step()
    winner = plain_create("v")(store)
    loser.finish()
    assert loser.result is None
    items = store.table.client.scan(TableName=store.table.name, ConsistentRead=True)["Items"]
    identity = [item["sk"]["S"] for item in items if item["pk"]["S"].startswith("Patient|")]
    assert identity == [f"{SYSTEM}#{winner.partition('/')[2]}"]
    assert {item["pk"]["S"] for item in items if item["pk"]["S"].startswith("Patient/")} == {winner}


def test_what_a_plain_create_costs(store: Store) -> None:
    """A read unit for its identifier, in the request that reads the accounts of its patients where there is one."""
    resources.create(Session.of(store, EVERYBODY), patient("0"))
    subject = resources.create(Session.of(store, EVERYBODY), patient("1"))[0].key
    resources.create(Session.of(store, EVERYBODY), observation(subject))
    with metered(store.table.client) as meter:
        resources.create(Session.of(store, EVERYBODY), patient("2"))
    assert meter.requests == {"BatchWriteItem": 1, "BatchGetItem": 1, "PutItem": 1}
    assert meter.units["BatchGetItem"] == 1
    with metered(store.table.client) as meter:
        resources.create(
            Session.of(store, EVERYBODY), observation(subject, identifier=[{"system": SYSTEM, "value": "o"}])
        )
    assert meter.requests == {"BatchWriteItem": 1, "BatchGetItem": 1, "PutItem": 1}


# Callers who are fenced off from each other.

OF_A = replace(EVERYBODY, accounts=("Organization/a",), sets_accounts=False)
OF_B = replace(EVERYBODY, accounts=("Organization/b",), sets_accounts=False)


def made_by(who: Caller, value: str, criteria: str = "identifier={}") -> Work:
    def work(store: Store) -> str | None:
        head, made = resources.create(Session.of(store, who), patient(value, active=True), under(value, criteria))
        return head.key if made else None

    return work


def plainly(who: Caller, value: str, subject: str = "") -> Work:
    def work(store: Store) -> str:
        more = {"link": [{"other": {"reference": subject}, "type": "seealso"}]} if subject else {}
        return resources.create(Session.of(store, who), patient(value, active=True, **more))[0].key

    return work


@pytest.mark.parametrize("other", ["small", LARGE])
def test_those_whom_it_does_not_see_hold_nobody_up(store: Store, other: str) -> None:
    """Twenty conditional creates, each while two of another tenant make resources with the same identifier, call by call."""
    chart = resources.create(Session.of(store, OF_B), {"resourceType": "Patient"})[0].key
    for turn in range(20):
        value = f"v{next(_values)}"
        crowd = [Writer(store, plainly(OF_B, value, subject), other) for subject in ("", chart)]
        writer = Writer(store, made_by(OF_A, value))
        steps = 0
        while writer.step():
            # The others go on at another pace in each turn, and begin anew whenever they have come to their end.
            for n, rival in enumerate(crowd):
                for _ in range(1 + (turn + n) % 4):
                    if not rival.step():
                        assert rival.error is None
                        crowd[n] = rival = Writer(store, plainly(OF_B, value, ("", chart)[n]), other)
            steps += 1
            assert steps < 80, "others hold it up"
        assert writer.error is None
        assert writer.result
        for rival in crowd:
            rival.finish()


def race_of_a(store: Store, value: str, other: Writer, schedule: Sequence[int]) -> None:
    """A conditional create of A against a writer of what A sees: it makes nothing if the other was there first."""
    order: list[str] = []
    writers = [Writer(store, made_by(OF_A, value)), other]
    run(writers, schedule, lambda: order.extend(sorted(found(store, value) - set(order))))
    assert all(writer.error is None for writer in writers)
    made = writers[0].result
    assert not made or order[0] == made, "made although something that it sees was there"


def test_whom_it_sees_it_minds(lagging_store: Store) -> None:
    """A resource that another tenant makes, and that inherits what shows it to the caller, counts as any other does."""
    both = replace(EVERYBODY, accounts=("Organization/a", "Organization/b"), sets_accounts=False)
    chart = resources.create(Session.of(lagging_store, both), {"resourceType": "Patient"})[0].key
    for schedule in interleavings(10, 6)[::3]:
        value = f"v{next(_values)}"
        race_of_a(lagging_store, value, Writer(lagging_store, plainly(OF_B, value, chart)), schedule)


@pytest.mark.parametrize("size", ["small", LARGE])
def test_whom_it_sees_it_minds_though_more_have_the_identifier_than_it_can_watch(
    lagging_store: Store, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """Twenty of another tenant have it, and there is room to watch two."""
    look = identifiers.Guard.look
    monkeypatch.setattr(identifiers.Guard, "look", lambda guard, room: look(guard, 2))
    schedules = [[1] * begun + [0] * between + [1] * 100 for begun in range(1, 8, 2) for between in range(5, 12, 2)]
    values = [f"v{next(_values)}" for _ in schedules]
    crowd(lagging_store, values, 20, ("Organization/b",))
    for value, schedule in zip(values, schedules, strict=True):
        race_of_a(lagging_store, value, Writer(lagging_store, plainly(OF_A, value), size), schedule)


MANY = tuple(f"Organization/a{n}" for n in range(40))
FENCES = {
    "one account": OF_A,
    "forty accounts": replace(OF_A, accounts=MANY),
    "a patient": replace(EVERYBODY, patient="mine", sets_accounts=False),
    "a patient and accounts": replace(OF_A, patient="mine"),
}


def seen_as(caller: Caller, subject: str, value: str, criteria: str = "") -> Work:
    """Observations about a patient: with criteria under a condition, else a plain create."""

    def work(store: Store) -> str | None:
        resource = observation(subject, identifier=[{"system": SYSTEM, "value": value}])
        wanted = condition("Observation", criteria.format(f"{SYSTEM}|{value}"), "x", base="") if criteria else None
        head, made = resources.create(Session.of(store, caller), resource, wanted)
        return head.key if made else None

    return work


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("criteria", ["", "identifier={}&status=preliminary"], ids=["plain", "conditional"])
@pytest.mark.parametrize("size", ["small", LARGE])
def test_neither_plain_nor_conditional_writers_that_it_does_not_see_hold_it_up(
    store: Store, fence: str, criteria: str, size: str
) -> None:
    """Each call of one writer comes among several of two of another tenant, which begin anew without end. Their criteria meet nothing."""
    caller = FENCES[fence]
    post(store, update(patient(id="mine")), update(patient(id="theirs")))
    for key, accounts in (("Patient/mine", caller.accounts or ()), ("Patient/theirs", OF_B.accounts or ())):
        head = store.read(key)
        assert head
        store.commit([accounts_write(head, explicit=tuple(accounts))])
    for turn in range(4):
        value = f"v{next(_values)}"
        rival = seen_as(OF_B, "Patient/theirs", value, criteria)
        crowd = [Writer(store, rival, size) for _ in range(2)]
        writer = Writer(store, seen_as(caller, "Patient/mine", value, "identifier={}"))
        steps = 0
        while writer.step():
            for n, other in enumerate(crowd):
                for _ in range(1 + (turn + n) % 4):
                    if not other.step():
                        # Of their own two, one may come too often.
                        assert other.error is None or isinstance(other.error, Conflict)
                        crowd[n] = other = Writer(store, rival, size)
            steps += 1
            assert steps < 80, "others hold it up"
        assert writer.error is None
        assert writer.result
        for other in crowd:
            other.finish()
        again = Writer(store, seen_as(caller, "Patient/mine", value, "identifier={}"))
        again.finish()
        assert (again.result, again.error) == (None, None), "it finds what it has made"
        assert store.table.get((f"Observation|identifier|{value}", "#")) is None


def test_callers_of_one_fence_make_one(store: Store) -> None:
    post(store, update(patient(id="mine")))
    caller = FENCES["a patient"]
    for schedule in interleavings(10, 10)[::3]:
        value = f"v{next(_values)}"
        writers = [Writer(store, seen_as(caller, "Patient/mine", value, "identifier={}")) for _ in range(2)]
        run(writers, schedule, lambda: None)
        assert [writer.error for writer in writers] == [None, None]
        assert len([writer for writer in writers if writer.result]) == 1


def test_who_sees_all_and_who_is_fenced_make_one(store: Store) -> None:
    """Their slots keep each other out: what either makes, the other finds, where it sees it."""
    post(store, update(patient(id="mine")))
    fenced = FENCES["a patient"]
    for schedule in interleavings(10, 10)[::3]:
        value = f"v{next(_values)}"
        callers = (fenced, EVERYBODY)
        writers = [Writer(store, seen_as(caller, "Patient/mine", value, "identifier={}")) for caller in callers]
        run(writers, schedule, lambda: None)
        assert [writer.error for writer in writers] == [None, None]
        assert len([writer for writer in writers if writer.result]) == 1
