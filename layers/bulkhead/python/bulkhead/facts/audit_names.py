"""The names of the server's own AuditEvents, by which all others tell them apart. What they are is in `audit`."""

from __future__ import annotations

AUDIT_EVENT = "AuditEvent"
PREFIX = "audit-"
"""What their ids begin with: clients can make none."""


def is_trail(key: str) -> bool:
    """Whether `key` names one of the server's own AuditEvents."""
    return key.startswith(f"{AUDIT_EVENT}/{PREFIX}")
