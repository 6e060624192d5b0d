"""Entries of a bundle that are no plain writes: the Router answers each with a Session of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from bulkhead.access import policy
from bulkhead.api import router
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.api.routes import BASE
from bulkhead.bundles import Entry
from bulkhead.bundles.response import Content, status
from bulkhead.errors import NotSupported
from bulkhead.fhir import json
from bulkhead.search import custom, parse
from bulkhead.store import one_request

_NEVER = frozenset({"bundle", "upload", "status", "cancel", "unmatched", "smart-configuration", "openapi", "docs"})
"""Operations that no entry can call; the last three return something other than a resource."""
_NOT_ATOMIC = frozenset(
    {"set-accounts", "purge", "meta-add", "meta-delete", "document-new", "document-update", "merge-bundle", "merge"}
)
"""Operations that write in commits of their own."""


class Reader:
    """Answers entries for the caller of the bundle's request, and under its base URL."""

    def __init__(self, request: Request) -> None:
        self._outer = request

    def check(self, entry: Entry, *, atomic: bool) -> None:
        """Raises NotSupported for a request that no entry can make; BadRequest for a search that is not valid."""
        request = self._request(entry)
        if atomic and request.route.operation in _NOT_ATOMIC:
            raise NotSupported(
                "this operation commits by itself, so it cannot be part of a transaction: send it in a batch",
                expression=f"{entry.place}.request.url",
            )
        if request.route.operation == "search":
            known = custom.stored_in(request.store, policy.fence(request.store, request.caller, policy.SEARCH))
            parse.parse(
                request.query,
                request.parameters["type"],
                base=request.base,
                custom=known,
                limits=request.session.settings,
            )

    def answer(self, entry: Entry) -> Content:
        """The response that the client would get for the entry's request. BulkheadError."""
        request = self._request(entry)
        with one_request():
            response = router.perform(request)
        self._outer.session.shown.extend(request.session.shown)
        return _content(response, without_body=entry.method == "HEAD")

    def _request(self, entry: Entry) -> Request:
        path, _, query = entry.url.partition("?")
        headers = {
            "if-match": entry.if_match,
            "if-none-match": entry.if_none_match,
            "if-modified-since": _http_date(entry.if_modified_since),
            "content-type": None if entry.resource is None else "application/fhir+json",
        }
        request = Request(
            entry.method,
            f"{BASE}/{path}",
            self._outer.session.of_entry(),
            headers={name: value for name, value in headers.items() if value is not None},
            query=query,
            body=b"" if entry.resource is None else json.dumps(entry.resource),
        )
        router.require_operation(request)
        if request.route.operation in _NEVER:
            raise NotSupported(
                "an entry of a bundle cannot make this request: send it by itself",
                expression=f"{entry.place}.request.url",
            )
        return request


def _http_date(instant: str | None) -> str | None:
    """An instant in the form of a header: `ifModifiedSince` becomes `If-Modified-Since`."""
    return format_datetime(datetime.fromisoformat(instant).astimezone(UTC), usegmt=True) if instant else None


def _content(answered: Response, *, without_body: bool) -> Content:
    response: dict[str, Any] = {"status": status(answered.status)}
    resource = json.loads(answered.body) if answered.body else json.plain(answered.resource or {})
    if "etag" in answered.headers:
        response["etag"] = answered.headers["etag"]
    updated = resource.get("meta", {}).get("lastUpdated")
    if updated:
        response["lastModified"] = updated
    return {"response": response} | ({"resource": resource} if resource and not without_body else {})
