"""Reads between staging and committing: the accounts of the targets, and reservations of identifiers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from bulkhead.store import identifiers, keys, transaction_marks
from bulkhead.store.heads import Head, Inherit, Write
from bulkhead.store.identifiers import Guard
from bulkhead.store.table import Item, Table
from bulkhead.store.transactions import one_request

# Less than the second for which a propagation looks for writers that have staged and not committed.
_LATE = 0.8


class Between:
    """Called once everything is staged. One request reads for both purposes."""

    def __init__(self, table: Table, inherit: Inherit | None, guard: Guard) -> None:
        self._table, self._inherit, self._guard = table, inherit, guard
        self._asked = time.monotonic()
        self._unread: list[str] = []
        self._reservations: list[Item] = []

    def __call__(self, writes: Sequence[Write]) -> None:
        """Sets what `writes` inherit, and ends the reservations of others on the identifiers that they add."""
        self._asked = time.monotonic()
        # The slot of callers without a fence excludes all others.
        own = set(self._guard.partitions) if self._guard.fence is None else set()
        self._unread = [partition for partition in identifiers.reservable(writes) if partition not in own]
        self._reservations = []
        if self._inherit:
            self._inherit(writes, self._read)
        if self._unread:
            self._read(())
        identifiers.take_away(self._table, writes, self._reservations, own=self._guard.slot)

    def again(self, writes: Sequence[Write]) -> list[int]:
        """Sets what `writes` inherit again, if time has passed; returns the positions of the writes that changed."""
        if not self._inherit or not self.late:
            return []
        before = [write.inherited_grants for write in writes]
        self.anew(writes)
        return [n for n, write in enumerate(writes) if write.inherited_grants != before[n]]

    def anew(self, writes: Sequence[Write]) -> None:
        """Sets what `writes` inherit by what their targets pass on now."""
        self._asked = time.monotonic()
        if self._inherit:
            self._inherit(writes, self._read)

    @property
    def late(self) -> bool:
        """Whether a propagation may have run since: it looks for unfinished writers for a second."""
        return time.monotonic() - self._asked > _LATE

    def _read(self, wanted: Iterable[str]) -> dict[str, Head]:
        partitions, self._unread = set(self._unread), []
        items = self._table.get_many((key, keys.HEAD) for key in (*wanted, *partitions))
        self._reservations += [item for key, item in items.items() if key[0] in partitions]
        # The current state, whatever this request has read of a transaction before.
        with one_request():
            return transaction_marks.current(
                self._table, {key: item for key, item in items.items() if key[0] not in partitions}
            )
