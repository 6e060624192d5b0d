"""What the history of a type needs of the table: superseded versions, the types that there are, and how far all is settled."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bulkhead.fhir import dates
from bulkhead.store import heads, keys
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
    seconds, except in a large transaction, which is open for longer: an open one holds the horizon back to where it began.
    """
    moment = datetime.now(UTC)
    begun = table.query(keys.OPEN_TRANSACTIONS, index=(keys.BY_TIME, keys.INDEXES[keys.BY_TIME]), limit=1)
    for oldest in begun:
        moment = min(moment, datetime.fromisoformat(oldest["msk"]["S"].partition("#")[0]))
        break
    return dates.text(moment - timedelta(seconds=settle))
