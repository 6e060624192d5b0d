"""What governs the server: which stored definitions are in force, and for whom. Semantics, section 3.

A SearchParameter, CompartmentDefinition, ValueSet or CodeSystem is in force for all if a caller whom no claim fences wrote it, and it
carries no account, nor lost one by the clock. Whose it is stands on the head (`unfenced`), set at the commit boundary from the verified token: who gives up
the accounts of a definition does not make it govern, and a head without the mark does not either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.store import Head


TYPES = frozenset({"SearchParameter", "CompartmentDefinition", "ValueSet", "CodeSystem"})
"""What can govern the server."""


def governs(head: Head) -> bool:
    """Whether a definition is in force for all."""
    return head.unfenced and head.open and not head.deleted
