"""The audit trail at the edge: what was shown is recorded before the answer leaves, and so is what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.audit import recording
from bulkhead.audit.events import Deed, deed
from bulkhead.errors import BulkheadError, Forbidden, NotFound, Unauthorized
from bulkhead.fhir import references
from bulkhead.session import Session

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.api.request import Request
    from bulkhead.store import Head, Write

READS: Mapping[str, Deed] = {
    "read": deed("read"),
    "vread": deed("vread"),
    "history": deed("history-instance"),
    "type-history": deed("history-type"),
    "system-history": deed("history-system"),
    "search": deed("search-type"),
    "compartment": deed("search-type"),
    "system": deed("search-system"),
    "everything": deed("operation", "$everything"),
    "lastn": deed("operation", "$lastn"),
    "meta": deed("operation", "$meta"),
    "find-list": deed("operation", "$find"),
}
"""Operations of the route table that show resources and do nothing else; what others show is a read."""
_READ = deed("read")

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
"""All operations that need a caller. What changes resources is recorded in the commit itself (resources/commit.py)."""


def is_recorded(session: Session, operation: str, head: Head) -> bool:
    """Whether it is recorded that `head` is shown: by whatever operation, unless its commit in this request has recorded it."""
    known = recording.policy(session.settings.audit)
    if not known.records_read(head.type):
        return False
    return operation in READS or not (known.records_change(head.type) and recording.was_recorded(head))


def record_reads(request: Request) -> None:
    """Record what the request has shown. It must not be answered where this raises."""
    if not request.session.shown:
        return
    events: list[Write] = []
    for operation in dict.fromkeys(shown.operation for shown in request.session.shown):
        heads = [shown.head for shown in request.session.shown if shown.operation == operation]
        events += recording.of_reads(request.session, READS.get(operation, _READ), heads)
    recording.record(request.store, events)


def record_shown(request: Request, heads: Sequence[Head]) -> None:
    """Record that the request is about to show these versions, of which nothing is on the trail yet. They must not be shown where this raises."""
    wanted = [head for head in heads if is_recorded(request.session, request.route.operation, head)]
    recording.record(request.store, recording.of_reads(request.session, _READ, wanted))


def record_refusal(request: Request, error: BulkheadError) -> None:
    """Record that the request was refused, if it was. Raises where it cannot be recorded."""
    if request.route.public:
        return
    caller = _caller(request)
    if recording.is_refusal(caller, error):
        key = references.local(f"{request.parameters.get('type')}/{request.parameters.get('id')}")
        recording.record(
            request.store,
            recording.of_refusal(Session.of(request.store, caller), DEEDS[request.route.operation], key, error),
        )


def record_refused_entries(request: Request, asked: Sequence[Any], answered: Sequence[Mapping[str, Any]]) -> None:
    """Record the entries of a batch that were refused: `asked` and `answered` are the entries of both Bundles, side by side."""
    events: list[Write] = []
    for entry, content in zip(asked, answered, strict=True):
        error = _REFUSALS.get(content["response"]["status"].partition(" ")[0])
        if error and recording.is_refusal(request.caller, error):
            url = entry["request"]["url"].removeprefix(f"{request.base}/").partition("?")[0]
            done = DEEDS["bundle"]
            events += recording.of_refusal(request.session, done, references.local(url), error)
    recording.record(request.store, events)


_REFUSALS: Mapping[str, BulkheadError] = {
    str(error.status): error for error in (Unauthorized("refused"), Forbidden("refused"), NotFound("refused"))
}


def _caller(request: Request) -> Caller:
    from bulkhead.access.policy import ANONYMOUS, Caller

    try:
        return request.caller
    except Unauthorized:
        return Caller(ANONYMOUS, (), address=request.session.address)
