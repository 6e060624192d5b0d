"""A page of matches, and what a search calls while it makes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulkhead.errors import Issue
from bulkhead.fhir.json import JsonResource
from bulkhead.search.drivers import Position
from bulkhead.store.version import Version

Represent = Callable[[Version], JsonResource]
"""The resource in the form that a client sees; must not change the version's body."""
Consulted = Callable[[Version], None]
"""Called with a resource that the answer tells of without showing it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Matches of one page. `next` is None at the end; `total` is set only if it is exact."""

    matches: Sequence[Version]
    next: Position | None = None
    total: int | None = None
    included: Sequence[Version] = ()
    notes: Sequence[Issue] = ()
    """Notes for the reader of the page: shown in an entry of mode `outcome`."""
