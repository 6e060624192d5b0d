"""What a search counts by the accounts of heads alone: the keys of these say enough (`store.counts`)."""

from __future__ import annotations

from bulkhead.search.query import Query
from bulkhead.store.version import Fence, is_open, opened_by


def accounts_of(query: Query, fence: Fence, resource_type: str) -> frozenset[str] | None:
    """The accounts one of which makes a visible resource of a type a match, and nothing else does; None where more than that decides."""
    if query.compartment or query.chains:
        return None
    opening = opened_by(fence, resource_type)
    visible = None if opening is None else frozenset(opening)
    if not query.clauses:
        return visible
    asked = asked_for(query)
    if asked is None:
        return None
    # What carries an account of the caller's is visible to it. What carries another one may be, by yet another.
    if is_open(fence, resource_type) or (visible is not None and asked <= visible):
        return asked
    return None


def asked_for(query: Query) -> frozenset[str] | None:
    """The accounts that `_account` names, where that is the one condition of a search and names resources of this server only."""
    if len(query.clauses) != 1:
        return None
    (clause,) = query.clauses
    if clause.parameter.code != "_account" or clause.modifier is not None or clause.links:
        return None
    named = [f"{resource_type}/{identifier}" for resource_type, identifier in clause.keys if resource_type]
    return frozenset(named) if named and len(named) == len(clause.keys) else None
