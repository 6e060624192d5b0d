"""`$set-accounts` with `preview`: what the request would change, by the code that would change it. Nothing is written, no job started.

Semantics, section 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bulkhead.access import policy
from bulkhead.compartments import propagation
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Head

NAMED = 100
"""Resources that a preview names."""

Change = tuple[Head, Head]
"""A resource as it is, and as it would be."""


@dataclass(slots=True)
class Preview:
    """What would come of a request: how many resources would stand as asked, and what changes of those that the caller may see.

    `gains` and `loses` count resources by account and type; `changed` are keys, in order of type and id after the target, the first hundred.
    `complete` is False where the compartment has more members than were looked at.
    """

    updated: int = 0
    complete: bool = True
    gains: dict[str, Counter[str]] = field(default_factory=dict)
    loses: dict[str, Counter[str]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def note(self, before: Head, after: Head) -> None:
        """Count what changes of one resource."""
        had, has = set(before.accounts), set(after.accounts)
        for counts, accounts in ((self.gains, has - had), (self.loses, had - has)):
            for account in accounts:
                counts.setdefault(account, Counter())[before.type] += 1
        if len(self.changed) < NAMED:
            self.changed.append(before.key)


def preview(session: Session, key: str, request: Request, *, if_match: str | None) -> Preview:
    """What `set_accounts_run.run` would do. It looks at SYNC_LIMIT members at most.

    Raises what the run raises before it changes anything, but for TooCostly.
    """
    store, caller = session.store, session.caller
    target = set_accounts_run.checked_target(session, key, request, if_match=if_match)
    previewed = set_accounts_run.previewed(session, target, request)
    found = Preview(updated=1)
    visible = policy.fence(store, caller, policy.READ) if caller.restricted else lambda version: True
    if _differs(target, previewed) and visible(store.version(target)):
        found.note(target, previewed)
    if not request.propagate:
        return found
    reaches = propagation.Reach(key, caller.accounts)
    for page in _pages(session, key, found):
        standing, changes = propagation.preview(store, previewed, page, reaches=reaches)
        found.updated += standing
        for before, after in changes:
            if visible(store.version(before)):
                found.note(before, after)
    return found


def _pages(session: Session, key: str, found: Preview) -> Iterator[list[str]]:
    room = session.store.settings.sync_limit
    for page in propagation.members(session.store, key):
        if len(page) > room:
            found.complete = False
            yield page[:room]
            return
        room -= len(page)
        yield page


def _differs(before: Head, after: Head) -> bool:
    """Whether something changes that says who has a resource."""
    return any(getattr(before, name) != getattr(after, name) for name in ("explicit", "inherited", "ends", "sealed"))


def answer(found: Preview) -> dict[str, Any]:
    """The Parameters that tell a client."""
    parameters: list[dict[str, Any]] = [
        {"name": "resourcesUpdated", "valueInteger": found.updated},
        {"name": "complete", "valueBoolean": found.complete},
    ]
    for account in sorted({*found.gains, *found.loses}):
        part: list[dict[str, Any]] = [{"name": "account", "valueReference": {"reference": account}}]
        for name, counts in (("gains", found.gains), ("loses", found.loses)):
            part += [_count(name, kind, number) for kind, number in sorted(counts.get(account, Counter()).items())]
        parameters.append({"name": "account", "part": part})
    parameters += [{"name": "changed", "valueReference": {"reference": key}} for key in found.changed]
    return {"resourceType": "Parameters", "parameter": parameters}


def _count(name: str, resource_type: str, number: int) -> dict[str, Any]:
    return {
        "name": name,
        "part": [{"name": "type", "valueCode": resource_type}, {"name": "count", "valueInteger": number}],
    }
