"""Definitions that govern the server: which stored ones are in force, and for whom. Semantics, section 3.

A SearchParameter, CompartmentDefinition, ValueSet or CodeSystem is in force for all if a caller without a fence wrote it, and it
carries no account, nor lost one by the clock. The head says so (`unfenced`); the commit
boundary sets it from the verified token. So a tenant's definition does not come into force when it loses its accounts, and neither
does one whose head lacks the mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.store import Head


TYPES = frozenset({"SearchParameter", "CompartmentDefinition", "ValueSet", "CodeSystem"})
"""The types that can govern the server."""


def governs(head: Head) -> bool:
    """Whether a definition is in force for all."""
    return head.unfenced and head.open and not head.deleted
