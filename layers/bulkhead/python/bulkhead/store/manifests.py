"""Manifests of propagation jobs in S3: what a Distributed Map reads its items from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.fhir import json

if TYPE_CHECKING:
    from bulkhead.store import Store

PREFIX = "manifests/"


def write(store: Store, job: str, turn: int, batch: int, items: Sequence[dict[str, Any]]) -> str:
    """Put a JSON array with one element for each child of the Map, and return its S3 key.

    The key follows from `job`, `turn` and `batch`: a planner that runs again writes the same object again.
    """
    key = f"{PREFIX}{job}/{turn:04d}-{batch:08d}.json"
    store.s3.put_object(
        Bucket=store.settings.bucket, Key=key, Body=json.dumps(list(items)), ContentType="application/json"
    )
    return key
