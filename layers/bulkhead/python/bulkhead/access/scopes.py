"""SMART scopes: `system/*.cruds`, `user/Observation.rs?category=laboratory`, v1's `patient/*.read` (SMART App Launch 2, scopes).

A scope with a query gives its rights only on the resources that meet the query. Only criteria that one resource answers
alone can bound a right. A scope gives nothing if its query has a chain, a value set, an unknown parameter or one that shapes
the result, or if it cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from bulkhead.fhir import definitions

if TYPE_CHECKING:
    from bulkhead.search.query import Clause
    from bulkhead.store.version import Version

ANY_TYPE = "*"

_SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Za-z]+)"
    r"\.(?:(?P<v1>read|write|\*)|(?P<v2>(?=[cruds])c?r?u?d?s?)(?P<bounded>\?(?P<query>.*))?)"
)
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
# Parameters that need more than the resource itself.
_ELSEWHERE = frozenset({"_compartment", "_list", "_has", "_text", "_content", "_filter", "_query", "near"})
_MODIFIERS = frozenset({None, "missing", "not", "exact", "contains", "text", "of-type", "identifier"})


@dataclass(frozen=True, slots=True)
class Scope:
    """The rights of one scope: `rights` (of `cruds`) on a type (`*` for all); with a `query`, on the resources that meet it."""

    context: str
    resource_type: str
    rights: str
    query: str = ""

    def gives(self, right: str, resource_type: str) -> bool:
        """Whether it gives the right on all or some resources of the type."""
        return right in self.rights and self.resource_type in (ANY_TYPE, resource_type)

    def covers(self, candidate: Version) -> bool:
        """Whether a resource, of a type that the scope is for, meets its query."""
        if not self.query:
            return True
        # Imported here: callers without queries in their scopes need no search engine.
        from bulkhead.search import matching

        clauses = _clauses(self.resource_type, self.query)
        # Without definitions of compartments: a scope's query cannot ask about them.
        return bool(clauses) and all(matching.matches(candidate, clause, {}) for clause in clauses)

    def __str__(self) -> str:
        return f"{self.context}/{self.resource_type}.{self.rights}" + (f"?{self.query}" if self.query else "")


def parse(words: Iterable[str]) -> tuple[Scope, ...]:
    """The SMART scopes among the words of a `scope` claim, each once; other words, and scopes that cannot be checked, are ignored."""
    return tuple(dict.fromkeys(scope for word in words if (scope := _scope(word))))


def _scope(word: str) -> Scope | None:
    match = _SCOPE.fullmatch(word)
    if match is None or (match["type"] != ANY_TYPE and match["type"] not in definitions.RESOURCE_TYPES):
        return None
    scope = Scope(match["context"], match["type"], match["v2"] or _V1[match["v1"]], match["query"] or "")
    return scope if match["bounded"] is None or _clauses(scope.resource_type, scope.query) else None


@lru_cache(maxsize=256)
def _clauses(resource_type: str, query: str) -> tuple[Clause, ...]:
    """The conditions of a scope's query, all of which must hold; () if it cannot be checked."""
    from bulkhead.errors import BulkheadError
    from bulkhead.search.parse import parse as parsed

    pairs = parse_qsl(query, keep_blank_values=True)
    try:
        found = parsed(pairs, None if resource_type == ANY_TYPE else resource_type, strict=True)
    except BulkheadError:
        return ()
    if found.chains or len(found.clauses) != len(pairs):
        return ()
    return found.clauses if all(_is_its_own(clause) for clause in found.clauses) else ()


def _is_its_own(clause: Clause) -> bool:
    """Whether a resource alone decides the condition."""
    known = clause.modifier in _MODIFIERS or clause.modifier in definitions.RESOURCE_TYPES
    return known and clause.parameter.code not in _ELSEWHERE and bool(clause.values)
