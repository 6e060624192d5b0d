"""The secret of this table: the first process that needs it makes it, and all processes share it."""

from __future__ import annotations

import secrets

from bulkhead.store import keys
from bulkhead.store.table import ConditionFailed, Table

_BYTES = 32


def read(table: Table) -> bytes:
    """The secret: 32 bytes that no client ever sees."""
    item = table.get((keys.SECRET, keys.HEAD))
    if item is None:
        made = {"pk": {"S": keys.SECRET}, "sk": {"S": keys.HEAD}, "secret": {"S": secrets.token_hex(_BYTES)}}
        try:
            table.put(made, "attribute_not_exists(#pk)")
            item = made
        except ConditionFailed:
            item = table.get((keys.SECRET, keys.HEAD)) or made
    return bytes.fromhex(item["secret"]["S"])
