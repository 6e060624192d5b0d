"""read, vread, create, update, delete, and the history of one resource (R4 http.html)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from bulkhead import resources, settings
from bulkhead.errors import BadRequest
from bulkhead.store import Head
from functions.http import Answer, Request, lambda_handler, version_headers, written
from functions.resources import meta

CREATED, OK, NO_CONTENT, NOT_MODIFIED = 201, 200, 204, 304


def _key(request: Request) -> str:
    return resources.key_of(request.parameters["type"], request.parameters["id"])


def read(request: Request) -> Answer:
    """`GET [base]/Type/id`."""
    head = resources.read(request.store, request.caller, _key(request))
    headers = version_headers(head)
    if request.headers.get("if-none-match") in (headers["etag"], headers["etag"].removeprefix("W/")):
        return Answer(NOT_MODIFIED, headers=headers)
    return Answer(OK, request.represent(head), headers)


def vread(request: Request) -> Answer:
    """`GET [base]/Type/id/_history/version`."""
    head = resources.read_version(request.store, request.caller, _key(request), request.parameters["version"])
    return Answer(OK, request.represent(head), version_headers(head))


def create(request: Request) -> Answer:
    """`POST [base]/Type`, with `If-None-Exist` as a conditional create."""
    resource_type = resources.known_type(request.parameters["type"])
    resource = resources.checked(request.resource(), resource_type)
    criteria = request.headers.get("if-none-exist")
    condition = None
    if criteria is not None:
        from bulkhead.bundles.conditions import condition as parsed

        condition = parsed(resource_type, criteria, "If-None-Exist")
    head, made = resources.create(request.store, request.caller, resource, condition)
    return written(request, head, CREATED if made else OK)


def update(request: Request) -> Answer:
    """`PUT [base]/Type/id`, which creates under a new id, too."""
    key = _key(request)
    resource = resources.checked(request.resource(), request.parameters["type"], request.parameters["id"])
    head, made = resources.update(request.store, request.caller, resource, key, request.headers.get("if-match"))
    return written(request, head, CREATED if made else OK)


def delete(request: Request) -> Answer:
    """`DELETE [base]/Type/id`: 204 also where there was nothing to delete."""
    head = resources.delete(request.store, request.caller, _key(request), request.headers.get("if-match"))
    return Answer(NO_CONTENT, headers=version_headers(head) if head else {})


def history(request: Request) -> Answer:
    """`GET [base]/Type/id/_history` with `_count` and a page cursor."""
    key = _key(request)
    given = dict(request.query)
    count = _count(given.get("_count"))
    position = _whole_number(given["_cursor"], "_cursor") if "_cursor" in given else None
    found = resources.history(request.store, request.caller, key, position, count + 1)
    page = found[:count]
    links = [{"relation": "self", "url": _link(request, key, given)}]
    if len(found) > count and page:
        following = {"_count": str(count), "_cursor": str(page[-1].version)}
        links.append({"relation": "next", "url": _link(request, key, following)})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history", "link": links}
    if position is None and len(found) <= count:
        bundle["total"] = len(found)
    elif position is None:
        bundle["total"] = found[0].version
    bundle["entry"] = [_entry(request, head) for head in page]
    return Answer(OK, bundle)


def _count(text: str | None) -> int:
    if text is None:
        return settings.current().count_default
    return max(1, min(_whole_number(text, "_count"), settings.current().count_limit))


def _whole_number(text: str, parameter: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{parameter} is a whole number", parameter)
    return int(text)


def _link(request: Request, key: str, parameters: dict[str, str]) -> str:
    query = urlencode(parameters)
    return f"{request.base}/{key}/_history" + (f"?{query}" if query else "")


def _entry(request: Request, head: Head) -> dict[str, Any]:
    """One version as an entry of a history Bundle (R4 http.html#history)."""
    url = head.type if head.method == "POST" else head.key
    status = "201" if head.version == 1 else "204" if head.deleted else "200"
    entry: dict[str, Any] = {"fullUrl": f"{request.base}/{head.key}"}
    if not head.deleted:
        entry["resource"] = request.represent(head)
    entry["request"] = {"method": head.method, "url": url}
    entry["response"] = {"status": status, "etag": f'W/"{head.version}"', "lastModified": head.updated}
    return entry


OPERATIONS = {
    "read": read,
    "vread": vread,
    "create": create,
    "update": update,
    "delete": delete,
    "history": history,
    **meta.OPERATIONS,
}
handler = lambda_handler(OPERATIONS)
