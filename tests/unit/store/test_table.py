"""Puts in batches that leave alone what is there: `Table.put_new`."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import Unavailable
from bulkhead.store import Store
from bulkhead.store.table import Item, Table
from bulkhead.store.throttling import Patience
from tests.support.clock import Clock


def item(n: int, **more: Item) -> Item:
    # As the attributes of a head come: sets, binary, lists, maps, and names that SQL reserves.
    return {
        "v": {"N": "1"},
        "pk": {"S": f"Basic/{n}"},
        "sk": {"S": 'it\'s "#"'},
        "via": {"SS": ["a", "b"]},
        "body": {"B": b"\x00\xff"},
        "explicit": {"L": [{"S": ""}]},
        "ends": {"M": {"own": {"M": {}}}},
        "made": {"BOOL": True},
        "select": {"S": "?"},
        **more,
    }


@pytest.mark.parametrize("bulk", [False, True])
def test_what_is_there_stays(store: Store, bulk: bool) -> None:
    table = Table(store.table.client, store.table.name, 4, transact_bulk=bulk)
    there = [3, 40, 41, 77, 130]
    table.put_many([item(n, v={"N": "7"}) for n in there])
    assert table.put_new([item(n) for n in range(131)]) == set(there)
    found = table.get_many((f"Basic/{n}", 'it\'s "#"') for n in range(131))
    assert found == {(f"Basic/{n}", 'it\'s "#"'): item(n, v={"N": "7"}) if n in there else item(n) for n in range(131)}
    assert table.put_new([]) == set()


class Answering:
    """A client that refuses statements with these codes, one after the other, before it does them."""

    def __init__(self, client: Any, codes: list[str]) -> None:
        self._client, self._codes = client, codes
        self.exceptions = client.exceptions

    def batch_execute_statement(self, Statements: list[Any]) -> Any:
        refused = [self._codes.pop(0) for _ in Statements[: len(self._codes)]]
        done = Statements[len(refused) :]
        answers = self._client.batch_execute_statement(Statements=done)["Responses"] if done else []
        return {"Responses": [*({"Error": {"Code": code}} for code in refused), *answers]}


def refusing(store: Store, codes: list[str], seconds: float = 100) -> Table:
    clock = Clock()
    client: Any = Answering(store.table.client, codes)
    return Table(client, store.table.name, 1, patience=Patience(seconds, clock.monotonic, clock.sleep))


def test_statements_that_are_refused_for_a_moment_are_sent_again(store: Store) -> None:
    store.table.put_many([item(2)])
    codes = ["ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict", "InternalServerError"]
    assert refusing(store, codes).put_new([item(n) for n in range(10)]) == {2}
    assert len(store.table.get_many((f"Basic/{n}", 'it\'s "#"') for n in range(10))) == 10


@pytest.mark.parametrize("codes", [["AccessDenied"], ["ThrottlingError"] * 1000])
def test_a_refusal_that_lasts_is_an_error(store: Store, codes: list[str]) -> None:
    with pytest.raises(Unavailable):
        refusing(store, codes).put_new([item(1)])
