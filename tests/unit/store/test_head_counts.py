"""Heads say for counts what their content says, whoever wrote them and wherever that writer died; and what is counted by that is what is found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.errors import BulkheadError
from bulkhead.facts import index_facts
from bulkhead.store import Store, Write, active_months, commits, head_counts, heads, keys, layout, transactions
from bulkhead.store.heads import accounts_write
from tests.conftest import lagging
from tests.support.faults import Failing, Killed, killed
from tests.support.search_samples import LOINC, SNOMED, coding, patient
from tests.support.searches import pages, search
from tests.unit.store.test_integrity import change, check, counts, snapshot
from tests.unit.store.test_layout import forget

ACCOUNT = "Organization/a"
QUERIES = [
    ("Observation", "patient=1"),
    ("Observation", "performer=Patient/2"),
    ("Observation", "code=a"),
    ("Observation", f"code={LOINC}|B"),
    ("Observation", "code=|a"),
    ("Observation", "subject=Patient/1,Patient/2"),
    ("Patient/1/Observation", ""),
    ("Patient/2/*", ""),
]


def observation(name: str, subjects: tuple[str, ...], codes: tuple[int, ...], serial: int) -> dict[str, Any]:
    """One of some patients, the first of which is its subject, with some of `CODES`."""
    people = [{"reference": f"Patient/{one}"} for one in subjects]
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [coding(*CODES[one]) for one in codes], "text": "x"},
        "valueInteger": serial,
        "effectivePeriod": {"start": "2020-01-01", "end": "2020-02-01"},
        **({"subject": people[0]} if people else {}),
        **({"performer": people[1:]} if people[1:] else {}),
    }


CODES = ((LOINC, "a"), (LOINC, "b"), (SNOMED, "A"), (None, "a"))


@dataclass
class Step:
    """Something that is done to some resources: all of it in one commit, or each alone."""

    kind: str
    names: list[str]
    subjects: tuple[str, ...]
    codes: tuple[int, ...]
    large: bool
    dies: int | None
    """Before which of its requests the writer dies."""


STEPS = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(["put", "put", "put", "delete", "accounts", "apart", "stale", "sweep"]),
        names=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
        subjects=st.lists(st.sampled_from("12"), max_size=2, unique=True).map(tuple),
        codes=st.lists(st.integers(0, len(CODES) - 1), max_size=2, unique=True).map(tuple),
        large=st.booleans(),
        dies=st.one_of(st.none(), st.integers(0, 14)),
    ),
    max_size=10,
)


def writes_of(store: Store, step: Step, serial: int) -> list[Write]:
    """The writes of a step, of what there is at that moment."""
    made = []
    for name in step.names:
        base = store.read(f"Observation/{name}")
        alive = base is not None and not base.deleted
        if step.kind == "put":
            made.append(put(store, observation(name, step.subjects, step.codes, serial)))
        elif alive and base is not None:
            made.append(delete(store, base) if step.kind == "delete" else given_accounts(base, serial))
    return made


def put(store: Store, resource: dict[str, Any]) -> Write:
    base = store.read(f"{resource['resourceType']}/{resource['id']}")
    old = index_facts.facts(store.decode(base)) if base and not base.deleted else None
    key = f"{resource['resourceType']}/{resource['id']}"
    return Write(key, base, store.encode(resource), old, index_facts.facts(resource))


def delete(store: Store, base: heads.Head) -> Write:
    return Write(base.key, base, None, index_facts.facts(store.decode(base)), None, method="DELETE")


def given_accounts(base: heads.Head, serial: int) -> Write:
    return accounts_write(base, explicit=(ACCOUNT,) if serial % 2 else ())


@contextmanager
def dying(store: Store, at: int | None) -> Any:
    """A writer that dies before its call `at`; what it knew is gone with it."""
    client = store.table.client
    if at is not None:
        failing: Any = Failing(client, at, killed())
        store.table.client = failing
    try:
        yield
    except Killed:
        active_months._noted.clear()
    finally:
        store.table.client = client


def run(store: Store, step: Step, serial: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if step.kind == "sweep":
        store.sweep()
        return
    if step.kind == "stale":
        leave_behind(store, step)
        return
    with monkeypatch.context() as patch, dying(store, step.dies):
        patch.setattr(commits, "_is_large", lambda writes, others: step.large)
        try:
            made = writes_of(store, step, serial)
            if step.kind == "apart":
                store.commit_each(made)
            elif made:
                store.commit(made)
        except BulkheadError:
            # Of a dead writer's marks; the next one has cleared them away.
            return


def leave_behind(store: Store, step: Step) -> None:
    """Entries of a writer that died, or came too late."""
    for name in step.names:
        facts = index_facts.facts(observation(name, step.subjects, step.codes, 0))
        for (pk, sort), (attributes, via) in keys.index_entries(f"Observation/{name}", facts).items():
            if store.table.get((pk, sort)) is None:
                item: dict[str, Any] = {"pk": {"S": pk}, "sk": {"S": sort}, "v": {"N": "99"}}
                item |= {attribute: {"S": text} for attribute, text in attributes.items()}
                store.table.put(item | ({"via": {"SS": sorted(via)}} if via else {}))


def require_heads_say_what_they_are(store: Store) -> None:
    for (pk, sort), item in snapshot(store).items():
        if sort == keys.HEAD and "v" in item and "txn" not in item:
            head = heads.from_item(item)
            facts = None if head.deleted else index_facts.facts(store.decode(head))
            assert head_counts.restoring(item, head_counts.attributes(pk, facts)) is None
        elif sort.startswith((keys.VERSION, keys.STAGED)):
            assert not {"tpk", "vpk"} & item.keys(), (pk, sort)
        assert "counted" not in item or sort.startswith(keys.STAGED)


def require_counts_are_what_is_found(store: Store) -> None:
    for path, query in QUERIES:
        total = search(store, path, f"{query}&_summary=count")["total"]
        assert total == len(set(pages(store, path, query))), (path, query)


@pytest.fixture(autouse=True)
def read_no_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.search.confirming.FEW", 0)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_was_written_and_whoever_died(
    make_store: Any, steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = make_store(transaction_lease=-1000, definitions_ttl=3600)
    active_months._noted.clear()
    store.commit([put(store, patient(one)) for one in "12"])
    for serial, step in enumerate(steps):
        run(store, step, serial, monkeypatch)
    require_counts_are_what_is_found(store)
    require_heads_say_what_they_are(store)
    store.sweep()
    require_counts_are_what_is_found(store)
    require_heads_say_what_they_are(store)
    assert "missing" not in counts(check(store, repair=False, patience=None))


def filled(store: Store, number: int = 12) -> None:
    store.commit([put(store, patient(one)) for one in "12"])
    store.commit([put(store, observation(f"{n:02d}", ("1",), (0,), n)) for n in range(number)])


def test_a_head_says_one_patient_and_one_code() -> None:
    facts = index_facts.facts(observation("x", ("2", "1"), (2, 1), 0))
    assert keys.head_entry("Observation/x", facts) == (
        {"tpk": "count#Patient/1", "tsk": "Observation#x", "vpk": "count#Observation|code|a", "vsk": f"{SNOMED}#x"},
        frozenset({"performer"}),
    )
    assert keys.head_entry("Observation/x", None) == keys.head_entry("AuditEvent/x", facts) == ({}, frozenset())


def test_keys_that_are_too_long_are_told_apart(store: Store) -> None:
    """By a hash: a code and a system may have any length."""
    long = [f"urn:{'s' * 2000}{n}" for n in range(2)]
    for n, system in enumerate(long):
        resource = observation(f"{n}", ("1",), (), 0)
        resource["code"] = {"coding": [{"system": system, "code": "c" * 3000}]}
        store.commit([put(store, resource)])
        assert search(store, "Observation", f"code={system}|{'c' * 3000}&_summary=count")["total"] == 1
    require_heads_say_what_they_are(store)


def test_no_head_is_read_but_that_of_the_patient(store: Store) -> None:
    filled(store)
    store.is_in_date_order()
    for (path, query), read in {("Observation", "patient=1"): 1, ("Observation", "code=a"): 0}.items():
        with store.metered() as meter:
            assert search(store, path, f"{query}&_summary=count")["total"] == 12
        assert meter.units["BatchGetItem"] == read


def test_a_transaction_counts_from_its_commit_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that makes, moves, changes and deletes: before it is decided, decided and not settled, and settled."""
    from bulkhead.store import large

    filled(store)
    moved = put(store, observation("00", ("2",), (1,), 0))
    changed = put(store, observation("01", ("1",), (0,), 99))
    base = store.read("Observation/02")
    assert base
    made = [put(store, observation(f"new{n}", ("1",), (0,), n)) for n in range(2)]
    made[0].fresh = True
    seen: list[int] = []

    def look() -> None:
        seen.append(search(store, "Observation", "patient=1&_summary=count")["total"])
        require_counts_are_what_is_found(store)
        require_heads_say_what_they_are(store)

    mark_again, finish = large._mark_again, large.finish

    def marked(*arguments: Any, **named: Any) -> None:
        mark_again(*arguments, **named)
        look()

    def decided(*arguments: Any) -> None:
        assert transactions.state_now(*arguments[:2])[0] == transactions.COMMITTED
        look()
        finish(*arguments)

    monkeypatch.setattr(large, "_mark_again", marked)
    monkeypatch.setattr(large, "finish", decided)
    monkeypatch.setattr(commits, "_is_large", lambda writes, others: True)
    store.commit([moved, changed, delete(store, base), *made])
    look()
    assert seen == [12, 12, 12]
    assert search(store, "Observation", "patient=2&_summary=count")["total"] == 1


@pytest.mark.parametrize("large", [False, True])
def test_wherever_a_writer_dies(make_store: Any, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that makes, moves, changes, deletes, and gives an account to what stays: at every third of its calls."""
    monkeypatch.setattr(commits, "_is_large", lambda writes, others: large)
    store: Store = make_store(transaction_lease=-1000, definitions_ttl=3600)
    filled(store, 2)
    at, struck = 0, True
    while struck:
        names = [f"{kind}{at}" for kind in ("moved", "changed", "gone", "given")]
        store.commit([put(store, observation(name, ("1",), (0,), at)) for name in names])
        heads_of = store.read_many(f"Observation/{name}" for name in names)
        made = [put(store, observation(f"new{at}{n}", ("1",), (0, 1), at)) for n in range(2)]
        made[0].fresh = True
        made += [
            put(store, observation(names[0], ("2",), (1,), at)),
            put(store, observation(names[1], ("1",), (0,), -1)),
        ]
        made += [delete(store, heads_of[f"Observation/{names[2]}"])]
        made += [given_accounts(heads_of[f"Observation/{names[3]}"], serial=1)]
        client = store.table.client
        with dying(store, at):
            failing: Any = store.table.client
            store.commit(made)
        struck = failing.struck
        require_counts_are_what_is_found(store)
        require_heads_say_what_they_are(store)
        assert store.table.client is client
        at += 3
    assert at > 3
    store.sweep()
    require_counts_are_what_is_found(store)
    require_heads_say_what_they_are(store)


def test_a_change_of_accounts_in_a_transaction_keeps_what_the_head_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, 3)
    for large in (False, True):
        monkeypatch.setattr(commits, "_is_large", lambda writes, others, large=large: large)
        for together in (1, 3):
            found = [store.read(f"Observation/{n:02d}") for n in range(together)]
            store.commit([given_accounts(head, serial=together) for head in found if head])
            require_heads_say_what_they_are(store)
            assert store.read_many(["Observation/00"])["Observation/00"].accounts == (ACCOUNT,)


def test_a_change_of_accounts_whose_answer_is_lost_is_done(store: Store) -> None:
    filled(store, 1)
    head = store.read("Observation/00")
    assert head
    client = store.table.client
    update = client.update_item

    class Repeating:
        """The SDK sends a request again when its answer is lost."""

        def __getattr__(self, name: str) -> Any:
            if name != "update_item":
                return getattr(client, name)

            def twice(**arguments: Any) -> Any:
                if arguments["Key"]["sk"] == {"S": keys.HEAD}:
                    update(**arguments)
                return update(**arguments)

            return twice

    repeating: Any = Repeating()
    store.table.client = repeating
    # Without an account that is gained it is the only action.
    (made,) = store.commit([accounts_write(head, sealed=True)])
    store.table.client = client
    assert store.read("Observation/00") == made
    require_heads_say_what_they_are(store)


def test_lagging_indexes_show_the_count_of_before(store: Store) -> None:
    filled(store)
    indexes = lagging(store)
    base = store.read("Observation/02")
    assert base
    store.commit([put(store, observation("00", ("2",), (1,), 0)), delete(store, base)])
    assert search(store, "Observation", "patient=1&_summary=count")["total"] == 12
    indexes.catch_up()
    require_counts_are_what_is_found(store)
    assert search(store, "Observation", "patient=1&_summary=count")["total"] == 10


def test_what_the_heads_say_beyond_the_search_does_not_count(store: Store) -> None:
    """Of other types, and by other parameters where an entry has one too many."""
    filled(store, 3)
    condition = {"resourceType": "Condition", "id": "1", "subject": {"reference": "Patient/1"}}
    store.commit([put(store, condition)])
    store.table.write(
        [
            store.table.update_action(
                (item["pk"]["S"], item["sk"]["S"]), "ADD #via :via", {":via": {"SS": ["performer"]}}
            )
            for item in snapshot(store).values()
            if item["sk"]["S"].startswith(keys.ENTRY) and item.get("tpk") == {"S": "Patient/1"}
        ]
    )
    found = [("Observation", "performer=Patient/1", 0), ("Observation", "patient=1", 3), ("Condition", "patient=1", 1),
             ("Patient/1/*", "", 4), ("Patient/1/*", "_type=Condition,Goal", 1), ("Patient/1/Condition", "", 1)]  # fmt: skip
    for path, query, number in found:
        assert search(store, path, f"{query}&_summary=count")["total"] == number, (path, query)


def lose(store: Store, at: keys.Key) -> None:
    change(store, at, **dict.fromkeys(keys.COUNTED))


def mistake(store: Store, at: keys.Key) -> None:
    change(store, at, tpk={"S": keys.counted_target_partition("Patient/2")}, via={"SS": ["subject"]})


def stay(store: Store, at: keys.Key) -> None:
    """What a deletion must not say."""
    said = head_counts.attributes(at[0], index_facts.facts(observation("00", ("1",), (0,), 0)))
    base = store.read(at[0])
    assert base
    store.commit([delete(store, base)])
    change(store, at, **said)


def settle_as_older_code(store: Store, at: keys.Key) -> None:
    """Of a transaction that newer code has begun: what the head was to say stayed aside."""
    said = head_counts.attributes(at[0], index_facts.facts(observation("00", ("1",), (0,), 0)))
    lose(store, at)
    change(store, at, counted={"M": said})


def be_older(store: Store, at: keys.Key) -> None:
    """As code wrote it that knew nothing of counts, nor of by-time."""
    lose(store, at)
    change(store, at, mpk=None, msk=None)


@pytest.mark.parametrize("harm", [be_older, lose, mistake, stay, settle_as_older_code])
def test_the_integrity_check_puts_right_what_a_head_says(store: Store, harm: Callable[..., None]) -> None:
    filled(store, 3)
    at = "Observation/00", keys.HEAD
    harm(store, at)
    with pytest.raises(AssertionError):
        require_heads_say_what_they_are(store)
    assert counts(check(store, repair=False, patience=None)) == {"missing": 1}
    check(store, patience=None)
    require_heads_say_what_they_are(store)
    assert check(store, patience=None).clean


def test_a_table_of_older_code_counts_by_heads_until_it_was_gone_through(store: Store) -> None:
    filled(store)
    for n in range(12):
        lose(store, (f"Observation/{n:02d}", keys.HEAD))
    change(store, (layout._KEY[0], layout._KEY[1]), layout={"N": str(layout.CATEGORIES)})
    forget(store)
    units = []
    for _ in range(2):
        with store.metered() as meter:
            assert search(store, "Observation", "code=a&_summary=count")["total"] == 12
        units.append(meter.units["BatchGetItem"])
        store.check_integrity(repair=True, patience=None)
    assert units == [12, 0]
