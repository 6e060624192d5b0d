"""Visibility of the server's own AuditEvents: a caller sees one if it may see all its entities. Semantics, section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.access.incarnations import Births
from bulkhead.facts.audit_names import is_trail
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore
    from bulkhead.store.version import Fence

# The search parameter for the entities of an AuditEvent.
_ENTITY = "entity"


def audit_fence(store: ReadStore, inside: Fence) -> Fence:
    """Whether one of the server's AuditEvents is within a fence: if all its entities are, in their current state.

    So an event follows its entities when their accounts change. An event without entities, or about other events, is in no fence.
    Nor is one that is older than an entity: it tells of another resource, which had that id until it was purged. So whoever takes
    the id of what was purged does not get its trail. Up to one read more, for entities that have changed since the event.
    """
    seen: dict[str, Head | None] = {}
    births = Births(store)

    def is_inside(candidate: Version) -> bool:
        subjects = [key for key, via in candidate.targets.items() if _ENTITY in via]
        unknown = [key for key in subjects if key not in seen]
        heads = store.read_many(unknown) if unknown else {}
        for key in unknown:
            head = heads.get(key)
            is_there = head is not None and not head.deleted and not is_trail(key)
            seen[key] = head if head and is_there and inside(store.version(head)) else None
        entities = [head for key in subjects if (head := seen[key])]
        if not subjects or len(entities) < len(subjects):
            return False
        return births.are_before(candidate.head.updated, entities)

    return is_inside
