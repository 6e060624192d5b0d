"""What the history of a type needs of the table: superseded versions, the types that there are, and how far all is settled."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bulkhead.fhir import dates
from bulkhead.store import heads, keys, transactions
from bulkhead.store.heads import Head
from bulkhead.store.table import Table

Version = tuple[str, int]
"""A resource's key and the number of one of its versions."""


def read_versions(table: Table, wanted: Iterable[Version]) -> dict[Version, Head]:
    """Superseded versions, 100 a request; absent ones left out."""
    items = table.get_many((key, keys.version_sort(version)) for key, version in wanted)
    found = (heads.from_item(item) for item in items.values())
    return {(head.key, head.version): head for head in found}


def horizon(table: Table, settle: int) -> str:
    """The instant up to which by-time is complete: a version that is stamped earlier and not there yet will never be.

    A version is stamped before it is committed, and the index shows it later still. Both together take less than `settle`
    seconds, except in a large transaction, which is open for longer: an open one holds the horizon back to where it began. One that
    outlived its lease is aborted, as by any writer that it is in the way of: its process died, and nothing of it will ever be seen.
    """
    moment = datetime.fromisoformat(dates.now())
    for begun, transaction in transactions.open_transactions(table):
        if not transactions.abort_expired(table, transaction):
            moment = min(moment, datetime.fromisoformat(begun))
            break
    return dates.text(moment - timedelta(seconds=settle))
