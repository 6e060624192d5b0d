"""What a caller is fenced to, raced against the driver of a search: so its cost follows what the caller can see.

The driver of a search may lead through thousands of resources of other tenants, and each costs a head. So for each hidden head
that a search has met, some keys of the fence's own listing are read. Once that listing has ended, nothing outside of it is read
any more: see `scan.Scan`. The listings are hints: the fence decides about every resource, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.search.drivers import Account, Driver, Each, Following, KeyStream, Merged, Position
from bulkhead.search.plan import UNION, listings
from bulkhead.store.version import FOLLOWING, Fence, ListedFence, Within, within

if TYPE_CHECKING:
    from bulkhead.store import Store

FREE = 100
"""The hidden heads that a search may meet before the race begins: one batch."""
ENTRIES_PER_HEAD = 10
"""Keys of the fence's listing that are read for each hidden head: a key costs about a tenth of a head."""
MOST_HIDDEN = 50_000
"""The most hidden heads that are read for free: a fence whose listing has not ended by then is that of a large tenant."""
LISTED = 1000
"""The most keys of one listing."""


def fence_driver(listings_of: Within, types: Sequence[str | None]) -> Driver | None:
    """What lists all that the caller may see of some types; None where nobody knows, or in too many listings.

    By type and id, and each resource once, unless `has_followers` says otherwise.
    """
    drivers: list[Driver] = []
    for resource_type in types:
        bounds = listings_of(resource_type)
        if bounds is None:
            return None
        streams = [
            stream
            for code, key in bounds
            if not is_followed(code)
            for stream in fence_streams(code, key, resource_type)
        ]
        followed = [
            stream
            for code, key in bounds
            if is_followed(code)
            for stream in fence_streams(code.removeprefix(FOLLOWING), key, None)
        ]
        if len(streams) > UNION or len(followed) > UNION:
            return None
        drivers.append(Merged(tuple(streams)))
        if followed:
            drivers.append(Following(tuple(followed)))
    return drivers[0] if len(drivers) == 1 else Each(tuple(drivers))


def is_followed(code: str) -> bool:
    """Whether a listing is of what Binaries follow."""
    return code.startswith(FOLLOWING)


def has_followers(listings_of: Within, resource_type: str | None) -> bool:
    """Whether what the caller may see of a type is listed by what it follows: in no order, and maybe twice."""
    return any(is_followed(code) for code, _ in listings_of(resource_type) or ())


def fence_streams(code: str, key: str, resource_type: str | None) -> list[KeyStream]:
    """The listings of what is within an account or a compartment: of a compartment not what carries an account of its name."""
    found = listings(code, key, resource_type)
    return found if code == "_account" else [stream for stream in found if not isinstance(stream, Account)]


@dataclass
class FenceListing:
    """The keys of what a caller may see of some types, read as far as a race has come."""

    store: Store
    driver: Driver
    within: Within
    complete: bool
    """Whether it lists all that the caller may see; else of some types nobody knows listings, and these are not in it."""
    keys: set[str] = field(default_factory=set)
    ended: bool = False
    _read: int = 0
    _after: Position | None = None

    def read_to(self, entries: int) -> bool:
        """Whether the listing has ended, once it was read as far as `entries` entries."""
        while not self.ended and self._read < entries:
            listing = self.driver.list(self.store, self._after, LISTED)
            self.keys.update(hint.key for hint in listing.hints)
            self._read += LISTED
            self._after, self.ended = listing.next, listing.next is None
        return self.ended

    def may_hold(self, key: str) -> bool:
        """Whether the caller may see a resource, as far as the ended listing tells."""
        return key in self.keys or (not self.complete and self.within(key.partition("/")[0]) is None)


@dataclass
class Races:
    """The fence's listings within one request, by types: inner searches and includes share them."""

    store: Store
    fence: Fence
    hidden: int = 0
    """Heads that the fence has refused, as long as there was a listing to race against."""
    _listings: dict[tuple[str, ...], FenceListing | None] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the fence knows listings of what it lets through."""
        return isinstance(self.fence, ListedFence)

    def count_hidden(self, types: tuple[str, ...]) -> bool:
        """Note that the fence has refused a head. False where no listing races, or in vain: then the head counts as any other."""
        self.hidden += 1
        return self.hidden <= MOST_HIDDEN and self.listing(types) is not None

    def won(self, types: tuple[str, ...]) -> FenceListing | None:
        """The fence's listing of some types, where it has ended after as many keys as the hidden heads have cost."""
        listing = self.listing(types) if self.hidden >= FREE else None
        return listing if listing and listing.read_to(self.hidden * ENTRIES_PER_HEAD) else None

    def listing(self, types: tuple[str, ...]) -> FenceListing | None:
        """The fence's listing of some types (): all; None where there is none to race against."""
        if types not in self._listings:
            listed = within(self.fence)
            driver = fence_driver(listed, types or (None,))
            self._listings[types] = FenceListing(self.store, driver, listed, bool(types)) if driver else None
        return self._listings[types]
