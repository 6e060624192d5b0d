"""The count from keys, of a type or of what accounts have of it, is that of the heads, whatever was written, and while others write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.fhir import dates
from bulkhead.session import Session
from bulkhead.store import Head, Lineage, Store, counts, keys, layout, transactions
from bulkhead.store.heads import OWN
from bulkhead.store.table import Table, key_of
from tests.conftest import lagging
from tests.support.changes import change as changed
from tests.support.changes import creation, facts
from tests.unit.store.test_integrity import change
from tests.unit.store.test_layout import forget

MOST = 1_000_000


def session(store: Store) -> Session:
    return Session.of(store, EVERYBODY)


def write(store: Store, name: str, text: str = "x") -> None:
    resources.update(session(store), {"resourceType": "Basic", "id": name, "language": text}, f"Basic/{name}")


def delete(store: Store, name: str) -> None:
    resources.delete(session(store), f"Basic/{name}", None)


def by_heads(store: Store, resource_type: str) -> int:
    keys = {moment.key for moment in store.by_time(resource_type)}
    return sum(1 for head in store.read_many(keys).values() if not head.deleted)


NAMES = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(st.sampled_from(["write", "delete"]), NAMES), max_size=15)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_was_written_and_deleted(make_store: Any, steps: list[tuple[str, str]]) -> None:
    store = make_store()
    for number, (kind, name) in enumerate(steps):
        if kind == "write":
            write(store, name, f"{number}")
        else:
            delete(store, name)
    assert store.count("Basic", most=MOST) == by_heads(store, "Basic")
    assert store.count("Patient", most=MOST) == 0


def test_no_head_is_read(store: Store) -> None:
    for name in "abc":
        write(store, name)
    delete(store, "a")
    with store.metered() as meter:
        assert store.count("Basic", most=MOST) == 2
    assert set(meter.requests) == {"Query"}


def test_more_keys_than_a_count_may_read(store: Store) -> None:
    for number in range(10):
        write(store, f"{number}")
    assert store.count("Basic", most=4) is None


def test_a_head_that_moves_while_it_is_counted_counts_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}" for number in range(8)]
    for name in names:
        write(store, name)
    query = Table.query
    moved: list[str] = []

    def after_first(table: Table, *arguments: Any, **named: Any) -> Any:
        for item in query(table, *arguments, **named):
            yield item
            if named.get("index") and not moved:
                moved.append(item["pk"]["S"])
                # One that was listed, and all the others that were not.
                for name in names:
                    write(store, name, "moved")

    monkeypatch.setattr(Table, "query", after_first)
    assert store.count("Basic", most=MOST) == len(names)
    assert moved


def commit_large(store: Store, decide: Callable[[Table, str], None], monkeypatch: pytest.MonkeyPatch) -> int | None:
    """What is counted while a transaction that makes three and deletes one has its marks on these, and `decide` has had its say."""
    from bulkhead.store import large

    write(store, "gone")
    write(store, "stays")
    monkeypatch.setattr("bulkhead.store.commits.TRANSACT_LIMIT", 1)
    seen: list[int | None] = []
    mark_again = large._mark_again

    def looked(table: Table, transaction: str, *rest: Any, **named: Any) -> None:
        mark_again(table, transaction, *rest, **named)
        decide(table, transaction)
        seen.append(store.count("Basic", most=MOST))

    monkeypatch.setattr(large, "_mark_again", looked)
    writes = [
        resources.prepare_create(session(store), {"resourceType": "Basic"}, f"Basic/n{n}", fresh=n > 0)
        for n in range(3)
    ]
    head = store.read("Basic/gone")
    assert head is not None
    store.commit([*writes, resources.prepare_delete(store, head)])
    return seen[0]


def test_what_a_transaction_is_about_to_do_does_not_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_large(store, lambda table, transaction: None, monkeypatch) == 2
    assert store.count("Basic", most=MOST) == by_heads(store, "Basic") == 4


def test_what_a_transaction_has_decided_counts_before_it_is_settled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(table: Table, transaction: str) -> None:
        assert transactions.decide(table, transaction, transactions.COMMITTED)

    assert commit_large(store, decide, monkeypatch) == 4


def test_lagging_indexes_show_the_count_of_before(store: Store) -> None:
    write(store, "a")
    write(store, "b")
    indexes = lagging(store)
    write(store, "a", "other")
    delete(store, "b")
    write(store, "c")
    assert store.count("Basic", most=MOST) == 2
    indexes.catch_up()
    assert store.count("Basic", most=MOST) == 2
    delete(store, "c")
    indexes.catch_up()
    assert store.count("Basic", most=MOST) == 1


def test_a_table_of_older_code_counts_once_its_deletions_are_marked(store: Store) -> None:
    write(store, "a")
    write(store, "b")
    delete(store, "b")
    head = store.read("Basic/b")
    assert head is not None
    older = {"S": f"{head.updated}#b#0000000002"}
    change(store, ("Basic/b", "#"), msk=older)
    change(store, (layout._KEY[0], layout._KEY[1]), layout={"N": str(layout.DATES)})
    forget(store)
    assert store.is_in_clinical_order()
    assert not store.can_count()
    store.check_integrity(repair=True, patience=None)
    assert store.can_count()
    assert store.count("Basic", most=MOST) == 1


def test_heads_under_the_mark_of_what_was_taken_over_do_not_count(store: Store) -> None:
    """The heir has no use for it, and takes it away once it is decided."""
    write(store, "a")
    former = transactions.begin(store.table, ["+Basic/b"], 60)
    made = {"txn": {"S": former}, "made": {"BOOL": True}}
    item = store.table.get(("Basic/a", keys.HEAD))
    assert item is not None
    times = {name: {"S": text} for name, text in keys.time_keys("Basic/b", 1, item["updated"]["S"], end=".").items()}
    store.table.put(item | key_of(("Basic/b", keys.HEAD)) | times | made)
    assert store.count("Basic", most=MOST) == 1
    heir = transactions.begin(store.table, [], 60, lineage=Lineage("seed", (former,)))
    store.table.write([transactions.take_over(store.table, former)])
    transactions.close(store.table, former)
    assert store.count("Basic", most=MOST) == 1
    assert transactions.decide(store.table, heir, transactions.COMMITTED)
    assert store.count("Basic", most=MOST) == 1


# Under accounts

A, B = "Organization/a", "Organization/b"
LATER = "2999-01-01T00:00:00.000Z"


def carries(*accounts: str) -> Callable[[Head], bool]:
    return lambda head: not head.deleted and not set(accounts).isdisjoint(head.accounts)


def of_accounts(store: Store, *accounts: str, most: int = MOST) -> int | None:
    return store.count_of_accounts("Basic", accounts, is_counted=carries(*accounts), most=most)


def have(store: Store, names: str, *accounts: str, **more: Any) -> None:
    """Basics that carry accounts."""
    store.commit([creation(store, f"Basic/{name}", facts(), explicit=accounts, **more) for name in names])


def give(store: Store, name: str, *accounts: str) -> None:
    head = store.read(f"Basic/{name}")
    assert head is not None
    store.commit([changed(store, head, facts(), facts(), explicit=accounts)])


@pytest.fixture
def from_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are counted however few there are."""
    monkeypatch.setattr(counts, "FEW", -1)


def test_no_head_is_read_for_accounts(store: Store, from_keys: None) -> None:
    have(store, "abc", A)
    have(store, "de", B, A)
    have(store, "fg")
    with store.metered() as meter:
        assert [of_accounts(store, A), of_accounts(store, B), of_accounts(store, A, B), of_accounts(store, "Organization/c")] == [5, 2, 5, 0]  # fmt: skip
    assert set(meter.requests) == {"Query"}


def test_so_few_that_they_are_one_request_are_counted_by_their_heads(store: Store) -> None:
    have(store, "abc", A)
    have(store, "defg", B)
    with store.metered() as meter:
        assert of_accounts(store, A) == 3
    assert meter.requests == {"Query": keys.ACCOUNT_SHARDS, "BatchGetItem": 1}


def test_what_a_small_tenant_has_is_counted_by_its_heads_where_the_type_is_large(
    store: Store, from_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "KEYS_FOR_A_HEAD", 4)
    have(store, "ab", A)
    have(store, "0123456789cdefghijklmnopqrstuvwxyz", B)
    with store.metered() as meter:
        assert of_accounts(store, A) == 2
    assert meter.requests["BatchGetItem"] == 1
    with store.metered() as meter:
        assert of_accounts(store, B) == 34
    assert "BatchGetItem" not in meter.requests
    # Beyond that many entries, it is keys or nothing.
    assert of_accounts(store, B, most=40) is None
    assert of_accounts(store, B, most=100) == 34


def test_an_account_that_ends_and_a_great_many_are_told_by_the_head(store: Store, from_keys: None) -> None:
    many = tuple(f"Organization/{number}" for number in range(keys.MOST_CARRIED))
    have(store, "ab", A, ends={OWN: {A: LATER}})
    have(store, "cd", A, B, ends={OWN: {B: LATER}})
    have(store, "e", A, *many)
    have(store, "f", *many)
    with store.metered() as meter:
        assert [of_accounts(store, A), of_accounts(store, B), of_accounts(store, *many)] == [5, 2, 2]
    # For A the heads of `ab`, for B those of `cd`, where it ends: A itself they have for good. Of the great many a key tells the first.
    assert meter.requests["BatchGetItem"] == 2
    # What has no entry of an account is not read for it.
    with store.metered() as meter:
        assert of_accounts(store, "Organization/c") == 0
    assert "BatchGetItem" not in meter.requests


def test_of_a_great_many_accounts_no_entry_is_listed(store: Store) -> None:
    have(store, "abc", A)
    have(store, "d", B)
    others = [f"Organization/{number}" for number in range(counts.MANY)]
    with store.metered() as meter:
        assert of_accounts(store, A, *others) == 3
    assert set(meter.requests) == {"Query"}
    assert meter.requests["Query"] <= keys.TIME_SHARDS + 2


def test_an_account_that_has_ended_does_not_count(
    store: Store, from_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(store, "ab", A, B, ends={OWN: {A: LATER}})
    have(store, "c", A)
    assert [of_accounts(store, A), of_accounts(store, B)] == [3, 2]
    monkeypatch.setattr(dates, "now", lambda: LATER)
    assert [of_accounts(store, A), of_accounts(store, B)] == [1, 2]
    assert store.check_integrity(repair=True, patience=None).missing == 0
    assert [of_accounts(store, A), of_accounts(store, B)] == [1, 2]


def test_an_entry_that_a_writer_left_behind_does_not_count(store: Store, from_keys: None) -> None:
    have(store, "ab", A)
    have(store, "c", B)
    place, (attributes, _) = keys.account_entry("Basic/c", A)
    item: Any = {**key_of(place), "v": {"N": "9"}, **{name: {"S": text} for name, text in attributes.items()}}
    store.table.put(item)
    assert of_accounts(store, A) == 2


@pytest.mark.parametrize(("given", "expected"), [((A,), 8), ((B,), 0), ((A, B), 8)])
def test_a_head_that_moves_while_accounts_are_counted_counts_as_it_came_to_be(
    store: Store, from_keys: None, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], expected: int
) -> None:
    names = "01234567"
    have(store, names, A)
    query = Table.query
    moved: list[str] = []

    def after_first(table: Table, partition: str, *arguments: Any, **named: Any) -> Any:
        # Page by page, so that what moves is met again.
        for item in query(table, partition, *arguments, **named, limit=1):
            yield item
            if partition.startswith("Basic#") and not moved:
                moved.append(item["pk"]["S"])
                for name in names:
                    give(store, name, *given)

    monkeypatch.setattr(Table, "query", after_first)
    # One thread: the others would read on meanwhile, and see a moment of their own.
    monkeypatch.setattr(Table, "parallel", lambda table, call, arguments: [call(one) for one in arguments])
    assert of_accounts(store, A) == expected
    assert moved


def test_lagging_indexes_show_what_accounts_had_before(store: Store, from_keys: None) -> None:
    have(store, "abc", A)
    indexes = lagging(store)
    give(store, "a", B)
    delete(store, "b")
    have(store, "d", A)
    assert [of_accounts(store, A), of_accounts(store, B)] == [3, 0]
    indexes.catch_up()
    assert [of_accounts(store, A), of_accounts(store, B)] == [2, 1]


def test_an_update_a_deletion_and_a_writing_anew_leave_the_accounts_in_the_key(store: Store, from_keys: None) -> None:
    have(store, "abc", A)
    write(store, "a", "other")
    delete(store, "b")
    assert of_accounts(store, A) == 2
    write(store, "b", "anew")
    assert of_accounts(store, A) == 3
    give(store, "c", B)
    assert [of_accounts(store, A), of_accounts(store, B)] == [2, 1]


def test_a_page_link_goes_on_behind_a_head_whose_accounts_have_changed(store: Store) -> None:
    """The position of a version is the same whatever its key says of it."""
    have(store, "abcdef", A)
    listed = store.by_time("Basic")
    for number, moment in enumerate(listed):
        give(store, moment.key.partition("/")[2], *((A, B), (), (B,))[number % 3])
        after = store.by_time("Basic", after=moment.position)
        assert moment.position not in [one.position for one in after]
        assert {one.key for one in after} >= {one.key for one in listed[number + 1 :]}
        before = store.by_time("Basic", after=moment.position, newest_first=True)
        assert [(one.key, one.version) for one in before] == [(one.key, 1) for one in reversed(listed[:number])]


def test_a_table_of_older_code_counts_accounts_once_its_heads_name_them(store: Store, from_keys: None) -> None:
    have(store, "ab", A)
    have(store, "c")
    give(store, "a", A, B)
    for name, version in (("a", 2), ("b", 1), ("c", 1)):
        head = store.read(f"Basic/{name}")
        assert head is not None
        change(store, (f"Basic/{name}", "#"), msk={"S": keys.time_place(head.key, version, head.updated)})
    # What a writer of the older version leaves after the round is read.
    assert [of_accounts(store, A), of_accounts(store, B)] == [2, 1]
    change(store, (layout._KEY[0], layout._KEY[1]), layout={"N": str(layout.CATEGORIES)})
    forget(store)
    assert store.can_count()
    assert not store.heads_can_count()
    assert store.check_integrity(repair=True, patience=None).missing == 3
    assert store.heads_can_count()
    assert store.check_integrity(repair=True, patience=None).clean
    with store.metered() as meter:
        assert [of_accounts(store, A), of_accounts(store, B)] == [2, 1]
    assert set(meter.requests) == {"Query"}
