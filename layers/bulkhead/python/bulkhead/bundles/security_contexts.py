"""A transaction that creates a Binary together with the one resource that links to it: the Binary follows that resource.

Semantics, section 3; the setting BINARY_CONTEXT. A Binary that says itself what it follows stays as it is. So does one to which several
resources of the transaction link, or none: to choose would be to guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bulkhead.bundles.changes import Change
from bulkhead.facts.security_context import BINARY

_ELEMENT = "securityContext"


def give(changes: Sequence[Change], base: str) -> None:
    """Set the `securityContext` of new Binaries without one, once all links are resolved. `base` is this server's URL."""
    binaries = [change for change in changes if change.resource and change.resource["resourceType"] == BINARY]
    for change in binaries:
        if change.follows and change.resource:
            del change.resource[_ELEMENT]
            change.follows = False
    wanted = {change.key: change for change in binaries if _is_asked(change)}
    if not wanted:
        return
    linking: dict[str, set[str]] = {key: set() for key in wanted}
    for change in changes:
        if change.writes and change.resource and change.resource["resourceType"] != BINARY:
            for key in _linked_to(change, base) & wanted.keys():
                linking[key].add(change.key)
    for key, found in linking.items():
        resource = wanted[key].resource
        if len(found) == 1 and resource is not None:
            resource[_ELEMENT] = {"reference": found.pop()}
            wanted[key].follows = True


def _is_asked(change: Change) -> bool:
    """Whether the change creates a Binary that does not say what it follows."""
    is_new = change.base is None or change.base.deleted
    return is_new and change.writes and change.resource is not None and _ELEMENT not in change.resource


def _linked_to(change: Change, base: str) -> set[str]:
    """What the resource of a change links to now."""
    now = (replace(link, text=link.container[link.name]) for link in change.links)
    return {url.removeprefix(f"{base}/") for link in now for url in link.urls()}
