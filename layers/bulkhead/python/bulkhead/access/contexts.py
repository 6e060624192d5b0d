"""What a Binary follows: whoever sees the resource that its `securityContext` names may read the Binary. Semantics, section 3.

The context counts as it is now. It is seen by its own accounts or compartment, or as shared: never by a `securityContext` of its own.
So chains and circles of Binaries end closed. So does a context that is deleted, that is not there, or that is an event of the trail; and one
that is younger than the Binary, which followed another resource that had this id until it was purged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bulkhead.access.incarnations import Births
from bulkhead.facts.audit_names import is_trail
from bulkhead.facts.security_context import BINARY, context_of
from bulkhead.store import once_a_request

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore
    from bulkhead.store.version import Fence, Version


class Contexts:
    """The contexts of the Binaries that one fence is asked about. Each is read once; those of a batch in one read (`prepare`)."""

    def __init__(self, store: ReadStore, sees: Fence) -> None:
        """`sees` tells whether the caller sees a context without following anything."""
        self._store, self._sees = store, sees
        self._known: dict[str, Head | None] = {}
        self._births = Births(store)
        self._named: dict[tuple[str, int], str | None] = {}

    def is_open(self, binary: Version) -> bool:
        """Whether the caller sees what a Binary follows. One read where `prepare` was not told of it, also where it follows nothing."""
        context = self._context(binary)
        if context is None or context not in self._known:
            heads = _look(self._store, binary.key, context)
            if context is not None:
                self._known[context] = self._seen(heads.get(context))
        seen = self._known[context] if context is not None else None
        return seen is not None and self._births.are_before(binary.head.updated, [seen])

    def prepare(self, binaries: Iterable[Version]) -> None:
        """Read what Binaries follow, in one request for a hundred of them."""
        wanted = {context for one in binaries if (context := self._context(one))}
        unknown = sorted(wanted - self._known.keys())
        if unknown:
            heads = self._store.read_many(unknown)
            self._known.update({context: self._seen(heads.get(context)) for context in unknown})

    def _context(self, binary: Version) -> str | None:
        version = binary.key, binary.head.version
        if version not in self._named:
            self._named[version] = None if binary.head.deleted else context_of(binary.body)
        return self._named[version]

    def _seen(self, head: Head | None) -> Head | None:
        """A context as far as the caller sees it."""
        is_there = head is not None and not head.deleted and not is_trail(head.key)
        return head if head and is_there and self._sees(self._store.version(head)) else None


def pay_for_a_context(store: ReadStore, key: str) -> None:
    """Read as much for a Binary that is not there as for one that is hidden, so that nobody can tell them apart by the time."""
    if key.startswith(f"{BINARY}/"):
        _look(store, key, None)


def _look(store: ReadStore, binary: str, context: str | None) -> dict[str, Head]:
    return once_a_request((_look, binary), lambda: store.read_many([context or binary]))
