"""The short way of the DynamoDB client: what boto3 would answer, raise and try again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from bulkhead.store import Store, capacity, direct
from bulkhead.store.direct import DirectClient
from bulkhead.store.table import key_of
from tests.conftest import dynamodb_client

KEY = ("Observation/1", "#")
ITEM = {
    **key_of(KEY),
    "v": {"N": "1"},
    "body": {"B": b"\x00\xff"},
    "via": {"SS": ["a", "b"]},
    "explicit": {"L": [{"S": "é"}]},
}


@pytest.fixture(params=["direct", "boto3"], autouse=True)
def client_of_a_kind(
    request: pytest.FixtureRequest, store: Store, dynoxide: str, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The client of the store is of either kind."""
    if request.param == "boto3":
        monkeypatch.setattr(direct, "client", lambda *_, **__: None)
    made = dynamodb_client(dynoxide)
    assert isinstance(made, DirectClient) is (request.param == "direct")
    store.table.client = made
    return made


@pytest.fixture
def stock(dynoxide: str) -> Any:
    """boto3's own client, without the short way."""
    return boto3.client("dynamodb", endpoint_url=dynoxide)


def same(store: Store, stock: Any, operation: str, **arguments: Any) -> None:
    found = getattr(store.table.client, operation)(**arguments)
    expected = getattr(stock, operation)(**arguments)
    expected.pop("ResponseMetadata")
    assert found == expected


def test_answers_are_those_of_boto3(store: Store, stock: Any) -> None:
    name = store.table.name
    store.table.client.put_item(TableName=name, Item=ITEM)
    same(store, stock, "get_item", TableName=name, Key=key_of(KEY))
    same(store, stock, "get_item", TableName=name, Key=key_of(("Observation/2", "#")))
    same(store, stock, "batch_get_item", RequestItems={name: {"Keys": [key_of(KEY)]}})
    same(
        store,
        stock,
        "query",
        TableName=name,
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "Observation/1"}},
    )
    store.table.client.batch_write_item(RequestItems={name: [{"DeleteRequest": {"Key": key_of(KEY)}}]})
    assert "Item" not in stock.get_item(TableName=name, Key=key_of(KEY))


def test_errors_are_those_of_boto3(store: Store) -> None:
    client, name = store.table.client, store.table.name
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(TableName=name, Item=ITEM, ConditionExpression="attribute_exists(pk)")
    with pytest.raises(client.exceptions.TransactionCanceledException) as caught:
        client.transact_write_items(
            TransactItems=[{"Put": {"TableName": name, "Item": ITEM, "ConditionExpression": "attribute_exists(pk)"}}]
        )
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == ["ConditionalCheckFailed"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_item(TableName="nowhere", Key=key_of(KEY))


THROTTLED = SimpleNamespace(
    status_code=400,
    headers={},
    content=b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": ""}',
)
FAILED = SimpleNamespace(status_code=500, headers={}, content=b"<html>")
GARBLED = SimpleNamespace(status_code=200, headers={"x-amz-crc32": "1"}, content=b"{}")
UNREACHABLE = EndpointConnectionError(endpoint_url="http://127.0.0.1")


@pytest.fixture
def faulty(store: Store, dynoxide: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a client whose first responses are faults."""
    store.table.client = dynamodb_client(dynoxide)
    monkeypatch.setattr("bulkhead.store.short_way.time.sleep", lambda _: None)

    def make(*faults: Any) -> Any:
        client: Any = store.table.client
        left, send = list(faults), client._send

        def faulty(operation_name: str, body: bytes) -> Any:
            if not left:
                return send(operation_name, body)
            fault = left.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault

        client._send = faulty
        return client

    return make


def test_passing_faults_are_tried_again(store: Store, faulty: Any) -> None:
    client = faulty(THROTTLED, FAILED, GARBLED, UNREACHABLE)
    client.put_item(TableName=store.table.name, Item=ITEM)
    assert store.table.get(KEY) == ITEM


@pytest.mark.parametrize("fault", [THROTTLED, FAILED, UNREACHABLE])
def test_lasting_faults_are_raised(store: Store, faulty: Any, fault: Any) -> None:
    client = faulty(*[fault] * 5)
    with pytest.raises((client.exceptions.ClientError, EndpointConnectionError)):
        client.get_item(TableName=store.table.name, Key=key_of(KEY))


def test_a_refusal_is_not_tried_again(store: Store, faulty: Any) -> None:
    refused = SimpleNamespace(
        status_code=400, headers={}, content=b'{"__type": "x#ValidationException", "message": "no"}'
    )
    client = faulty(refused, FAILED)
    with pytest.raises(client.exceptions.ClientError, match="ValidationException"):
        client.get_item(TableName=store.table.name, Key=key_of(KEY))


def test_meters_count_what_goes_on_within_them(store: Store) -> None:
    client = store.table.client
    with capacity.metered(client) as outer:
        store.table.get(KEY)
        with capacity.metered(client) as inner:
            store.table.get(KEY)
    store.table.get(KEY)
    assert (outer.total, inner.total) == (2, 1)
    assert inner.units["GetItem"] > 0
