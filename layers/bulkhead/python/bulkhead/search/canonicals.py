"""Canonicals: references by url, perhaps with a version, to resources that have that url (R4 references.html#canonical).

Chains and includes follow them like References. A canonical without a version leads to every version on this server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulkhead.errors import TooCostly
from bulkhead.facts import extract, index_facts
from bulkhead.fhir import references
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.search.query import Clause, Query, ReferenceValue, Results, UriValue
from bulkhead.store.version import Version

Find = Callable[[Query, int], tuple[list[Version], bool]]
"""(query, limit on heads to read) -> its matches, and whether these are all."""

TYPES = 8
"""The limit on types in which a url is looked up."""
LOOKED_UP = 2_000
"""How many urls one search looks up: a resource may have a hundred thousand of them."""
MOST = 100
"""The limit on resources with one url that are read."""


@dataclass(frozen=True)
class Canonicals:
    """The resources that canonicals lead to, for one search."""

    find: Find
    found: dict[tuple[str, str], list[Version]] = field(default_factory=dict)

    def pointed_at(self, source: Version, parameter: SearchParameter, types: Iterable[str]) -> Iterator[str]:
        """The keys of the resources of some types that a resource refers to by url through a parameter. Empty for too many types.

        TooCostly where the search has looked up too many urls.
        """
        if not index_facts.is_canonical(source.head.type, parameter):
            return
        wanted = [name for name in types if "url" in search_parameters(name)]
        texts = [text for text in canonicals(source, parameter) if ":" in text]
        if len(wanted) > TYPES:
            return
        for text in texts:
            for name in wanted:
                yield from (one.key for one in self._named(name, text))

    def _named(self, resource_type: str, text: str) -> list[Version]:
        url, version, _ = references.canonical(text)
        if (resource_type, url) not in self.found:
            if len(self.found) >= LOOKED_UP:
                raise TooCostly("following canonicals would look up too many resources: narrow the search")
            parameter = search_parameters(resource_type)["url"]
            self.found[resource_type, url], _ = self.find(query(resource_type, parameter, UriValue(url)), MOST)
        return [one for one in self.found[resource_type, url] if version in (None, "", one.body.get("version"))]

    def pointing_at(self, target: Version, resource_type: str, parameter: SearchParameter, *, most: int) -> list[str]:
        """The keys of the resources of a type that refer to one by its url."""
        values = names(target.body)
        if not values or not index_facts.is_canonical(resource_type, parameter):
            return []
        found, _ = self.find(query(resource_type, parameter, *values), most)
        return [one.key for one in found]


def query(resource_type: str, parameter: SearchParameter, *values: UriValue | ReferenceValue) -> Query:
    """A plain search of one type by one parameter."""
    clause = Clause(parameter.code, parameter, None, values)
    return Query((resource_type,), resource_type, None, (clause,), (), Results(count=MOST), ())


def canonicals(source: Version, parameter: SearchParameter) -> list[str]:
    return [value for _, value in extract.values(source.body, parameter) if isinstance(value, str)]


def names(resource: dict[str, Any]) -> tuple[ReferenceValue, ...]:
    """The canonicals that refer to a resource: its url without a version, and with its own."""
    url, version = resource.get("url"), resource.get("version")
    if not isinstance(url, str):
        return ()
    return (ReferenceValue(url=f"{url}|"), *([ReferenceValue(url=f"{url}|{version}")] if version else []))


def own(resource_type: str) -> Sequence[SearchParameter]:
    """The parameters of a type that are about canonicals."""
    known = search_parameters(resource_type).values()
    return [
        one
        for one in known
        if one.type == "reference" and one.expression and index_facts.is_canonical(resource_type, one)
    ]
