"""A resource that a search came upon: its head, and its body once something asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bulkhead.search import facts

if TYPE_CHECKING:
    from bulkhead.store import Head


class Candidate:
    """A head and its lazily decoded body. The body is shared: whoever changes it makes a copy first."""

    __slots__ = ("_body", "_decode", "_targets", "head")

    def __init__(self, head: Head, decode: Callable[[Head], dict[str, Any]]) -> None:
        self.head = head
        self._decode = decode
        self._body: dict[str, Any] | None = None
        self._targets: dict[str, frozenset[str]] | None = None

    @property
    def key(self) -> str:
        return self.head.key

    @property
    def body(self) -> dict[str, Any]:
        """The resource, without what `meta` says of version, time, accounts and compartments."""
        if self._body is None:
            self._body = self._decode(self.head)
        return self._body

    @property
    def targets(self) -> dict[str, frozenset[str]]:
        """What the resource points at now, and through which search parameters: `facts.targets`."""
        if self._targets is None:
            self._targets = facts.targets(self.body)
        return self._targets


Fence = Callable[[Candidate], bool]
"""Whether the caller may see a resource. Asked for every resource before anything else looks at it."""


def everything(candidate: Candidate) -> bool:
    """The fence of a caller who may see all."""
    return True
