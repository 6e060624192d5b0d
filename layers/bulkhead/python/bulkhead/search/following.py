"""What is visible to a caller only because of another resource: a Binary by its `securityContext`, an event of the trail by its entities.

So a search lists these from what the caller can see, and reads nothing of what others have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from bulkhead.facts.audit_names import AUDIT_EVENT, is_trail
from bulkhead.facts.security_context import BINARY, SECURITY_CONTEXT
from bulkhead.parallel import in_parallel
from bulkhead.search.drivers import Account, Hint, Itself, KeyStream, Listing, Merged, Pointers, Position
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

THROUGH: Mapping[str, str] = {BINARY: SECURITY_CONTEXT, AUDIT_EVENT: "entity"}
"""The search parameter by which resources of a type follow others."""
CONTEXTS = 50
"""How many resources of the streams one listing asks about. Each costs a Query, which is about what a head costs."""
PAGE = 1000
"""The limit on followers of one request."""


class Following(Struct, frozen=True):
    """The resources of a type that follow what some streams list, each once: at the first of those that it follows.

    An event also follows the Binaries that follow what is listed. The resources of `own` streams are left out: these give them.
    """

    streams: tuple[KeyStream, ...]
    resource_type: str
    own: tuple[KeyStream, ...]
    shape: ClassVar[object] = tuple[str, str]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        """The followers of the next contexts, after a position: the last context of the listing before, and a follower."""
        start, last = after if after is not None else ("", "")
        page = Merged(self.streams).list(store, start or None, CONTEXTS)
        contexts = [hint.key for hint in page.hints if not is_trail(hint.key)]
        if self.resource_type == AUDIT_EVENT:
            contexts = [*contexts, *self._binaries(store, contexts)]
        found: dict[str, str] = {}
        for context, keys in zip(contexts, followers(store, contexts, self.resource_type), strict=True):
            for key in keys:
                found[key] = min(context, found.get(key, context))
        hints = [Hint(key, [start, key], found[key]) for key in sorted(found) if key > last]
        return Listing(hints, None if page.next is None else [page.next, ""])

    def _binaries(self, store: ReadStore, contexts: Sequence[str]) -> Iterable[str]:
        """The Binaries that follow these, and are not listed themselves."""
        keys = {key for found in followers(store, contexts, BINARY) for key in found}
        heads = store.read_many(sorted(keys))
        return [key for key in heads if not any(holds(one, store.version(heads[key])) for one in self.streams)]

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        through = THROUGH[self.resource_type]
        followed = [key for key, via in candidate.targets.items() if through in via]
        first: bool = min(followed, default=None) == hint.entry
        return first and not any(holds(stream, candidate) for stream in self.own)

    def describe(self) -> str:
        return f"{self.resource_type} that follow {len(self.streams)} listings"


def followers(store: ReadStore, contexts: Sequence[str], resource_type: str) -> Sequence[Sequence[str]]:
    """The resources of a type that follow each of `contexts`, as the index has it."""
    return in_parallel(lambda context: _followers_of(store, context, resource_type), contexts, store.settings.threads)


def _followers_of(store: ReadStore, context: str, resource_type: str) -> Sequence[str]:
    found: list[str] = []
    after: str | None = None
    while True:
        page = store.pointing_at(context, resource_type, after, limit=PAGE)
        found += [one.source for one in page if THROUGH[resource_type] in one.via]
        if len(page) < PAGE:
            return found
        after = page[-1].source


def holds(stream: KeyStream, candidate: Version) -> bool:
    """Whether a stream of a fence lists a resource, as that is now."""
    match stream:
        case Account():
            return not candidate.head.deleted and stream.account in candidate.head.accounts
        case Itself():
            return candidate.key == stream.key
        case Pointers():
            via = frozenset() if candidate.head.deleted else candidate.targets.get(stream.target, frozenset())
            return bool(via) and (stream.via is None or not stream.via.isdisjoint(via))
    return False
