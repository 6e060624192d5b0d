"""Which accounts a resource has: its own (explicit), and those that the targets of its references hand to it (inherited).

What a target passes on is its own accounts only, never those that it inherits itself: two patients that link to each other
would otherwise hand a removed account back and forth for ever. So the accounts of a resource follow from the own accounts of
itself and of its targets, in whatever order they were set. Semantics, section 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.store.heads import Head, Write

PATIENT = "Patient"


def passed_on(target: Head | Write | None) -> tuple[str, ...]:
    """What a resource that is written now inherits from `target`: of a Patient always, of others while they propagate."""
    if target is None or target.body is None:
        return ()
    propagates = target.propagate or target.key.startswith(f"{PATIENT}/")
    return tuple(target.explicit) if propagates else ()


def own(given: Iterable[str], base: Head | None) -> tuple[str, ...]:
    """The explicit accounts that a client's `meta.accounts` asks for, each once.

    A client that reads a resource and sends it back echoes what the resource inherits: that does not become its own.
    """
    if base is None:
        return tuple(dict.fromkeys(given))
    echoed = set(base.accounts) - set(base.explicit)
    return tuple(account for account in dict.fromkeys(given) if account not in echoed)
