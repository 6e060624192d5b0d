"""Manifests of propagation jobs in S3: a Distributed Map reads its items from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.fhir import json

if TYPE_CHECKING:
    from bulkhead.store import Store

PREFIX = "manifests/"


def write(store: Store, job: str, turn: int, *, batch: int, items: Sequence[dict[str, Any]]) -> str:
    """Puts a JSON array with one element for each child of the Map, and returns its S3 key.

    `job`, `turn` and `batch` determine the key: a planner that runs again writes the same object again.
    """
    key = f"{PREFIX}{job}/{turn:04d}-{batch:08d}.json"
    store.s3.put_object(
        Bucket=store.settings.bucket, Key=key, Body=json.dumps(list(items)), ContentType="application/json"
    )
    return key
