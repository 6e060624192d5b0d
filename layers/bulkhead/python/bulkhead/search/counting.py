"""What a search counts by the accounts of heads alone: the keys of these say enough (`store.counts`)."""

from __future__ import annotations

from bulkhead.search.query import Query
from bulkhead.store.version import Fence, is_open


def accounts_of(query: Query, fence: Fence, resource_type: str) -> frozenset[str] | None:
    """The accounts one of which makes a resource of a type a match, and nothing else does; None where more than that decides.

    So under every fence: the index lags, and no caller is to count what was taken from it a moment ago.
    """
    if query.compartment or query.chains or not is_open(fence, resource_type):
        return None
    return asked_for(query)


def asked_for(query: Query) -> frozenset[str] | None:
    """The accounts that `_account` names, where that is the one condition of a search and names resources of this server only."""
    if len(query.clauses) != 1:
        return None
    (clause,) = query.clauses
    if clause.parameter.code != "_account" or clause.modifier is not None or clause.links:
        return None
    named = [f"{resource_type}/{identifier}" for resource_type, identifier in clause.keys if resource_type]
    return frozenset(named) if named and len(named) == len(clause.keys) else None
