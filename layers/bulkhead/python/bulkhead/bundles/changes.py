"""What the writing entries of a bundle do to the store, from the entry to the answer; filled in step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bulkhead.bundles.entries import Entry, Interaction, at_entry
from bulkhead.bundles.links import Link, find_links
from bulkhead.errors import BulkheadError
from bulkhead.resources.conditions import Condition

if TYPE_CHECKING:
    from bulkhead.bundles.context import Context
    from bulkhead.resources.patches import Patch
    from bulkhead.store import Claim, Head, Write


@dataclass(slots=True)
class Change:
    """One writing entry. What is below the line belongs to one attempt to commit, and is made anew by the next."""

    entry: Entry
    condition: Condition | None = None
    links: Sequence[Link] = field(default_factory=list)
    patch: Patch | None = None
    resource: dict[str, Any] | None = None
    """What will stand there: the entry's resource, or what the patch makes of the base."""
    fault: BulkheadError | None = None
    follows: bool = False
    """Whether the `securityContext` of its Binary was given by the server: another attempt may give another."""

    fresh_id: str = ""
    """The id that the resource gets where it is new and the client gives none."""
    key: str = ""
    """`Type/id` of what is written; of a conditional create that finds its resource, of that; "" where nothing is deleted."""
    base: Head | None = None
    """What stands in the store now."""
    exists: bool = False
    """A conditional create that found its resource."""
    new: bool = False
    """A resource that is not there yet, under an id of our own or, in a conditional update, of the client."""
    taken: bool = False
    """A new resource whose id belongs to one that the caller may not see: the commit refuses it."""
    unchanged: bool = False
    """An update to what is there already: no new version."""
    claim: Claim | None = None
    write: Write | None = None
    head: Head | None = None
    """What stands in the store after the commit."""

    @property
    def writes(self) -> bool:
        """Whether the entry changes, makes or deletes the resource `key`."""
        return bool(self.key) and not self.exists

    @property
    def version(self) -> int:
        """The version that the resource has after the commit."""
        before = self.base.version if self.base else 0
        return before if self.exists or self.unchanged else before + 1


def start(entries: Iterable[Entry], context: Context) -> list[Change]:
    """A Change for each of these writing entries, in their order; those that cannot be made have a `fault`.

    Criteria may name resources by urls below the base URL of this server.
    """
    made = [Change(entry) for entry in entries]
    for_each(made, partial(_start, context=context))
    return made


def _start(change: Change, context: Context) -> None:
    entry = change.entry
    criteria = entry.if_none_exist if entry.interaction is Interaction.CREATE else entry.criteria
    if criteria is not None:
        change.condition = context.condition(entry.type, criteria, entry.condition_place)
    if entry.interaction is Interaction.PATCH:
        from bulkhead.resources.patches import from_resource

        change.patch = from_resource(entry.resource)
    elif entry.resource is not None and entry.interaction is not Interaction.DELETE:
        change.resource = entry.resource
        change.links = find_links(entry.resource)


def for_each(faultless: Iterable[Change], step: Callable[[Change], None]) -> None:
    """`step` on each; an error stays with its change, placed in the bundle, and stops no other."""
    for change in faultless:
        if change.fault is None:
            try:
                step(change)
            except BulkheadError as error:
                change.fault = at_entry(error, change.entry)


def faultless(made: Iterable[Change]) -> list[Change]:
    return [change for change in made if change.fault is None]
