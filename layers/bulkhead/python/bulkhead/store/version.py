"""A version of a resource: its head, and its body, decoded on first use. A fence says whether a caller may see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.facts import index_facts
from bulkhead.fhir.definitions import SearchParameter

if TYPE_CHECKING:
    from bulkhead.store import Head


class Version:
    """A head and its lazily decoded body. The body is shared: copy it before you change it."""

    __slots__ = ("_body", "_decode", "_targets", "head")

    def __init__(
        self,
        head: Head,
        decode: Callable[[Head], dict[str, Any]],
        targets: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """`targets`: those of the body, where they are known (`Facts.targets`)."""
        self.head = head
        self._decode = decode
        self._body: dict[str, Any] | None = None
        self._targets = targets

    @property
    def key(self) -> str:
        return self.head.key

    @property
    def body(self) -> dict[str, Any]:
        """The resource, without version, time, accounts and compartments in `meta`."""
        if self._body is None:
            self._body = self._decode(self.head)
        return self._body

    @property
    def targets(self) -> Mapping[str, frozenset[str]]:
        """The current targets of the resource, with the search parameters that lead to them: `index_facts.targets`."""
        if self._targets is None:
            self._targets = index_facts.targets(self.body)
        return self._targets

    @property
    def named(self) -> frozenset[str]:
        """Every resource of this server that the resource names now, whether or not a search parameter leads there."""
        return index_facts.literals(self.body).union(self.targets)

    def through(self, parameter: SearchParameter) -> Iterable[str]:
        """The current targets of the resource through one reference parameter of its type."""
        if not index_facts.is_own(self.head.type, parameter):
            return index_facts.through(self.body, parameter)
        return [key for key, via in self.targets.items() if parameter.code in via]


Fence = Callable[[Version], bool]
"""Whether the caller may see a resource. Called for every resource before any other code reads it."""
Within = Callable[[str | None], Sequence[tuple[str, str]] | None]
"""Resource type (None: all types with listings) -> (`_account` or `_compartment`, its value): listings that together hold all resources
of the type that the caller may see. None if there are no such listings, or if the caller has no fence."""
FOLLOWING = "following "
"""Before the name of such a listing: the resources that are open because what they follow is in it."""


@dataclass(frozen=True, slots=True)
class ListedFence:
    """A Fence that can list what it lets through, so that a search need not read other tenants' resources."""

    sees: Fence
    within: Within
    prepare: Callable[[Iterable[Version]], None] = lambda candidates: None
    """Told of resources that are asked about next, reads what deciding takes in one request."""

    def __call__(self, candidate: Version) -> bool:
        return self.sees(candidate)


def within(fence: Fence) -> Within:
    """The listings of the resources that a fence lets through."""
    return fence.within if isinstance(fence, ListedFence) else lambda resource_type: None


def prepare(fence: Fence, candidates: Iterable[Version]) -> None:
    """Let a fence read at once what deciding about some resources takes. It decides the same without."""
    if isinstance(fence, ListedFence):
        fence.prepare(candidates)


def everything(candidate: Version) -> bool:
    """The fence of a caller who may see everything."""
    return True
