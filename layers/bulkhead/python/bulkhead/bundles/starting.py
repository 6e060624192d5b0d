"""The first step of processing a bundle: a Change for each entry that writes, with its condition, its patch or its links."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bulkhead.bundles.changes import Change, for_each
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import Entry, Interaction
from bulkhead.bundles.links import find_links


def start(entries: Iterable[Entry], context: Context) -> list[Change]:
    """A Change for each of these writing entries, in their order; an invalid one has a `fault`.

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
