"""A table with as many resources as a figure needs, filled by the store's own commits: no HTTP, no validation in between."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Store, keys
from tests.load import clinic

TABLE = "bulkhead"
"""The name that the local server looks for."""
EACH = 1000
"""Resources of a patient, besides the patient."""
_LINKS = ("subject", "encounter")


class Filled(NamedTuple):
    """A DynamoDB of its own, with `size` resources of patients, whose keys are `patients` in the order of their numbers."""

    size: int
    client: Any
    endpoint: str
    patients: list[str]
    rate: float
    """Resources that were imported a second."""


@contextmanager
def empty() -> Iterator[tuple[Any, str]]:
    """A client of a DynamoDB with an empty table, and its endpoint, for a server as well: AWS_ENDPOINT_URL_DYNAMODB."""
    from infra.local import dynamodb
    from tests.conftest import dynamodb_client

    os.environ.update(AWS_ACCESS_KEY_ID="load", AWS_SECRET_ACCESS_KEY="load", AWS_DEFAULT_REGION="us-east-1")
    process = dynamodb.start(None)
    try:
        client = dynamodb_client(process.endpoint)
        client.create_table(**keys.table_definition(TABLE))
        yield client, process.endpoint
    finally:
        process.stop()


@contextmanager
def at(path: Path) -> Iterator[Any]:
    """A client of a DynamoDB with its data in the file `path`; it has the table from the first time on."""
    from infra.local import dynamodb
    from tests.conftest import dynamodb_client

    os.environ.update(AWS_ACCESS_KEY_ID="load", AWS_SECRET_ACCESS_KEY="load", AWS_DEFAULT_REGION="us-east-1")
    is_new = not path.exists()
    process = dynamodb.start(str(path))
    try:
        client = dynamodb_client(process.endpoint)
        if is_new:
            client.create_table(**keys.table_definition(TABLE))
        yield client
    finally:
        process.stop()


@contextmanager
def filled(size: int, account: str | None = None) -> Iterator[Filled]:
    """Patients named Load0, Load1, ... with identifiers 0, 1, ... and 1,000 resources each; all carry the account, if there is one."""
    with empty() as (client, endpoint):
        store = Store(client, None, Settings(table=TABLE, bulk_writes="transact"))
        begun = time.perf_counter()
        patients = []
        for number, bundle in enumerate(clinic.bundles(size, EACH + 1)):
            patients.append(_import(store, _named(bundle, number), account))
        yield Filled(size, client, endpoint, patients, size / (time.perf_counter() - begun))


def fill_one(store: Store, number: int, size: int, account: str | None) -> str:
    """Patient `number` with so many resources, itself among them; returns its key."""
    return _import(store, _named(clinic.patient_bundle(size), number), account)


def _named(bundle: dict[str, Any], number: int) -> dict[str, Any]:
    bundle["entry"][0]["resource"] |= {
        "name": [{"family": f"Load{number}", "given": ["Test"]}],
        "identifier": [{"system": "urn:load", "value": str(number)}],
    }
    return bundle


def _import(store: Store, bundle: dict[str, Any], account: str | None) -> str:
    """The bundle's resources in one commit; returns the patient's key."""
    places = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{resources.new_id()}" for entry in bundle["entry"]
    }
    writes = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        for name in _LINKS:
            if name in resource:
                resource[name] = {"reference": places[resource[name]["reference"]]}
        key = places[entry["fullUrl"]]
        writes.append(resources.prepare_create(Session.of(store, policy.EVERYBODY), resource, key, fresh=True))
    writes[0].explicit = (account,) if account else ()
    store.commit(writes, (), resources.inherit(Session.of(store, policy.EVERYBODY)))
    return writes[0].key
