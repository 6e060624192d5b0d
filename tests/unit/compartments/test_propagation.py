"""Propagation on a store in memory, with other writers let in wherever they can do harm. On DynamoDB: tests/integration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bulkhead.compartments import propagation
from bulkhead.compartments.propagation import Applied, Findings, Reach, apply, members, propagate, second_look, survey
from bulkhead.errors import Unavailable
from bulkhead.fhir import dates
from bulkhead.settings import Settings
from bulkhead.store import Head, Write
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore

A, B, C = "Organization/a", "Organization/b", "Organization/c"
TARGET = "Patient/1"
ALL = Reach(TARGET, None)


def nothing() -> None:
    pass


class Store(MemoryStore):
    """Writes as the real one does; `before_commit` runs between a worker's reading and its writing."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(keep_stale=True)
        self.settings = Settings(**settings)
        self.before_commit: Callable[[], None] = nothing
        self.broken: set[str] = set()
        self.calls: list[str] = []
        self.held = False
        """Whether a large transaction holds everything. Real ones: tests/integration/test_propagation.py."""

    def are_held(self, resources: Iterable[str]) -> bool:
        return self.held

    def release(self, resources: Iterable[str]) -> None:
        pass

    def read(self, key: str) -> Head | None:
        self.calls.append("read")
        return super().read(key)

    def read_many(self, keys: Any) -> dict[str, Head]:
        self.calls.append("read_many")
        return super().read_many(keys)

    def version(self, head: Head) -> Version:
        return Version(head, self.decode)

    def decode(self, head: Head) -> dict[str, Any]:
        if head.key in self.broken:
            raise ValueError("not a body")
        return super().decode(head)

    def commit_each(self, writes: Sequence[Write]) -> set[str]:
        self.calls.append("commit_each")
        interruption, self.before_commit = self.before_commit, nothing
        interruption()
        if any(write.key in self.broken for write in writes):
            raise ValueError("cannot be written")
        late = {write.key for write in writes if self.current[write.key] != write.base}
        for write in writes:
            if write.key not in late:
                self._next(write.key, write.body, write.explicit, None)
                made = write.head("")
                self.adjust(write.key, inherited=dict(write.inherited), ends=made.ends, lapsed=made.lapsed)
        return late

    def touch(self, key: str) -> Head:
        base = super().touch(key)
        self.current[key] = replace(self.past[key, base.version - 1], version=base.version, updated=base.updated)
        return self.current[key]

    def adjust(self, key: str, **changes: Any) -> None:
        self.current[key] = replace(self.current[key], **changes)

    def observation(self, name: str, subject: str = TARGET, **head: Any) -> str:
        key = f"Observation/{name}"
        self.put({"resourceType": "Observation", "id": name, "subject": {"reference": subject}})
        self.adjust(key, **head)
        return key


@pytest.fixture
def store() -> Store:
    made = Store()
    made.put({"resourceType": "Patient", "id": "1"}, accounts=(A,))
    return made


def accounts(store: Store, key: str) -> tuple[str, ...]:
    return store.current[key].accounts


def listed(store: Any, target: str = TARGET) -> list[str]:
    return [key for page in members(store, target) for key in page]


class TestMembers:
    def test_lists_what_the_definition_names_and_never_the_target(self, store: Any) -> None:
        key = store.observation("o")
        store.put({"resourceType": "Encounter", "id": "e", "status": "planned", "subject": {"reference": TARGET}})
        store.put({"resourceType": "Basic", "id": "b", "author": {"reference": TARGET}})
        store.put({"resourceType": "Patient", "id": "1", "link": [{"other": {"reference": TARGET}, "type": "seealso"}]})
        store.put({"resourceType": "Library", "id": "l", "subjectReference": {"reference": TARGET}})
        assert listed(store) == ["Basic/b", "Encounter/e", key]

    def test_an_encounter_is_not_its_own_member(self, store: Any) -> None:
        store.put({"resourceType": "Encounter", "id": "e"})
        store.put({"resourceType": "Observation", "id": "o", "encounter": {"reference": "Encounter/e"}})
        assert listed(store, "Encounter/e") == ["Observation/o"]

    def test_pages_of_a_thousand(self, store: Any) -> None:
        keys = sorted(store.observation(f"{n:04}") for n in range(2001))
        assert [len(page) for page in members(store, TARGET)] == [1000, 1000, 1]
        assert listed(store) == keys
        assert [key for page in members(store, TARGET, after=keys[1500]) for key in page] == keys[1501:]


class TestApply:
    def test_reads_the_members_then_the_target_then_writes(self, store: Any) -> None:
        key = store.observation("o")
        assert apply(store, TARGET, [key], reaches=ALL) == Applied(standing=1, changed=1)
        assert store.calls == ["read_many", "read", "commit_each"]
        assert accounts(store, key) == (A,)

    def test_what_stands_is_not_written(self, store: Any) -> None:
        key = store.observation("o", inherited={TARGET: (A,)})
        assert apply(store, TARGET, [key, key], reaches=ALL) == Applied(standing=1, changed=0)
        assert "commit_each" not in store.calls
        assert store.current[key].version == 1

    def test_keeps_what_a_member_has_from_elsewhere(self, store: Any) -> None:
        key = store.observation("o", explicit=(B,), inherited={"Patient/2": (C,)})
        apply(store, TARGET, [key], reaches=ALL)
        assert store.current[key].explicit == (B,)
        assert store.current[key].inherited == {"Patient/2": (C,), TARGET: (A,)}
        store.adjust(TARGET, explicit=())
        apply(store, TARGET, [key], reaches=ALL)
        assert store.current[key].inherited == {"Patient/2": (C,)}

    def test_nobody_else_and_nothing_deleted_is_touched_or_counted(self, store: Any) -> None:
        moved = store.observation("moved", "Patient/2", inherited={TARGET: (B,)})
        deleted = store.observation("deleted")
        store.delete(deleted)
        assert apply(store, TARGET, [moved, deleted, "Observation/unknown"], reaches=ALL) == Applied(standing=0)
        assert store.current[moved].version == 1

    def test_a_clinical_update_in_between_is_neither_lost_nor_undone(self, store: Any) -> None:
        key, other = store.observation("o"), store.observation("other")
        body = {"resourceType": "Observation", "id": "o", "subject": {"reference": TARGET}, "status": "final"}
        store.before_commit = lambda: store.put(body)
        assert apply(store, TARGET, [key, other], reaches=ALL) == Applied(standing=2, changed=2)
        assert store.decode(store.current[key])["status"] == "final"
        assert accounts(store, key) == accounts(store, other) == (A,)

    def test_a_member_that_leaves_in_between_gets_nothing(self, store: Any) -> None:
        key = store.observation("o")
        store.before_commit = lambda: store.observation("o", "Patient/2")
        assert apply(store, TARGET, [key], reaches=ALL) == Applied(standing=0)
        assert accounts(store, key) == ()

    def test_of_a_target_that_changes_in_between_the_next_reading_counts(self, store: Any) -> None:
        key = store.observation("o")

        def change() -> None:
            store.adjust(TARGET, explicit=(B,))
            store.observation("o")

        store.before_commit = change
        apply(store, TARGET, [key], reaches=ALL)
        assert accounts(store, key) == (B,)

    def test_conflicts_without_end_are_left(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(propagation, "pause", lambda attempt: None)
        key, other = store.observation("o"), store.observation("other")
        commit_each = store.commit_each

        def contended(writes: Sequence[Write]) -> Any:
            store.touch(key)
            return commit_each(writes)

        monkeypatch.setattr(store, "commit_each", contended)
        assert apply(store, TARGET, [key, other], reaches=ALL) == Applied(standing=1, changed=1, left=(key,))

    @pytest.mark.parametrize("size", [1, 2, 7])
    def test_one_that_cannot_be_written_stops_none_of_the_others(
        self, store: Any, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        keys = [store.observation(str(n)) for n in range(size)]
        store.broken = {keys[size // 2]}
        monkeypatch.setattr(store, "decode", lambda head: MemoryStore.decode(store, head))
        assert apply(store, TARGET, keys, reaches=ALL) == Applied(
            standing=size - 1, changed=size - 1, left=(keys[size // 2],)
        )

    def test_nor_one_that_cannot_be_read(self, store: Any) -> None:
        key, other = store.observation("o"), store.observation("other")
        store.broken = {key}
        assert apply(store, TARGET, [key, other], reaches=ALL) == Applied(standing=1, changed=1, left=(key,))

    def test_an_outage_is_nobodys_fault(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = [store.observation(str(n)) for n in range(9)]
        calls = 0

        def down(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            raise ConnectionError

        def dies(writes: Sequence[Write]) -> Any:
            monkeypatch.setattr(store, "read", down)
            return down()

        monkeypatch.setattr(store, "commit_each", dies)
        with pytest.raises(ConnectionError):
            apply(store, TARGET, keys, reaches=ALL)
        assert calls == 2

    def test_another_kind_of_target_passes_on_only_while_it_propagates(self, store: Any) -> None:
        store.put({"resourceType": "Encounter", "id": "e"}, accounts=(A,))
        store.put({"resourceType": "Observation", "id": "o", "encounter": {"reference": "Encounter/e"}})
        assert apply(store, "Encounter/e", ["Observation/o"], reaches=ALL) == Applied(standing=1)
        store.adjust("Encounter/e", propagate=True)
        assert apply(store, "Encounter/e", ["Observation/o"], reaches=ALL) == Applied(standing=1, changed=1)


class TestSurvey:
    def test_finds_each_kind(self, store: Any) -> None:
        right = store.observation("right", inherited={TARGET: (A,)})
        wrong = store.observation("wrong")
        stranger = store.observation("stranger", "Patient/2")
        broken = store.observation("broken")
        store.broken = {broken}
        found = survey(store, TARGET, [right, wrong, stranger, broken, "Observation/absent"], reaches=ALL)
        assert found == Findings(1, (wrong,), (stranger, "Observation/absent"), (broken,))
        assert found.amiss == (wrong, broken)

    def test_who_inherits_need_not_be_read(self, store: Any) -> None:
        """Ten thousand members that stand as asked are told by their heads' attributes alone."""
        key = store.observation("o", inherited={TARGET: (A,)})
        store.broken = {key}
        assert survey(store, TARGET, [key], reaches=ALL) == Findings(1)

    def test_a_second_look_finds_who_committed_late(self, store: Any) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                store.observation("late")

        found = second_look(
            store, TARGET, Findings(5, unsettled=("Observation/late", "Observation/never")), reaches=ALL, wait=wait
        )
        assert found == Findings(5, ("Observation/late",), ("Observation/never",))
        assert len(waits) == 3

    def test_a_transaction_in_progress_gets_more_time(self, store: Any) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 7:
                store.observation("late")

        store.held = True
        unsettled = Findings(unsettled=("Observation/late",))
        assert second_look(store, TARGET, unsettled, reaches=ALL, wait=wait) == Findings(wrong=("Observation/late",))
        assert len(waits) == 7

    def test_what_a_transaction_never_stops_writing_is_amiss(self, store: Any) -> None:
        store.held = True
        found = second_look(
            store, TARGET, Findings(unsettled=("Observation/x",)), reaches=ALL, wait=lambda seconds: None
        )
        assert found == Findings(wrong=("Observation/x",))

    def test_no_second_look_where_all_is_settled(self, store: Any) -> None:
        def wait(seconds: float) -> None:
            raise AssertionError

        assert second_look(store, TARGET, Findings(5), reaches=ALL, wait=wait) == Findings(5)


class TestPropagate:
    def test_counts_members_and_lists_again(self, store: Any) -> None:
        keys = [store.observation(str(n)) for n in range(250)]
        newcomer = "Observation/new"
        store.before_commit = lambda: store.observation("new")
        assert propagate(store, TARGET, keys, changed_at=0.0, fence=None, naming=True) == 251
        assert {accounts(store, key) for key in [*keys, newcomer]} == {(A,)}
        assert {store.current[key].version for key in keys} == {2}

    def test_one_reading_is_enough_where_nothing_changed(self, store: Any) -> None:
        keys = [store.observation(str(n), inherited={TARGET: (A,)}) for n in range(5)]
        store.reads.clear()
        assert propagate(store, TARGET, keys, changed_at=None, fence=None, naming=True) == 5
        assert store.reads == ["BatchGetItem", "GetItem", "GetItem"]

    @pytest.mark.parametrize("changed", ["updated", "flagged"])
    def test_a_change_a_moment_ago_may_have_writers_that_did_not_see_it(self, store: Any, changed: str) -> None:
        """Another request made it, and may have died since: the members are listed again."""
        store.adjust(TARGET, **{changed: dates.now()})
        late = "Observation/late"
        keys = [store.observation(str(n), inherited={TARGET: (A,)}) for n in range(2)]
        store.observation("late")
        assert propagate(store, TARGET, keys, changed_at=None, fence=None, naming=True) == 3
        assert accounts(store, late) == (A,)

    def test_repairs(self, store: Any) -> None:
        keys = [store.observation(str(n), inherited={TARGET: (A,)} if n % 2 else {}) for n in range(5)]
        assert propagate(store, TARGET, keys, changed_at=None, fence=None, naming=True) == 5
        assert {accounts(store, key) for key in keys} == {(A,)}
        assert [store.current[key].version for key in keys] == [2, 1, 2, 1, 2]

    def test_waits_until_the_index_shows_what_was_written_before(self) -> None:
        store: Any = Store(propagation_settle=5)
        store.put({"resourceType": "Patient", "id": "1"}, accounts=(A,))
        waits: list[float] = []
        now = time.time()
        propagate(store, TARGET, [], changed_at=now, wait=waits.append, fence=None, naming=True)
        assert waits == [pytest.approx(5, abs=0.5)]

    def test_a_batch_with_too_many_other_writers_gets_another_turn(
        self, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [store.observation(str(n)) for n in range(3)]
        commit_each, refused = store.commit_each, [True]

        def contended(writes: Sequence[Write]) -> Any:
            if refused:
                refused.pop()
                raise Unavailable("too many writers")
            return commit_each(writes)

        monkeypatch.setattr(store, "commit_each", contended)
        assert propagate(store, TARGET, keys, changed_at=0.0, fence=None, naming=True) == 3
        assert {accounts(store, key) for key in keys} == {(A,)}

    def test_names_those_that_resist(self, store: Any) -> None:
        keys = [store.observation(str(n)) for n in range(3)]
        store.broken = {keys[1]}
        with pytest.raises(Unavailable) as caught:
            propagate(store, TARGET, keys, changed_at=0.0, fence=None, naming=True)
        assert [issue.expression for issue in caught.value.issues] == [None, keys[1]]
        assert accounts(store, keys[0]) == accounts(store, keys[2]) == (A,)


ROOTS = ("Patient/1", "Patient/2")
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(ROOTS), st.lists(st.sampled_from((A, B, C)), unique=True)),
        st.tuples(st.just("move"), st.integers(0, 3), st.sampled_from(ROOTS)),
        st.tuples(st.just("work"), st.sampled_from(ROOTS), st.lists(st.integers(0, 3))),
        # Someone writes a member between a worker's reading and its writing.
        st.tuples(st.just("contended"), st.sampled_from(ROOTS), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(CHANGES)
def test_whatever_happened_a_last_run_of_each_root_makes_it_true(changes: list[tuple[str, Any, Any]]) -> None:
    """Workers of old runs, late, doubled and in any order, among changes of subjects and of roots: the model is two dicts."""
    store: Any = Store()
    given: dict[str, tuple[str, ...]] = dict.fromkeys(ROOTS, ())
    subject = dict.fromkeys(range(4), ROOTS[0])
    for root in ROOTS:
        store.put({"resourceType": "Patient", "id": root[-1]})
    for n in subject:
        store.observation(str(n), subject[n])
    for kind, first, second in changes:
        if kind == "set":
            given[first] = tuple(second)
            store.adjust(first, explicit=given[first])
        elif kind == "move":
            subject[first] = second
            store.observation(str(first), second, inherited={second: given[second]} if given[second] else {})
        elif kind == "work":
            apply(store, first, [f"Observation/{n}" for n in second], reaches=ALL)
        else:
            store.before_commit = lambda n=second: store.touch(f"Observation/{n}")
            apply(store, first, [f"Observation/{second}"], reaches=ALL)
    counted = [
        propagate(store, root, listed(store, root), changed_at=None, wait=lambda seconds: None, fence=None, naming=True)
        for root in ROOTS
    ]
    assert {n: accounts(store, f"Observation/{n}") for n in subject} == {n: given[subject[n]] for n in subject}
    assert counted == [sum(1 for named in subject.values() if named == root) for root in ROOTS]


@pytest.mark.parametrize("fence", [None, (A,)])
def test_a_fenced_run_opens_nothing_by_taking_the_last_account(fence: tuple[str, ...] | None) -> None:
    """What of a shared type carries no account is read by everyone: only who is not fenced may decide that."""
    store = Store()
    target = "Practitioner/1"
    store.put({"resourceType": "Practitioner", "id": "1"})
    store.put({"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": target}})
    store.current["PractitionerRole/r"] = replace(store.current["PractitionerRole/r"], inherited={target: (A,)})
    assert apply(store, target, ["PractitionerRole/r"], reaches=Reach(target, fence)).changed == 1  # type: ignore[arg-type] # a store in memory
    head = store.current["PractitionerRole/r"]
    assert head.accounts == ()
    assert head.open is (fence is None)
