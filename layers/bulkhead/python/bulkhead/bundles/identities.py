"""Finds the resource of each writing entry, and refuses two entries for one resource (R4 http.html 3.1.0.11.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from bulkhead.bundles.changes import Change, faultless, for_each
from bulkhead.bundles.entries import Interaction, at_entry, place
from bulkhead.errors import BadRequest, MultipleMatches, NotFound
from bulkhead.resources.conditions import Condition, Matches
from bulkhead.resources.written import Written

Sees = Callable[[Mapping[str, dict[str, Any]], Collection[str]], Written]
"""(resources by key as they will be, keys of deleted ones) -> the view that criteria get of them."""


class SameResource(BadRequest):
    """Two entries write one resource."""


def identify(changes: Sequence[Change], found: Matches, *, together: bool, sees: Sees) -> None:
    """Sets `key`, `base` (where a condition found it), `exists` and `new` of each change; errors stay with their change.

    `found` holds the matches of all conditions before the commit; `sees` makes the view that conditions get of the commit. `together`: the
    entries are one transaction, so conditions see the entries before them in its order (DELETE, then POST, then PUT and PATCH).
    SameResource for all but the first of several changes to one resource: one commit cannot contain them.
    """
    of = {kind: [change for change in changes if change.entry.interaction is kind] for kind in Interaction}
    for_each(of[Interaction.DELETE], lambda change: _identify_delete(change, found))
    deleted = {change.key for change in of[Interaction.DELETE]} if together else set()
    created = _created(of[Interaction.CREATE], found, deleted) if together and found else {}
    seen = _Seen(found, deleted, sees(created, deleted))
    for_each(of[Interaction.CREATE], lambda change: _identify_create(change, seen))
    for_each(of[Interaction.UPDATE], lambda change: _identify_update(change, seen))
    for_each(of[Interaction.PATCH], lambda change: _identify_patch(change, seen))
    _refuse_twice(changes)


def _created(creates: Iterable[Change], found: Matches, deleted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The resources that the transaction certainly creates, by key."""

    def there(change: Change) -> bool:
        return change.condition is not None and any(head.key not in deleted for head in found[change.condition])

    return {_fresh_key(change): change.entry.resource or {} for change in faultless(creates) if not there(change)}


class _Seen:
    """The resources that conditions match: those of the store that the transaction does not delete, and those that it creates."""

    def __init__(self, found: Matches, deleted: Iterable[str], created: Written) -> None:
        self.found = found
        self.deleted = frozenset(deleted)
        self.created = created

    def by(self, change: Change, condition: Condition) -> str | None:
        """The key of the one resource that meets the condition of `change`, if there is one; sets the change's base."""
        heads = [head for head in self.found[condition] if head.key not in self.deleted]
        others = [key for key in self.created.meeting(condition.query) if key != _fresh_key(change)]
        if len(heads) + len(others) > 1:
            raise _several(change)
        if others:
            raise SameResource(
                "another entry creates a resource that matches these criteria", change.entry.condition_place
            )
        change.base = heads[0] if heads else None
        return change.base.key if change.base else None


def _several(change: Change) -> MultipleMatches:
    return MultipleMatches("several resources match these criteria: make them select one", change.entry.condition_place)


def _fresh_key(change: Change) -> str:
    return f"{change.entry.type}/{change.fresh_id}"


def _identify_delete(change: Change, found: Matches) -> None:
    if change.condition is None:
        change.key = change.entry.key or ""
        return
    heads = found[change.condition]
    if len(heads) > 1:
        raise _several(change)
    change.key = heads[0].key if heads else ""


def _identify_create(change: Change, seen: _Seen) -> None:
    key = seen.by(change, change.condition) if change.condition else None
    change.exists = key is not None
    change.new = not change.exists
    change.key = key or _fresh_key(change)


def _identify_update(change: Change, seen: _Seen) -> None:
    entry = change.entry
    if change.condition is None:
        change.key = entry.key or ""
        return
    given = (entry.resource or {}).get("id")
    key = seen.by(change, change.condition)
    if key is not None and given is not None and key != f"{entry.type}/{given}":
        raise BadRequest("the id is not that of the resource that matches the criteria", f"{entry.place}.resource.id")
    change.new = key is None
    change.key = key or (f"{entry.type}/{given}" if given is not None else _fresh_key(change))


def _identify_patch(change: Change, seen: _Seen) -> None:
    if change.condition is None:
        change.key = change.entry.key or ""
        return
    key = seen.by(change, change.condition)
    if key is None:
        raise NotFound("no resource matches the criteria", change.entry.condition_place)
    change.key = key


def refuse_overlaps(changes: Sequence[Change], *, together: bool, sees: Sees) -> None:
    """Refuses a conditional entry where another entry writes a resource that meets its condition.

    Its resource would not be the only match. The caller has applied patches and resolved links before. SameResource is the fault
    of the conditional entry; for independent entries, of the later of the two, so that they can be made in their order.
    """
    written: Written | None = None
    by_key = {change.key: change for change in faultless(changes) if change.writes}
    bodies = _bodies(by_key)
    for change in faultless(changes):
        if not (change.condition and change.new):
            continue
        written = written or sees(bodies, by_key.keys() - bodies.keys())
        for key in written.meeting(change.condition.query):
            other = by_key[key]
            if other is change:
                continue
            later = change if together or other.entry.index < change.entry.index else other
            message = f"{place(other.entry.index)} writes a resource that matches these criteria"
            if later is other:
                message = f"this resource matches the criteria of {place(change.entry.index)}"
            later.fault = later.fault or at_entry(SameResource(message, later.entry.condition_place), later.entry)


def _bodies(by_key: Mapping[str, Change]) -> dict[str, dict[str, Any]]:
    """The resources as the changes leave them, by key."""
    return {
        key: change.resource
        for key, change in by_key.items()
        if change.resource is not None and change.entry.interaction is not Interaction.DELETE
    }


def _refuse_twice(changes: Sequence[Change]) -> None:
    """Refuses two entries for one resource, or under one condition: the outcome would depend on their order."""
    first: dict[str | Condition, Change] = {}

    def check(change: Change) -> None:
        for identity in (change.key, change.condition):
            other = first.setdefault(identity, change) if identity else change
            if other is not change:
                where = change.entry.condition_place if change.condition else f"{change.entry.place}.request.url"
                raise SameResource(f"this entry writes the same resource as {place(other.entry.index)}", where)

    for_each(faultless(changes), check)
