"""Indexes that lag: what they show is, item by item, the table of an earlier moment, whole pages of it and in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.store import keys
from bulkhead.store.table import ConditionFailed, Table
from infra.local.lag import LaggingIndexes
from tests.conftest import dynamodb_client

INDEX = (keys.BY_TARGET, keys.INDEXES[keys.BY_TARGET])
PARTITIONS, SORTS = ("P", "Q"), ("a", "b", "c")
KEYS = [(f"O/{n}", f"i#{m}") for n in range(3) for m in range(2)]
# What the item is to be in the index: (partition, sort), None for an item that is in none; and False for no item.
IMAGES = st.one_of(st.tuples(st.sampled_from(PARTITIONS), st.sampled_from(SORTS)), st.none(), st.just(False))
WRITES = st.dictionaries(st.sampled_from(KEYS), IMAGES, min_size=1, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["one by one", "batch", "new", "transaction", "refused"]), WRITES),
        st.tuples(st.just("catch up"), st.sets(st.sampled_from(KEYS))),
    ),
    max_size=12,
)


def item(key: tuple[str, str], image: Any) -> dict[str, Any]:
    attributes = {"pk": key[0], "sk": key[1], "secret": "not projected"}
    if image:
        attributes |= {"tpk": image[0], "tsk": image[1]}
    return {name: {"S": text} for name, text in attributes.items()} | {"via": {"SS": ["subject"]}}


def write(table: Table, kind: str, images: dict[tuple[str, str], Any]) -> None:
    kept = [item(key, image) for key, image in images.items() if image is not False]
    gone = [key for key, image in images.items() if image is False]
    if kind == "batch":
        table.put_many(kept, gone)
        return
    if kind == "new":
        table.put_many([], list(images))
        assert table.put_new(kept) == set()
        return
    actions = [table.put_action(one) for one in kept] + [table.delete_action(key) for key in gone]
    if kind == "one by one":
        for action in actions:
            table.write([action])
    elif kind == "transaction":
        table.write(actions)
    else:
        with contextlib.suppress(ConditionFailed):
            table.write([*actions, table.put_action(item(("other", "#"), None), "attribute_exists(#pk)")])


@pytest.fixture(scope="module")
def stock(dynoxide: str) -> Iterator[Any]:
    client = dynamodb_client(dynoxide)
    client.create_table(**keys.table_definition("lagging"))
    yield client
    client.delete_table(TableName="lagging")


@settings(max_examples=60, deadline=None)
@given(
    STEPS,
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([(None, None), ("b", None), (None, "b"), ("b", "b"), ("c", "a")]),
)
def test_each_item_is_shown_as_it_was(
    stock: Any, steps: list[Any], backwards: bool, limit: int, bounds: tuple[str | None, str | None]
) -> None:
    client = LaggingIndexes(stock, None)
    table = Table(client, "lagging", 2)  # type: ignore[arg-type] # it wraps a client
    table.put_many([], KEYS)
    client.catch_up()
    now: dict[tuple[str, str], Any] = dict.fromkeys(KEYS, False)
    shown = dict(now)
    for kind, what in steps:
        if kind == "catch up":
            client.catch_up(lambda index, key, what=what: key in what)  # type: ignore[misc] # of this turn
            shown |= {key: now[key] for key in what}
        else:
            write(table, kind, what)
            now |= what if kind != "refused" else {}
    first, last = bounds
    for partition in PARTITIONS:
        expected = sorted(
            (image[1], *key)
            for key, image in shown.items()
            if image
            and image[0] == partition
            and (first is None or image[1] >= first)
            and (last is None or image[1] <= last)
        )
        found = list(table.query(partition, first, last, index=INDEX, limit=limit, backwards=backwards))
        assert [(one["tsk"]["S"], one["pk"]["S"], one["sk"]["S"]) for one in found] == (
            expected[::-1] if backwards else expected
        )
        assert all(one.keys() == {"pk", "sk", "tpk", "tsk", "via"} for one in found)
    assert {key: now[key] is not False for key in KEYS} == {key: bool(table.get(key)) for key in KEYS}


def test_a_write_is_shown_when_its_time_has_come(stock: Any) -> None:
    now = [100.0]
    client = LaggingIndexes(stock, 2, lambda: now[0])
    table = Table(client, "lagging", 2)  # type: ignore[arg-type] # it wraps a client

    def listed() -> list[str]:
        return [one["tsk"]["S"] for one in table.query("T", index=INDEX)]

    table.put(item(("O/t", "#"), ("T", "a")))
    now[0] += 1
    table.put(item(("O/t", "#"), ("T", "b")))
    assert listed() == []
    now[0] += 1
    assert listed() == ["a"]
    now[0] += 1
    assert listed() == ["b"]
    table.put_many([], [("O/t", "#")])
    assert listed() == ["b"]
    assert table.get(("O/t", "#")) is None
    now[0] += 2
    assert listed() == []


def test_a_write_whose_answer_is_lost_lags_as_others_do(stock: Any) -> None:
    class Losing:
        def __getattr__(self, name: str) -> Any:
            return getattr(stock, name)

        def put_item(self, **arguments: Any) -> Any:
            stock.put_item(**arguments)
            raise ConnectionError

    client = LaggingIndexes(Losing(), None)
    table = Table(client, "lagging", 2)  # type: ignore[arg-type] # it wraps a client
    with pytest.raises(ConnectionError):
        table.put(item(("O/lost", "#"), ("L", "a")))
    assert list(table.query("L", index=INDEX)) == []
    client.catch_up()
    assert len(list(table.query("L", index=INDEX))) == 1
