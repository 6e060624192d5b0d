"""Which operations only show resources, and what of that the audit trail records."""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.audit import recording
from bulkhead.audit.events import Deed, deed
from bulkhead.session import Session
from bulkhead.store import Head

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
"""Operations of the route table that only show resources; what the others show counts as a read."""
READ = deed("read")


def is_recorded(session: Session, operation: str, head: Head) -> bool:
    """Whether showing `head` is recorded: by any operation, unless its commit in this request has recorded it."""
    known = recording.policy(session.settings.audit)
    if not known.records_read(head.type):
        return False
    return operation in READS or not (known.records_change(head.type) and session.has_committed(head))
