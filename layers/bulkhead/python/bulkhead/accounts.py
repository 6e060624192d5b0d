"""Which accounts a resource has: its own (explicit), and those that the targets of its references hand to it (inherited).

What a target passes on is its own accounts only, never those that it inherits itself: two patients that link to each other
would otherwise hand a removed account back and forth for ever. So the accounts of a resource follow from the own accounts of
itself and of its targets, in whatever order they were set. Semantics, section 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def own(given: Iterable[str], base: Head, within: Sequence[str] | None = None) -> tuple[str, ...]:
    """The explicit accounts that a client's `meta.accounts` asks for, each once.

    A client that reads a resource and sends it back echoes what the resource inherits: that does not become its own. Nor is it a
    request if one who is fenced `within` some accounts sends back those of the others.
    """
    echoed = set(base.accounts) - set(base.explicit)
    if within is not None:
        echoed |= set(base.accounts) - set(within)
    return tuple(account for account in dict.fromkeys(given) if account not in echoed)


def replaced(standing: Iterable[str], asked: Iterable[str], within: Sequence[str] | None) -> tuple[str, ...]:
    """`standing` with those accounts that are `within` replaced by the `asked` ones; within None: all of them.

    The others stay in their places, the asked ones take the places that become free, and what is left of them comes last. Whoever
    asks for what stands already, changes nothing.
    """
    fresh = iter(dict.fromkeys(asked))
    if within is None:
        return tuple(fresh)
    kept = (next(fresh, None) if account in within else account for account in standing)
    return (*(account for account in kept if account is not None), *fresh)
