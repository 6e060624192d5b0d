"""Responses that do not change during the life of a process. Their ETag makes repeated requests cheap."""

from __future__ import annotations

import hashlib
from typing import Any

from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.fhir import json

# Seconds: an upgrade shows after five minutes at most.
_MAX_AGE = 300


def answer(request: Request, resource: dict[str, Any]) -> Response:
    """200 with a resource, or 304 if the client has it."""
    etag = tag(json.dumps(resource))
    headers = _headers(etag)
    return Response(304, headers=headers) if _has(request, etag) else Response(200, resource, headers)


def document(request: Request, body: bytes, content_type: str) -> Response:
    """200 with a document that is no resource, or 304 if the client has it."""
    etag = tag(body)
    # A resource gets its `Vary` with its format. A cache must not give what is compressed to a client that takes no gzip.
    headers = {**_headers(etag), "vary": "accept-encoding"}
    if _has(request, etag):
        return Response(304, headers=headers)
    return Response(200, headers={**headers, "content-type": content_type}, body=body)


def tag(body: bytes) -> str:
    return f'W/"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'


def _headers(etag: str) -> dict[str, str]:
    return {"etag": etag, "cache-control": f"public, max-age={_MAX_AGE}"}


def _has(request: Request, etag: str) -> bool:
    return etag in (word.strip() for word in request.headers.get("if-none-match", "").split(","))
