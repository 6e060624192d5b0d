"""A version of a resource: its head, and its body, decoded on first use. A fence says whether a caller may see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.facts import care_dates, index_facts
from bulkhead.fhir.definitions import SearchParameter

if TYPE_CHECKING:
    from bulkhead.facts.care_dates import Texts
    from bulkhead.store.content import Content
    from bulkhead.store.heads import Head


class Version:
    """A head and its content, which is read on first use and parsed only for who asks for the body. Copy the body before you change it."""

    __slots__ = ("_body", "_content", "_decode", "_read", "_targets", "head")

    def __init__(
        self,
        head: Head,
        decode: Callable[[Head], dict[str, Any]],
        targets: Mapping[str, frozenset[str]] | None = None,
        *,
        read: Callable[[Head], Content] | None = None,
    ) -> None:
        """`targets`: those of the body, where they are known (`Facts.targets`). `read` gives the content as it is stored, where there is
        such a thing; `decode` the body, where not."""
        self.head = head
        self._decode, self._read = decode, read
        self._content: Content | None = None
        self._body: dict[str, Any] | None = None
        self._targets = targets

    @property
    def key(self) -> str:
        return self.head.key

    @property
    def body(self) -> dict[str, Any]:
        """The resource, without version, time, accounts and compartments in `meta`."""
        if self._body is None:
            content = self.content
            self._body = self._decode(self.head) if content is None else content.decode()
        return self._body

    @property
    def content(self) -> Content | None:
        """The content as it is stored; None of a resource that is not in the table."""
        if self._content is None and self._read is not None:
            self._content = self._read(self.head)
        return self._content

    @property
    def targets(self) -> Mapping[str, frozenset[str]]:
        """The current targets of the resource, with the search parameters that lead to them: `index_facts.targets`."""
        if self._targets is None:
            content = self.content if self._body is None else self._content
            known = content.targets if content else None
            self._targets = index_facts.targets(self.body) if known is None else known
        return self._targets

    def care(self, parameter: SearchParameter) -> Texts:
        """What the resource sorts by in clinical order. `parameter` is that of its care (`care_dates.care_parameter`)."""
        content = self.content if self._body is None else self._content
        known = content.care if content else None
        return care_dates.of_resource(self.body, parameter) if known is None else known

    def codes(self, parameter: SearchParameter) -> Sequence[tuple[str, str]]:
        """(system, code) of what the care was. `parameter` is the one that says it of the type (`care_dates.code_parameter`)."""
        content = self.content if self._body is None else self._content
        known = content.codes if content else None
        return care_dates.codes_of(self.body, parameter) if known is None else known

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


@dataclass(frozen=True, slots=True)
class OpenFence:
    """A Fence that knows types of which it lets everything through, so that nobody need ask it about each resource."""

    sees: Fence
    is_open: Callable[[str], bool]

    def __call__(self, candidate: Version) -> bool:
        return self.sees(candidate)


def is_open(fence: Fence, resource_type: str) -> bool:
    """Whether a fence lets every resource of a type through, as far as it can tell."""
    return fence is everything or (isinstance(fence, OpenFence) and fence.is_open(resource_type))


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
