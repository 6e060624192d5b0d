"""`$everything` of a patient or an encounter, by GET and by POST."""

from __future__ import annotations

from dataclasses import replace

from bulkhead import resources
from bulkhead.access import page_links
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.operations import everything_listing as operation

_FORM = "application/x-www-form-urlencoded"


def everything(request: Request) -> Response:
    """`GET|POST {Type}/{id}/$everything` with `start`, `end`, `_since`, `_type` and `_count`."""
    key = resources.key_of(request.parameters["type"], request.parameters["id"])
    pairs = page_links.opened(request.store, request.caller, request.query)
    if request.method == "POST" and request.content_type != _FORM and request.body.strip():
        pairs += operation.from_parameters(request.resource())
    asked = operation.asked(
        pairs,
        key,
        request.base,
        strict=request.prefer.handling == "strict",
        limits=request.session.settings,
    )
    asked = replace(asked, query=asked.query.of_at_most(request.most_entries))
    bundle = operation.everything(request.session, key, asked, base=request.base, represent=request.show)
    sealed = page_links.sealed(request.store, request.caller, bundle)
    return Response(200, sealed, entries=len(bundle.get("entry", ())))
