"""The ids of the server's own AuditEvents, which set them apart from clients'. The package `audit` says what the events hold."""

from __future__ import annotations

AUDIT_EVENT = "AuditEvent"
PREFIX = "audit-"
"""The prefix of their ids: clients cannot use it."""


def is_trail(key: str) -> bool:
    """Whether `key` names one of the server's own AuditEvents."""
    return key.startswith(f"{AUDIT_EVENT}/{PREFIX}")
