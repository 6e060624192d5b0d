"""The audit trail at the edge: records what a response shows, and what it refuses, before the response leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.api import matching
from bulkhead.api.routes import BASE
from bulkhead.api.showing import READ, READS, is_recorded
from bulkhead.audit import recording
from bulkhead.audit.events import Deed, deed
from bulkhead.errors import BulkheadError, Forbidden, NotFound, Unauthorized
from bulkhead.fhir import references
from bulkhead.session import Session

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.api.request import Request
    from bulkhead.store import Head, Write

DEEDS: Mapping[str, Deed] = {
    **READS,
    "create": deed("create"),
    "update": deed("update"),
    "patch": deed("patch"),
    "delete": deed("delete"),
    "conditional-update": deed("update"),
    "conditional-patch": deed("patch"),
    "conditional-delete": deed("delete"),
    "bundle": deed("batch"),
    "upload": deed("operation", "$upload"),
    "purge": deed("operation", recording.PURGE),
    "document-new": deed("operation", "$document-new"),
    "document-update": deed("operation", "$document-update"),
    "merge-bundle": deed("operation", "$patient-merge"),
    "merge": deed("operation", "$merge"),
    "set-accounts": deed("operation", recording.SET_ACCOUNTS),
    "meta-add": deed("operation", "$meta-add"),
    "meta-delete": deed("operation", "$meta-delete"),
    "explain-access": deed("operation", "$explain-access"),
    "validate": deed("operation", "$validate"),
    "jobs": deed("operation", "jobs"),
    "status": deed("operation", "job status"),
    "cancel": deed("operation", "job cancel"),
}
"""All operations that need a caller. The commit itself records changes of resources (resources/commit.py)."""


def record_reads(request: Request) -> None:
    """Records what the request has shown. If this raises, the response must not leave."""
    if not request.session.shown:
        return
    events: list[Write] = []
    for operation in dict.fromkeys(shown.operation for shown in request.session.shown):
        heads = [shown.head for shown in request.session.shown if shown.operation == operation]
        events += recording.of_reads(request.session, READS.get(operation, READ), heads)
    recording.record(request.store, events)


def record_shown(request: Request, heads: Sequence[Head]) -> None:
    """Records that the request is about to show these versions, which have no AuditEvent yet. If this raises, they must not be shown."""
    wanted = [head for head in heads if is_recorded(request.session, request.route.operation, head)]
    recording.record(request.store, recording.of_reads(request.session, READ, wanted))


def record_refusal(request: Request, error: BulkheadError, sent: Callable[[], Any]) -> None:
    """Records that the request was refused, if it was. Raises where that is impossible.

    `sent` gives the Bundle of a batch or transaction, which is asked for only where one is refused.
    """
    if request.route.public:
        return
    caller = _caller(request)
    if recording.is_refusal(caller, error):
        key = _named(request.parameters)
        keys: Sequence[str | None] = [key] if key else _named_in(request, error, sent) or [None]
        session, done = Session.of(request.store, caller), DEEDS[request.route.operation]
        # One event for each: who may see only some of the resources learns what concerns these.
        events = [made for one in keys for made in recording.of_refusal(session, done, one, error=error)]
        recording.record(request.store, events)


def record_refused_entries(request: Request, asked: Sequence[Any], answered: Sequence[Mapping[str, Any]]) -> None:
    """Records the refused entries of a batch: `asked` and `answered` are the entries of both Bundles, in the same order."""
    events: list[Write] = []
    for entry, content in zip(asked, answered, strict=True):
        error = _REFUSALS.get(content["response"]["status"].partition(" ")[0])
        if error and recording.is_refusal(request.caller, error):
            key = _named_by(entry, request.base)
            events += recording.of_refusal(request.session, DEEDS["bundle"], key, error=error)
    recording.record(request.store, events)


def _named(parameters: Mapping[str, str]) -> str | None:
    """The resource that the parameters of a route name; None where they name a type alone, or a job."""
    if "type" not in parameters or "id" not in parameters:
        return None
    return references.local(f"{parameters['type']}/{parameters['id']}")


def _named_by(entry: Mapping[str, Any], base: str) -> str | None:
    """The resource that the request of a Bundle's entry is about, whatever it asks of it: `Patient/1`, `Patient/1/$everything`."""
    path = entry["request"]["url"].removeprefix(base).lstrip("/").partition("?")[0]
    return _named(matching.match(entry["request"]["method"], f"{BASE}/{path}").parameters)


def _named_in(request: Request, error: BulkheadError, sent: Callable[[], Any]) -> list[str]:
    """The resources that those entries of a refused Bundle are about for which it was refused."""
    places = [_PLACE.match(issue.expression or "") for issue in error.issues]
    faulty = sorted({int(place[1]) for place in places if place})
    if request.route.operation != "bundle" or not faulty:
        return []
    entries = sent().get("entry", [])
    keys = [_named_by(entries[index], request.base) for index in faulty if index < len(entries)]
    return list(dict.fromkeys(key for key in keys if key))


_PLACE = re.compile(r"Bundle\.entry\[(\d{1,9})\]", re.ASCII)
_REFUSALS: Mapping[str, BulkheadError] = {
    str(error.status): error for error in (Unauthorized("refused"), Forbidden("refused"), NotFound("refused"))
}


def _caller(request: Request) -> Caller:
    from bulkhead.access.policy import ANONYMOUS, Caller

    try:
        return request.caller
    except Unauthorized:
        return Caller(ANONYMOUS, (), address=request.session.address)
