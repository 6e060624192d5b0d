"""What a search counts from keys, for who may see all of its types: a type, what an account has of it, what `confirming` knows.

Under a fence every match is read instead: the index lags, and no caller is to count what was taken from it a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable

from bulkhead.compartments.compartment_definitions import TYPE as DEFINITIONS
from bulkhead.errors import TooCostly
from bulkhead.search import confirming
from bulkhead.search.query import Query
from bulkhead.search.scan import Scan
from bulkhead.store.version import Fence, is_open


def from_keys(scan: Scan, unsorted: Callable[[], Scan], *, keys: int, heads: int, refusal: TooCostly) -> int | None:
    """The number of all matches; None where each has to be read.

    `unsorted` gives the same search without an order. `refusal` is raised where it takes more than `keys`, or than `heads` of what the
    keys leave open.
    """
    total = _of_types(scan, keys=keys, refusal=refusal)
    if total is None:
        total = _of_accounts(scan, keys=keys)
    if total is None and (by_heads := confirming.confirmed(scan)):
        scan = unsorted() if scan.query.results.sort else scan
        total = confirming.count(scan, by_heads, listed=keys, read=heads, refusal=refusal)
    return total


def _of_types(scan: Scan, *, keys: int, refusal: TooCostly) -> int | None:
    """The number of all resources of the types, in whatever order; None under a condition or a fence, of a type of which some are built in,
    or in a table that older code has written."""
    query = scan.query
    if not query.types or query.compartment or query.clauses or query.chains:
        return None
    if DEFINITIONS in query.types or not all(is_open(scan.fence, name) for name in query.types):
        return None
    if not scan.store.can_count():
        return None
    total = 0
    for name in query.types:
        found = scan.store.count(name, most=keys - total)
        if found is None:
            raise refusal
        total += found
    return total


def _of_accounts(scan: Scan, *, keys: int) -> int | None:
    """The number of all resources of the types that carry one of some accounts; None under any other condition."""
    if not scan.query.types or not scan.store.heads_can_count():
        return None
    total = 0
    for name in scan.query.types:
        accounts = accounts_of(scan.query, scan.fence, name)
        if accounts is None:
            return None
        found = scan.store.count_of_accounts(
            name, accounts, is_counted=lambda head: scan.admitted(head) is not None, most=keys - total
        )
        if found is None:
            return None
        total += found
    return total


def accounts_of(query: Query, fence: Fence, resource_type: str) -> frozenset[str] | None:
    """The accounts one of which makes a resource of a type a match, and nothing else does; None where more than that decides."""
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
