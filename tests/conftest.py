"""Emulated AWS for the tests: one dynoxide for the session, a table of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws

from bulkhead.settings import Settings
from bulkhead.store import Store, client, files, keys
from infra.local.lag import LaggingIndexes

os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

# No test asserts a time, and these two do: on a busy machine they fail for nothing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TOGETHER = ("e2e", "infrastructure")
"""Folders whose tests share what takes long to start: servers, jsii, AWS's schemas. One of xdist's workers runs all of a folder, and begins with it."""
HERE = Path(__file__).parent

_numbers = count()
_tables: list[tuple[Any, str]] = []
"""Those that stand: a client and a name."""


# Before xdist, which reads the groups here.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of a folder of TOGETHER into one group, but those that have another."""
    for item in items:
        for folder in TOGETHER:
            if HERE / folder in item.path.parents and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(folder))


@pytest.fixture(autouse=True)
def no_table_is_left() -> Iterator[None]:
    """Deletes the tables that the test makes, and not those of wider fixtures: the more there are, the longer dynoxide takes to make one."""
    before = len(_tables)
    yield
    while len(_tables) > before:
        its_client, name = _tables.pop()
        its_client.delete_table(TableName=name)


@pytest.fixture(scope="session")
def dynoxide() -> Iterator[str]:
    """The endpoint of a DynamoDB that is there for the session."""
    from infra.local import dynamodb

    process = dynamodb.start(None)
    yield process.endpoint
    process.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """An S3 client on a bucket named `bulkhead`."""
    with mock_aws():
        client = files.client()
        client.create_bucket(Bucket="bulkhead")
        yield client


def dynamodb_client(endpoint: str) -> Any:
    return client.dynamodb(18, 60, endpoint_url=endpoint)


def lagging(store: Store) -> LaggingIndexes:
    """Lets the indexes of a store show nothing that is written from now on, until they are told to `catch_up`."""
    client = LaggingIndexes(store.table.client, None)
    store.table.client = cast(Any, client)
    return client


@pytest.fixture(scope="session")
def dynamodb(dynoxide: str) -> Any:
    """A client for all tests: making one takes a tenth of a second. Not to be changed, but through `monkeypatch`."""
    return dynamodb_client(dynoxide)


@pytest.fixture(scope="session")
def make_store(dynamodb: Any, s3: Any) -> Any:
    """Makes a Store on a table of its own; keyword arguments are settings."""

    def make(**settings: Any) -> Store:
        name = f"bulkhead-{os.getpid()}-{next(_numbers)}"
        dynamodb.create_table(**keys.table_definition(name))
        _tables.append((dynamodb, name))
        return Store(dynamodb, s3, Settings(table=name, bucket="bulkhead", **settings))

    return make


@pytest.fixture
def new_store(make_store: Any) -> Any:
    """The same, for one test."""
    return make_store


@pytest.fixture
def store(new_store: Any) -> Store:
    """A Store on a table of its own."""
    made: Store = new_store()
    return made


@pytest.fixture(scope="session")
def keys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the issuer of this session keeps its key: making one takes a moment."""
    return tmp_path_factory.mktemp("identity")
