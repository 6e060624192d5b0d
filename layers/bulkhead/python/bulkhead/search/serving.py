"""Selects the stored definitions that serve a search: those in force for all, and a fenced caller's own that it may see.

A strongly consistent list holds those in force. Definitions of other tenants are not read, however many there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from bulkhead.compartments.governing import governs
from bulkhead.errors import TooCostly
from bulkhead.fhir import references
from bulkhead.search.literals import escape
from bulkhead.search.query import Query
from bulkhead.store.definitions import ALL, NAMED_BY
from bulkhead.store.version import Fence, ListedFence, Version

if TYPE_CHECKING:
    from bulkhead.store import ReadStore


class Find(Protocol):
    """`run.find`."""

    def __call__(self, store: ReadStore, query: Query, limit: int, *, fence: Fence) -> list[Version]: ...


MOST = 1000
"""The limit on definitions under one name."""


def serving(
    store: ReadStore, fence: Fence, find: Find, *, resource_type: str, parameter: str, value: str
) -> list[Version]:
    """The definitions of a type that meet `parameter=value` and serve a search of the caller with this `fence`.

    First those in force for all, then those of the caller's own tenant, each by id. `parameter` is `_id`, the parameter that names the
    type (`NAMED_BY`), or any other: then all definitions of the type are filtered.
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
    own = find(store, query, MOST, fence=replace(fence, sees=lambda candidate: is_own(candidate, fence)))
    return common + sorted(own, key=lambda one: one.key)


def _in_force(store: ReadStore, resource_type: str, name: str) -> list[Version]:
    keys = store.governing(resource_type, name)
    if len(keys) > MOST:
        raise TooCostly(f"more than {MOST} {resource_type} resources have one name: a search can use at most that many")
    heads = store.read_many(keys) if keys else {}
    return [store.version(heads[key]) for key in keys if key in heads and governs(heads[key])]


def is_own(candidate: Version, fence: Fence) -> bool:
    """Whether a definition belongs to the tenant of a caller with this fence. A caller without a fence has no tenant."""
    return isinstance(fence, ListedFence) and bool(candidate.head.accounts) and fence(candidate)
