"""`$meta`, `$meta-add` and `$meta-delete` on a resource; `$meta` also on one of its versions."""

from __future__ import annotations

from bulkhead import resources
from bulkhead.api.request import Request
from bulkhead.api.response import Response, version_headers
from bulkhead.operations import meta_change
from bulkhead.operations.meta_change import Change
from bulkhead.store import Head


def _key(request: Request) -> str:
    return resources.key_of(request.parameters["type"], request.parameters["id"])


def meta(request: Request) -> Response:
    """`GET {Type}/{id}/$meta` and `GET {Type}/{id}/_history/{version}/$meta`."""
    key, version = _key(request), request.parameters.get("version")
    if version is None:
        return _answer(request, resources.read(request.session, key))
    return _answer(request, resources.read_version(request.session, key, version))


def meta_add(request: Request) -> Response:
    """`POST {Type}/{id}/$meta-add`."""
    return _changed(request, meta_change.added)


def meta_delete(request: Request) -> Response:
    """`POST {Type}/{id}/$meta-delete`."""
    return _changed(request, meta_change.removed)


def _changed(request: Request, how: Change) -> Response:
    given = meta_change.parse(request.resource())
    if_match = request.headers.get("if-match")
    return _answer(request, meta_change.change(request.session, _key(request), given, how=how, if_match=if_match))


def _answer(request: Request, head: Head) -> Response:
    return Response(200, meta_change.answer(request.represent(head)["meta"]), version_headers(head))
