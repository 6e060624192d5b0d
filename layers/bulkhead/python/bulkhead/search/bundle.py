"""A page of matches as a searchset Bundle (R4 bundle.html#searchset), with links that show the search as it was understood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from bulkhead.errors import Issue
from bulkhead.fhir import json, outcome, subset
from bulkhead.fhir.json import JsonResource
from bulkhead.search import cursor
from bulkhead.search.page import Page, Represent
from bulkhead.search.query import Query, Results
from bulkhead.store.version import Version

NAMED = 100
"""How many characters of an ignored parameter's name are repeated."""


def searchset(query: Query, page: Page, base: str, *, represent: Represent) -> dict[str, Any]:
    """The Bundle: `total` if known, `self`, `next` unless this is the end, matches, included resources, notes."""
    base = base.rstrip("/")
    result: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if page.total is not None and query.results.total != "none":
        result["total"] = page.total
    result["link"] = [{"relation": "self", "url": url(base, query, query.used)}]
    if query.results.cursor is not None:
        result["link"][0]["url"] = url(base, query, (*query.used, ("_cursor", query.results.cursor)))
    if page.next is not None:
        following = ("_cursor", cursor.encode(page.next, page.total, query))
        result["link"].append({"relation": "next", "url": url(base, query, (*query.used, following))})
    entries = [
        entry(candidate, "match", base, represent=represent, results=query.results) for candidate in page.matches
    ]
    entries += [
        entry(candidate, "include", base, represent=represent, results=query.results) for candidate in page.included
    ]
    notes = [*ignored(query), *page.notes]
    if notes:
        entries.append({"resource": outcome.outcome(notes), "search": {"mode": "outcome"}})
    if entries:
        result["entry"] = entries
    return result


def ignored(query: Query) -> list[Issue]:
    """The notes for the client about ignored parameters."""
    known = f"; {query.path or 'this search'} has {', '.join(query.known)}" if query.known else ""
    return [
        Issue(
            "not-supported",
            f"the parameter {name[:NAMED]} was ignored: this search does not have it{known}",
            severity="warning",
        )
        for name in query.ignored
    ]


def entry(candidate: Version, mode: str, base: str, *, represent: Represent, results: Results) -> dict[str, Any]:
    return {
        "fullUrl": f"{base}/{candidate.key}",
        "resource": shown(represent(candidate), mode, results),
        "search": {"mode": mode},
    }


def shown(resource: JsonResource, mode: str, results: Results) -> JsonResource:
    """The part of a resource that `_summary` and `_elements` ask for. Included resources have only elements named with their type."""
    if results.summary in (None, "count") and not results.elements:
        return resource
    resource = json.plain(resource)
    if results.summary not in (None, "count"):
        resource = subset.summary(resource, results.summary)
    names = [name for name in results.elements if mode == "match" or name.startswith(f"{resource['resourceType']}.")]
    return subset.elements(resource, names) if names else resource


def url(base: str, query: Query, parameters: Sequence[tuple[str, str]]) -> str:
    """`{base}/Patient?name=smith`: a GET whatever the request was."""
    where = f"{base}/{query.path}" if query.path else base
    return f"{where}?{urlencode(parameters, quote_via=quote, safe='/:,$*')}" if parameters else where
