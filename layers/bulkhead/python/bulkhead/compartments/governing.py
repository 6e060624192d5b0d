"""What governs the server: which stored definitions are in force, and for whom. Semantics, section 3.

A SearchParameter, CompartmentDefinition, ValueSet or CodeSystem is in force for all if a caller whom no claim fences wrote it, and it
carries no account. Whose it is stands on the head (`unfenced`), set at the commit boundary from the verified token: who gives up
the accounts of a definition does not make it govern, and a head without the mark does not either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.access.caller import Caller
    from bulkhead.store import Head, Write


TYPES = frozenset({"SearchParameter", "CompartmentDefinition", "ValueSet", "CodeSystem"})
"""What can govern the server."""


def governs(head: Head) -> bool:
    """Whether a definition is in force for all."""
    return head.unfenced and not head.accounts and not head.deleted


def comes_unfenced(who: Caller, write: Write) -> bool:
    """Whether the content that a write leaves behind comes from a caller whom no claim fences.

    A patch takes over the rest of what stands: it never puts in force what a fenced caller wrote. To write it anew does.
    """
    return not who.fenced and (not write.partial or (write.base is not None and write.base.unfenced))
