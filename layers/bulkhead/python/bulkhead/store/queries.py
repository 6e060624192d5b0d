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
"""The limit on compressed bytes of a kept query: an item of DynamoDB has 400 KB."""

_DAY = 86_400

Pairs = list[tuple[str, str]]


def keep(table: Table, secret: bytes, pairs: Sequence[tuple[str, str]], *, days: int) -> str | None:
    """Keeps the parameters for `days` days, and returns their id; None if they are too long.

    The same query has the same id, so its second page costs no second item. A query does not reveal its id to anyone else.
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
    """The parameters under this id; None if there are none, or they have expired (DynamoDB removes them later)."""
    item = table.get((keys.query_key(identifier), keys.HEAD))
    if item is None or int(item[keys.TTL]["N"]) <= time.time():
        return None
    return [(name, text) for name, text in json.loads(zlib.decompress(item["body"]["B"]))["query"]]
