"""History of one resource, of a type, and of the system, as Bundles (R4 http.html#history)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from bulkhead import history, resources
from bulkhead.access import page_links
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.history import Page, Query
from bulkhead.store import Head


def of_instance(request: Request) -> Response:
    """`GET [base]/Type/id/_history`."""
    return _history(request, resources.key_of(request.parameters["type"], request.parameters["id"]))


def of_type(request: Request) -> Response:
    """`GET [base]/Type/_history`."""
    return _history(request, resources.known_type(request.parameters["type"]))


def of_system(request: Request) -> Response:
    """`GET [base]/_history`."""
    return _history(request, "")


def _history(request: Request, path: str) -> Response:
    known = request.session.settings
    pairs = page_links.opened(request.store, request.caller, request.query)
    query = history.parse(path, pairs, known.count_default, limit=known.count_limit)
    if request.most_entries:
        query = replace(query, count=min(query.count, request.most_entries))
    page = history.page(request.session, query)
    bundle: dict[str, Any] = {"resourceType": "Bundle"}
    if page.settled:
        bundle["meta"] = {"lastUpdated": page.settled}
    bundle["type"] = "history"
    if page.total is not None:
        bundle["total"] = page.total
    bundle["link"] = _links(request, query, page)
    bundle["entry"] = [_entry(request, head) for head in page.heads]
    if not page.heads:
        # FHIR has no empty arrays.
        del bundle["entry"]
    return Response(200, page_links.sealed(request.store, request.caller, bundle), entries=len(page.heads))


def _links(request: Request, query: Query, page: Page) -> list[dict[str, str]]:
    base = "/".join(part for part in (request.base, query.path, "_history") if part)
    cursors = {"self": query.cursor, "next": page.next, "previous": page.previous, "monitor": page.monitor}
    links = []
    for relation, text in cursors.items():
        if text is not None or relation == "self":
            given = dict(query.used or {}) | ({"_cursor": text} if text else {})
            links.append({"relation": relation, "url": base + (f"?{urlencode(given)}" if given else "")})
    return links


def _entry(request: Request, head: Head) -> dict[str, Any]:
    """One version as an entry of a history Bundle."""
    url = head.type if head.method == "POST" else head.key
    status = "201" if head.version == 1 else "204" if head.deleted else "200"
    entry: dict[str, Any] = {"fullUrl": f"{request.base}/{head.key}"}
    if not head.deleted:
        entry["resource"] = request.subset(request.show(request.store.version(head)))
    entry["request"] = {"method": head.method, "url": url}
    entry["response"] = {"status": status, "etag": f'W/"{head.version}"', "lastModified": head.updated}
    return entry
