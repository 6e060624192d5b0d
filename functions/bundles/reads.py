"""Entries of a bundle that write nothing: answered by the operation that serves the same request by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from bulkhead import access
from bulkhead.bundles import Entry
from bulkhead.bundles.response import Content, status
from bulkhead.errors import NotSupported
from bulkhead.model import json
from bulkhead.search import custom, parse
from functions.http import Answer, Event, Operation, Request
from infra.routes import BASE, ROUTES, Route, fits

# Functions whose operations only read the table, with the rights that this function has, too.
_READING = ("resources", "search")
_WRITING = ("create", "update", "delete", "meta-add", "meta-delete")
_KEPT_HEADERS = ("x-medplum",)


class Reads:
    """Answers for the caller of `request`, and under its base URL."""

    def __init__(self, request: Request) -> None:
        self._outer = request
        self._headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}

    def check(self, entry: Entry) -> None:
        """NotSupported where no operation answers the entry; BadRequest for a search that is not understood."""
        request = self._request(entry)
        if request.route.operation == "search":
            known = custom.stored_in(request.store, access.fence(request.store, request.caller, access.SEARCH))
            parse.parse(request.query, request.parameters["type"], base=request.base, custom=known)

    def answer(self, entry: Entry) -> Content:
        """What the client would get for the request of the entry."""
        request = self._request(entry)
        operations: dict[str, Operation] = import_module(f"functions.{request.route.function}.handler").OPERATIONS
        answered = operations[request.route.operation](request)
        self._outer.shown += request.shown
        return _content(answered, entry.method == "HEAD")

    def _request(self, entry: Entry) -> Request:
        path, _, query = entry.url.partition("?")
        route = _route("GET" if entry.method == "HEAD" else entry.method, f"{BASE}/{path}")
        if route is None:
            raise NotSupported("bundles do not take this request", expression=f"{entry.place}.request.url")
        conditions = {"if-none-match": entry.if_none_match, "if-modified-since": _http_date(entry.if_modified_since)}
        event: Event = {
            "routeKey": route.key,
            "rawPath": f"{BASE}/{path}",
            "rawQueryString": query,
            "pathParameters": _parameters(route.path, f"{BASE}/{path}"),
            "headers": self._headers | {name: value for name, value in conditions.items() if value is not None},
            "requestContext": {"http": {"method": entry.method}},
        }
        request = Request(event, route)
        request.caller, request.base = self._outer.caller, self._outer.base
        return request


def _route(method: str, path: str) -> Route | None:
    """The reading route of a path; a literal segment wins over a variable one, as in API Gateway."""
    found = [route for route in ROUTES if route.method == method and fits(route.path, path)]
    best = min(found, key=lambda route: route.path.count("{"), default=None)
    return best if best and best.function in _READING and best.operation not in _WRITING else None


def _parameters(template: str, path: str) -> dict[str, str]:
    pairs = zip(template.split("/"), path.split("/"), strict=True)
    return {name[1:-1]: unquote(value) for name, value in pairs if name.startswith("{")}


def _http_date(instant: str | None) -> str | None:
    """An instant as a header has it: `ifModifiedSince` stands for `If-Modified-Since`."""
    return format_datetime(datetime.fromisoformat(instant).astimezone(UTC), usegmt=True) if instant else None


def _content(answer: Answer, without_body: bool) -> Content:
    response: dict[str, Any] = {"status": status(answer.status)}
    resource = json.loads(answer.body) if answer.body else answer.resource
    if "etag" in answer.headers:
        response["etag"] = answer.headers["etag"]
    updated = (resource or {}).get("meta", {}).get("lastUpdated")
    if updated:
        response["lastModified"] = updated
    return {"response": response} | ({"resource": resource} if resource and not without_body else {})
