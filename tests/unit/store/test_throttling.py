"""A throttled table is waited for, up to the patience of the store; what fails then leaves nothing half-written."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from bulkhead.errors import Unavailable
from bulkhead.store import Store, Write, keys, transactions
from bulkhead.store.table import ConditionFailed, Table
from bulkhead.store.throttling import Patience, waiting_until


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Throttled:
    """A client whose table refuses everything until `until`, and of a batch then does `at_once` items a request for a while."""

    def __init__(self, client: Any, clock: Clock, until: float, at_once: int = 25) -> None:
        self._client = client
        self._clock = clock
        self._until = until
        self._at_once = at_once
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def _is_refusing(self) -> bool:
        self.refused += self._clock.now < self._until
        return self._clock.now < self._until

    def _error(self, code: str, **more: Any) -> Exception:
        response = {"Error": {"Code": code, "Message": "slow down"}, **more}
        error: Exception = self._client.exceptions.from_code(code)(response, "PutItem")
        return error

    def batch_write_item(self, RequestItems: Any) -> Any:
        if self._is_refusing:
            return {"UnprocessedItems": RequestItems}
        ((table, requests),) = RequestItems.items()
        self._client.batch_write_item(RequestItems={table: requests[: self._at_once]})
        return {"UnprocessedItems": {table: requests[self._at_once :]} if requests[self._at_once :] else {}}

    def batch_get_item(self, RequestItems: Any) -> Any:
        if self._is_refusing:
            return {"Responses": {}, "UnprocessedKeys": RequestItems}
        ((table, asked),) = RequestItems.items()
        now, later = asked["Keys"][: self._at_once], asked["Keys"][self._at_once :]
        answer = self._client.batch_get_item(RequestItems={table: {**asked, "Keys": now}})
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": later}} if later else {}}

    def transact_write_items(self, **arguments: Any) -> Any:
        if self._is_refusing:
            reasons = [{"Code": "ThrottlingError"}, *({"Code": "None"} for _ in arguments["TransactItems"][1:])]
            raise self._error("TransactionCanceledException", CancellationReasons=reasons)
        return self._client.transact_write_items(**arguments)

    def _plain(self, name: str, arguments: Any) -> Any:
        if self._is_refusing:
            raise self._error("ProvisionedThroughputExceededException")
        return getattr(self._client, name)(**arguments)

    def put_item(self, **arguments: Any) -> Any:
        return self._plain("put_item", arguments)

    def update_item(self, **arguments: Any) -> Any:
        return self._plain("update_item", arguments)

    def delete_item(self, **arguments: Any) -> Any:
        return self._plain("delete_item", arguments)

    def get_item(self, **arguments: Any) -> Any:
        return self._plain("get_item", arguments)

    def query(self, **arguments: Any) -> Any:
        return self._plain("query", arguments)


def throttled(store: Store, until: float, seconds: float, at_once: int = 25) -> Throttled:
    """Puts a table that refuses until then below the store, whose patience is so many seconds."""
    clock = Clock()
    client = Throttled(store.table.client, clock, until, at_once)
    patience = Patience(seconds, clock, clock.sleep)
    store.table = Table(cast(Any, client), store.table.name, 4, patience=patience)
    return client


def writes(store: Store, number: int) -> list[Write]:
    bodies = (store.encode({"resourceType": "Basic", "id": str(n)}) for n in range(number))
    return [Write(f"Basic/{n}", None, body, fresh=True) for n, body in enumerate(bodies)]


@pytest.mark.parametrize("number", [1, 60, 300])
def test_a_commit_outlasts_a_minute_of_throttling(store: Store, number: int) -> None:
    client = throttled(store, 60, 1000)
    store.commit(writes(store, number))
    assert client.refused > 5
    assert len(store.read_many(f"Basic/{n}" for n in range(number))) == number


@pytest.mark.parametrize("number", [1, 60, 300])
def test_beyond_the_patience_nothing_is_written(store: Store, number: int) -> None:
    plain = store.table
    throttled(store, 60, 20)
    with pytest.raises(Unavailable):
        store.commit(writes(store, number))
    store.table = plain
    store.abort_open()
    assert not store.read_many(f"Basic/{n}" for n in range(number))


def test_a_table_that_does_little_at_a_time_is_not_given_up(store: Store) -> None:
    throttled(store, 0, 20, at_once=3)
    store.commit(writes(store, 300))
    assert len(store.read_many(f"Basic/{n}" for n in range(300))) == 300


@pytest.mark.parametrize("until", [30.0])
def test_reading_waits_too(store: Store, until: float) -> None:
    store.commit(writes(store, 2))
    throttled(store, until, 1000)
    assert store.read("Basic/0")
    assert list(store.table.query("Basic/0"))


@pytest.mark.parametrize("number", [1, 60, 300])
def test_a_task_outlasts_what_a_request_would_not(store: Store, number: int) -> None:
    """Whoever gives a moment is waited for until then, in all threads, whatever the patience is otherwise."""
    throttled(store, 60, 20)
    with waiting_until(1000):
        store.commit(writes(store, number))
    assert len(store.read_many(f"Basic/{n}" for n in range(number))) == number


@pytest.mark.parametrize("number", [1, 60, 300])
def test_a_request_fails_before_its_function_is_stopped(store: Store, number: int) -> None:
    """However late in the request the first refusal comes."""
    plain, client = store.table, throttled(store, 1000, 1000)
    client._clock.now = 25.0
    with waiting_until(26), pytest.raises(Unavailable):
        store.commit(writes(store, number))
    assert client._clock.now <= 26
    store.table = plain
    store.abort_open()
    assert not store.read_many(f"Basic/{n}" for n in range(number))


def test_a_lease_is_renewed_while_its_process_lives(store: Store) -> None:
    """However long staging takes: see `transactions.renewed`."""

    def expires() -> float:
        item = store.table.get((keys.transaction_key(transaction), keys.HEAD))
        assert item
        return float(item["expires"]["N"])

    transaction = transactions.begin(store.table, ["Basic/1"], 0)
    before, until = expires(), time.monotonic() + 20
    with transactions.renewed(store.table, transaction, 0.03):
        while expires() == before:
            assert time.monotonic() < until
    assert expires() > before
    transactions.decide(store.table, transaction, transactions.ABORTED)


def test_a_lease_is_not_renewed_once_the_transaction_is_decided(store: Store) -> None:
    transaction = transactions.begin(store.table, ["Basic/1"], 0)
    transactions.decide(store.table, transaction, transactions.ABORTED)
    item = store.table.get((keys.transaction_key(transaction), keys.HEAD))
    with pytest.raises(ConditionFailed):
        transactions.renew(store.table, transaction, 1000)
    assert store.table.get((keys.transaction_key(transaction), keys.HEAD)) == item


def test_another_error_is_raised_at_once(store: Store) -> None:
    client = throttled(store, 0, 1000)
    with pytest.raises(client.exceptions.ClientError):
        client._client.get_item(TableName="no-such-table", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
    store.table.name = "no-such-table"
    with pytest.raises(client.exceptions.ClientError):
        store.read("Basic/0")
