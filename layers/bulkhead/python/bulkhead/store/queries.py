"""Queries that are too long for a page link: kept for a while under an id, which the link carries instead."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Sequence

from bulkhead.fhir import json
from bulkhead.store import keys
from bulkhead.store.table import Table

LONGEST = 350_000
"""Compressed bytes of a query that is kept: an item of DynamoDB has 400 KB."""

_DAY = 86_400

Pairs = list[tuple[str, str]]


def keep(table: Table, secret: bytes, pairs: Sequence[tuple[str, str]], days: int) -> str | None:
    """Keep the parameters for so many days from now on, and return their id; None where they are too many.

    The same query has the same id: its second page costs no second item. Nobody can tell an id from a query.
    """
    content = json.dumps({"query": [list(pair) for pair in pairs]})
    body = zlib.compress(content)
    if len(body) > LONGEST:
        return None
    identifier = hashlib.blake2b(content, digest_size=16, key=secret).hexdigest()
    expires = int(time.time()) + days * _DAY
    table.put(
        {
            "pk": {"S": keys.query_key(identifier)},
            "sk": {"S": keys.HEAD},
            "body": {"B": body},
            keys.TTL: {"N": str(expires)},
        }
    )
    return identifier


def kept(table: Table, identifier: str) -> Pairs | None:
    """What was kept under this id; None where nothing was, or it has expired (DynamoDB takes its time to remove it)."""
    item = table.get((keys.query_key(identifier), keys.HEAD))
    if item is None or int(item[keys.TTL]["N"]) <= time.time():
        return None
    return [(name, text) for name, text in json.loads(zlib.decompress(item["body"]["B"]))["query"]]
