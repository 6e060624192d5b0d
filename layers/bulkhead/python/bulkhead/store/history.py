"""Reads of the table for the history of a type: superseded versions, the types in use, and the instant up to which all is settled."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bulkhead.fhir import dates
from bulkhead.store import heads, keys, large, transactions
from bulkhead.store.heads import Head
from bulkhead.store.table import Table

Version = tuple[str, int]
"""A resource's key and the number of one of its versions."""


def read_versions(table: Table, wanted: Iterable[Version]) -> dict[Version, Head]:
    """Superseded versions by key and number, 100 per request; absent ones are left out."""
    items = table.get_many((key, keys.version_sort(version)) for key, version in wanted)
    found = (heads.from_item(item) for item in items.values())
    return {(head.key, head.version): head for head in found}


def horizon(table: Table, settle: int) -> str:
    """The instant up to which by-time is complete: no version with an earlier stamp can still appear.

    A version is stamped before it is committed, and the index shows it later still. Both together take less than `settle`
    seconds, except in a large transaction, which is open for longer: an open one holds the horizon back to where it began. One that
    outlived its lease is aborted, as by any writer that it is in the way of: its process died, and nothing of it will ever be seen.
    One that was committed by a process that died is finished, so that it holds back this reader and none after it.
    """
    moment = datetime.fromisoformat(dates.now())
    for begun, transaction in transactions.open_transactions(table):
        if not transactions.abort_expired(table, transaction):
            # Also where it is finished now: the index may show its versions later.
            moment = min(moment, datetime.fromisoformat(begun))
            large.finish_forgotten(table, transaction)
            break
    return dates.text(moment - timedelta(seconds=settle))
