"""The changes that the writing entries of a bundle make to the store, from the entry to the response; filled in step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bulkhead.bundles.entries import Entry, at_entry
from bulkhead.bundles.links import Link
from bulkhead.errors import BulkheadError
from bulkhead.resources.conditions import Condition

if TYPE_CHECKING:
    from bulkhead.resources.patches import Patch
    from bulkhead.store import Claim, Head, Write


@dataclass(slots=True)
class Change:
    """One writing entry. The fields below the line belong to one attempt to commit; the next attempt sets them anew."""

    entry: Entry
    condition: Condition | None = None
    links: Sequence[Link] = field(default_factory=list)
    patch: Patch | None = None
    resource: dict[str, Any] | None = None
    """The resource to write: the entry's, or the patched base."""
    fault: BulkheadError | None = None
    follows: bool = False
    """Whether the `securityContext` of its Binary was given by the server: another attempt may give another."""

    fresh_id: str = ""
    """The id of a new resource if the client gives none."""
    key: str = ""
    """`Type/id` of the written resource; for a conditional create that finds its resource, of that; "" where nothing is deleted."""
    base: Head | None = None
    """The current head in the store."""
    exists: bool = False
    """A conditional create that found its resource."""
    new: bool = False
    """A resource that does not exist yet. Its id is ours or, in a conditional update, the client's."""
    taken: bool = False
    """A new resource whose id belongs to one that the caller may not see: the commit refuses it."""
    unchanged: bool = False
    """An update that changes nothing: no new version."""
    claim: Claim | None = None
    write: Write | None = None
    head: Head | None = None
    """The head in the store after the commit."""

    @property
    def writes(self) -> bool:
        """Whether the entry makes, changes or deletes the resource `key`."""
        return bool(self.key) and not self.exists

    @property
    def version(self) -> int:
        """The version that the resource has after the commit."""
        before = self.base.version if self.base else 0
        return before if self.exists or self.unchanged else before + 1


def for_each(faultless: Iterable[Change], step: Callable[[Change], None]) -> None:
    """Calls `step` for each; an error, placed in the bundle, stays with its change and does not stop the others."""
    for change in faultless:
        if change.fault is None:
            try:
                step(change)
            except BulkheadError as error:
                change.fault = at_entry(error, change.entry)


def faultless(made: Iterable[Change]) -> list[Change]:
    return [change for change in made if change.fault is None]
