"""Which of two resources under one id something is about: an id that rested after a purge is free, and whoever takes it makes another resource.

What refers to the first one and is older than the second tells of the first: an event of the trail, a Binary that a purge left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bulkhead.fhir import dates
from bulkhead.store.heads import NEVER

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore


class Births:
    """When resources were made. Each is read once, and only where it has changed since what is compared with it."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def are_before(self, moment: str, heads: Iterable[Head]) -> bool:
        """Whether all these resources were made before a moment, or at it, as far as clocks agree. Up to one read.

        An id rests for PURGE_REST: what is younger by less than half of that is the same resource, by another clock.
        """
        changed = [head for head in heads if head.updated > moment]
        if not changed:
            return True
        later = [(head.key, 1) for head in changed if head.key not in self._known and head.version > 1]
        first = self._store.read_versions(later) if later else {}
        # Of what has no first version nobody knows: it counts as younger than everything.
        self._known.update({key: first[key, 1].updated if (key, 1) in first else NEVER for key, _ in later})
        self._known.update({head.key: head.updated for head in changed if head.version == 1})
        rest = timedelta(seconds=self._store.settings.purge_rest / 2)
        last = dates.text(datetime.fromisoformat(moment) + rest)
        return all(self._known[head.key] <= last for head in changed)
