"""Resolves criteria of a transaction that name other entries by fullUrl, before it settles any identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bulkhead.bundles import placeholders
from bulkhead.bundles.changes import Change, faultless, for_each
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import Interaction
from bulkhead.bundles.full_urls import FullUrls
from bulkhead.errors import BadRequest
from bulkhead.resources.conditions import Condition

if TYPE_CHECKING:
    from bulkhead.store import Head

Find = Callable[[Iterable[Condition]], dict[Condition, list["Head"]]]


def settle_criteria(changes: Sequence[Change], find: Find, context: Context) -> None:
    """Replaces each fullUrl in the changes' criteria by `Type/id`, and makes their conditions anew; a fault stays with its change.

    Criteria may name an entry that has criteria itself. The function takes one round per link of such a chain, each with one
    search for all conditions of the round. BadRequest for changes in a circle. Without a fullUrl in criteria it searches nothing.
    """
    by_full_url = {change.entry.full_url: change for change in changes if change.entry.full_url}
    by_full_url |= {url.removeprefix(f"{context.base}/"): change for url, change in by_full_url.items()}
    waiting: dict[int, list[Change]] = {}
    for change in changes:
        text = criteria_of(change)
        named = placeholders.named_in(text, change.entry.type, by_full_url) if text else []
        targets = [by_full_url[value] for value in named]
        if targets:
            waiting[change.entry.index] = targets
    if not waiting:
        return
    settled = _settle_in_rounds(changes, waiting, find, context=context)
    _resolve_creates(changes, settled, context.base)


def criteria_of(change: Change) -> str:
    """The query string that selects the resource of the change; "" if it has none."""
    entry = change.entry
    if change.condition is None:
        return ""
    text = entry.if_none_exist if entry.interaction is Interaction.CREATE else entry.criteria
    return (text or "").rpartition("?")[2]


def _settle_in_rounds(
    changes: Sequence[Change], waiting: dict[int, list[Change]], find: Find, *, context: Context
) -> dict[int, str]:
    """The keys of the named entries, by number."""
    left = [change for change in changes if change.entry.index in waiting]
    deleted = _deleted(changes, waiting, find)
    settled: dict[int, str] = {}
    while left:
        unsettled = _numbers(left)
        ready = [
            change
            for change in left
            if all(target.entry.index not in unsettled for target in waiting[change.entry.index])
        ]
        if not ready:
            for change in left:
                change.fault = BadRequest(
                    "the criteria of these entries refer to each other in a circle", change.entry.condition_place
                )
            return settled
        targets = {target.entry.index: target for change in ready for target in waiting[change.entry.index]}
        _name([target for number, target in targets.items() if number not in settled], settled, deleted, find=find)
        keys = {
            name: settled[target.entry.index]
            for target in targets.values()
            if target.entry.full_url
            for name in (target.entry.full_url, target.entry.full_url.removeprefix(f"{context.base}/"))
        }

        def settle(change: Change, keys: dict[str, str] = keys) -> None:
            text = placeholders.resolve(criteria_of(change), change.entry.type, keys.get)
            change.condition = context.condition(change.entry.type, text, change.entry.condition_place)

        for_each(ready, settle)
        done = _numbers(ready)
        left = [change for change in left if change.entry.index not in done]
    return settled


def _deleted(changes: Sequence[Change], waiting: dict[int, list[Change]], find: Find) -> set[str]:
    """Keys of the resources that the transaction deletes: no entry finds them."""
    deletes = [change for change in changes if change.entry.interaction is Interaction.DELETE]
    ready = [change.condition for change in deletes if change.condition and change.entry.index not in waiting]
    found = find(ready) if ready else {}
    return {change.entry.key for change in deletes if change.entry.key} | {
        head.key for heads in found.values() for head in heads
    }


def _numbers(changes: Iterable[Change]) -> set[int]:
    return {change.entry.index for change in changes}


def _name(targets: Sequence[Change], settled: dict[int, str], deleted: set[str], *, find: Find) -> None:
    """Sets the key that each target has or will have. A target whose criteria match several resources fails later by itself."""
    found = find([target.condition for target in targets if target.condition])
    for target in targets:
        heads = [head for head in found[target.condition] if head.key not in deleted] if target.condition else []
        given = (target.entry.resource or {}).get("id") if target.entry.interaction is Interaction.UPDATE else None
        fresh = f"{target.entry.type}/{given or target.fresh_id}"
        settled[target.entry.index] = target.entry.key or (heads[0].key if heads else fresh)


def _resolve_creates(changes: Sequence[Change], settled: Mapping[int, str], base: str) -> None:
    """Resolves links of new resources as far as they are settled: criteria that name an entry have to match references to it."""
    made = faultless(changes)
    for change in made:
        fresh = change.entry.interaction is Interaction.CREATE and change.condition is None
        change.key = (
            settled.get(change.entry.index)
            or change.entry.key
            or (f"{change.entry.type}/{change.fresh_id}" if fresh else "")
        )
    full_urls = FullUrls(made, base)
    for change in made:
        if change.entry.interaction is Interaction.CREATE:
            resolver = full_urls.resolver(change)
            for link in change.links:
                link.set(resolver)
