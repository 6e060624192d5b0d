"""Replaces conditional references, `Practitioner?identifier=s|v`, by the one resource that matches (R4 http.html 3.1.0.11.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bulkhead.bundles.changes import Change, for_each
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import Interaction
from bulkhead.bundles.links import Kind, Link
from bulkhead.bundles.placeholders import KeyOf
from bulkhead.bundles.placeholders import resolve as resolve_criteria
from bulkhead.errors import BulkheadError, MultipleMatches, NotFound
from bulkhead.fhir import references
from bulkhead.resources.conditions import Condition, claimant, conditional_reference, meets
from bulkhead.resources.written import Written

if TYPE_CHECKING:
    from bulkhead.store import Head

Find = Callable[[Iterable[Condition]], dict[Condition, list["Head"]]]


def resolve_conditional(changes: Sequence[Change], context: Context, find: Find, *, key_of: KeyOf | None) -> None:
    """Sets every conditional reference of these changes. A reference that matches no resource, or several, becomes its change's fault.

    `key_of` (in a transaction): the key of the resource that is written under a fullUrl, which criteria may name. The search then
    also finds the resources as the changes will write them, and not those that they delete. None: each change is independent.
    Thousands of references with few distinct criteria cost one search per distinct criteria.
    """
    known: dict[str, Condition | None] = {}
    places = _Places()
    uses: dict[int, list[tuple[Link, Condition]]] = {}

    def collect(change: Change) -> None:
        for link in change.links:
            if link.kind is Kind.REFERENCE and "?" in link.text and link.container[link.name] == link.text:
                if link.text not in known:
                    place = places.of(change, link)
                    known[link.text] = _condition(link, context, key_of=key_of, place=place)
                if condition := known[link.text]:
                    uses.setdefault(change.entry.index, []).append((link, condition))

    for_each(changes, collect)
    if not uses:
        return
    targets = _targets(
        {condition for of in uses.values() for _, condition in of},
        changes,
        context,
        find=find,
        together=key_of is not None,
    )

    def resolve(change: Change) -> None:
        for link, condition in uses.get(change.entry.index, ()):
            keys = targets[condition]
            if len(keys) != 1:
                raise _failure(len(keys), places.of(change, link))
            link.container[link.name] = keys[0]

    for_each(changes, resolve)


def _targets(
    wanted: Iterable[Condition], changes: Sequence[Change], context: Context, *, find: Find, together: bool
) -> dict[Condition, list[str]]:
    """The keys of the resources that will meet each condition after the changes."""
    found = find(wanted)
    writing = [change for change in changes if change.writes] if together else []
    moved = {change.key for change in writing}
    bodies = {
        change.key: change.resource
        for change in writing
        if change.resource and change.entry.interaction is not Interaction.DELETE
    }
    written = Written(context.store, context.found_by, bodies, gone=moved - bodies.keys())
    targets: dict[Condition, list[str]] = {}
    for condition, heads in found.items():
        keys = [head.key for head in heads if head.key not in moved] + written.meeting(condition.query)
        targets[condition] = keys or _owner(condition, context, moved)
    return targets


def _owner(condition: Condition, context: Context, moved: set[str]) -> list[str]:
    """The owner of the condition's claim: a resource created a moment ago, which the index may not have yet."""
    owner = claimant(context.session, condition)
    head = context.store.read(owner) if owner and owner not in moved else None
    return [head.key] if head and meets(context.store, head, condition, fence=context.found_by) else []


def _condition(link: Link, context: Context, *, key_of: KeyOf | None, place: str) -> Condition | None:
    target, _, criteria = link.text.partition("?")
    if key_of:
        criteria = resolve_criteria(criteria, target.rstrip("/").rpartition("/")[2], key_of)
    return conditional_reference(context.session, f"{target}?{criteria}", context.base, expression=place)


def _failure(matches: int, expression: str) -> BulkheadError:
    if matches:
        return MultipleMatches(
            "several resources match the criteria of this reference: make them select one", expression
        )
    return NotFound("no resource matches the criteria of this reference", expression)


class _Places:
    """Where references are: `Bundle.entry[7].resource.subject`. Each resource is gone through once, however many it has."""

    def __init__(self) -> None:
        self._paths: dict[int, dict[int, str]] = {}

    def of(self, change: Change, link: Link) -> str:
        resource, index = change.resource or {}, change.entry.index
        if index not in self._paths:
            # Each stays in its resource: a link is set in place.
            self._paths[index] = {id(reference): path for path, reference in references.walk(resource)}
        path = self._paths[index].get(id(link.container), change.entry.type)
        return f"{change.entry.place}.resource{path.removeprefix(change.entry.type)}"
