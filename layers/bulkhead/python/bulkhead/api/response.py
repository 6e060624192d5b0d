"""A response that knows no server, and parts that the responses of several interactions share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from bulkhead.errors import Issue
from bulkhead.fhir import outcome
from bulkhead.fhir.json import JsonResource

if TYPE_CHECKING:
    from bulkhead.api.request import Request
    from bulkhead.store import Head

RETRY_AFTER = "1"
"""Seconds after which a client may ask again."""


@dataclass(slots=True)
class Response:
    """A resource, nothing, or a ready body: JSON, or anything with a `content-type` of its own."""

    status: int
    resource: JsonResource | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    entries: int = 0
    """Of a page: the entries that a smaller one would have fewer of."""
    included: int = 0
    """Of a page: what its entries bring along."""
    rendered: tuple[bytes, dict[str, str]] | None = None
    """Body and headers as they are sent, once they are known: see `fitting`."""


def accepted(request: Request, job: str, progress: str) -> Response:
    """202: the answer comes later, at `Content-Location` (R5's asynchronous request pattern). `progress`: how far the job is."""
    told = (f"accepted as job {job}; Content-Location tells of it", progress)
    issues = [Issue("informational", text, severity="information") for text in told]
    return Response(202, outcome.outcome(issues), {"x-progress": progress, **status_headers(request, job)})


def status_headers(request: Request, job: str) -> dict[str, str]:
    """The URL of a job's status, and when to ask again: for every 202, including the status itself."""
    return {"content-location": f"{request.base}/job/{job}/status", "retry-after": RETRY_AFTER}


def version_headers(head: Head) -> dict[str, str]:
    """`ETag` and `Last-Modified` of a version (R4 http.html#versioning)."""
    moment = datetime.fromisoformat(head.updated)
    return {"etag": f'W/"{head.version}"', "last-modified": format_datetime(moment, usegmt=True)}


def written(request: Request, head: Head, status: int) -> Response:
    """The response to a create or update: version and location, and the content that `Prefer: return=` asks for."""
    headers = version_headers(head)
    headers["location"] = f"{request.base}/{head.key}/_history/{head.version}"
    returns = request.prefer.returns
    if returns in ("minimal", "OperationOutcome"):
        request.note_told(head)
    if returns == "minimal":
        return Response(status, None, headers)
    if returns == "OperationOutcome":
        done = Issue("informational", f"{head.key} now has version {head.version}", severity="information")
        return Response(status, outcome.outcome([done]), headers)
    return Response(status, request.represent(head), headers)
