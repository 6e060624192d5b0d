"""Which stored definitions serve a search: those in force for all, and of a fenced caller's own those that it may see.

Those in force are found in a list of their own, strongly consistent. What other tenants have defined is not read, however much it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.compartments.governing import governs
from bulkhead.errors import TooCostly
from bulkhead.fhir import references
from bulkhead.search.literals import escape
from bulkhead.search.query import Query
from bulkhead.store.definitions import ALL, NAMED_BY
from bulkhead.store.version import Fence, ListedFence, Version

if TYPE_CHECKING:
    from bulkhead.store import Store

Find = Callable[["Store", Query, int, Fence], list[Version]]
"""`run.find`."""

MOST = 1000
"""The most definitions under one name that are read."""


def serving(store: Store, fence: Fence, find: Find, resource_type: str, parameter: str, value: str) -> list[Version]:
    """The definitions of a type that serve a search of the caller with this `fence`, and that meet `parameter=value`.

    First those in force for all, then those of the caller's own tenant, each by id. `parameter` is `_id`, what the type is named by
    (`NAMED_BY`), or any other by which all of the type are filtered.
    """
    if parameter == "_id":
        key = references.local(f"{resource_type}/{value}")
        head = store.read(key) if key else None
        found = [store.version(head)] if head and not head.deleted else []
        return [one for one in found if governs(one.head) or is_own(one, fence)]
    named = NAMED_BY[resource_type] == parameter
    common = _in_force(
        store, resource_type, value.casefold() if named and parameter == "code" else value if named else ALL
    )
    if not isinstance(fence, ListedFence):
        return common
    from bulkhead.search.parse import parse

    query = parse([(parameter, escape(value))], resource_type)
    own = find(store, query, MOST, replace(fence, sees=lambda candidate: is_own(candidate, fence)))
    return common + sorted(own, key=lambda one: one.key)


def _in_force(store: Store, resource_type: str, name: str) -> list[Version]:
    keys = store.governing(resource_type, name)
    if len(keys) > MOST:
        raise TooCostly(f"more than {MOST} {resource_type} resources are defined under one name")
    heads = store.read_many(keys) if keys else {}
    return [store.version(heads[key]) for key in keys if key in heads and governs(heads[key])]


def is_own(candidate: Version, fence: Fence) -> bool:
    """Whether a definition is of the tenant of a caller with this fence. A caller whom nothing fences has no tenant."""
    return isinstance(fence, ListedFence) and bool(candidate.head.accounts) and fence(candidate)
