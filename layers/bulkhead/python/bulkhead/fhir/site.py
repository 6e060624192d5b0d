"""What the site has set for reading and checking R4. Rules are compiled once in a process, so this is the process's and no session's."""

from __future__ import annotations

from bulkhead import settings


def depth_limit() -> int:
    """The setting DEPTH_LIMIT."""
    return settings.current().depth_limit


def unchecked_invariants() -> str:
    """The setting UNCHECKED_INVARIANTS, as it is written."""
    return settings.current().unchecked_invariants
