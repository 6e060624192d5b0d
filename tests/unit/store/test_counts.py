"""The count of a type from keys is that of the heads, whatever was written, and while others write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.session import Session
from bulkhead.store import Store, layout, transactions
from bulkhead.store.table import Table
from tests.conftest import lagging
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
