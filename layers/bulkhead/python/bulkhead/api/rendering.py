"""Renders a Response in the format that the client asked for, compressed where that pays."""

from __future__ import annotations

import gzip
import re

from bulkhead.api import binary, formats
from bulkhead.api.request import WHOLE, Request
from bulkhead.api.response import Response
from bulkhead.errors import NotAcceptable
from bulkhead.fhir import json

# Below this size, compression costs more than it saves.
_GZIP_FROM = 1400


def render(request: Request, response: Response) -> tuple[bytes, dict[str, str]]:
    """Body and headers to send. The body is present for HEAD too, which needs its length."""
    if response.rendered is not None:
        return response.rendered
    body, headers = _content(request, response)
    headers |= response.headers
    if body and len(body) >= _GZIP_FROM and _takes_gzip(request.headers.get("accept-encoding", "")):
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body, 1)
    return body, headers


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip without excluding it (`gzip;q=0`)."""
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", accept_encoding) is not None


def _content(request: Request, response: Response) -> tuple[bytes, dict[str, str]]:
    """The body in the format that the client asked for, and the headers that belong to it."""
    resource = response.resource
    if resource is None and (response.body is None or "content-type" in response.headers):
        return response.body or b"", {}
    try:
        wanted = request.wanted
    except NotAcceptable:
        wanted = formats.DEFAULT
    is_read = request.is_binary and request.method in ("GET", "HEAD") and response.status == 200
    # A part of a Binary is no document: without its data there would be no bytes.
    if (
        is_read
        and resource
        and request.selection == (WHOLE, [])
        and binary.is_raw(wanted, content := json.plain(resource))
    ):
        return binary.raw(content)
    headers = {"content-type": f"{wanted.content_type}; charset=utf-8", "vary": "accept, accept-encoding"}
    if resource is None:
        assert response.body is not None
        if wanted.format == formats.JSON:
            return response.body, headers
        resource = json.loads(response.body)
    return formats.rendered(wanted.format, resource, pretty=request.pretty), headers
