"""Races the listing of the caller's fence against the driver of a search, so that the cost follows what the caller can see.

The driver may lead through thousands of resources of other tenants, each of which costs a head. So for each hidden head that a
search meets, it reads some keys of the fence's own listing. Once that listing has ended, the search reads nothing outside of it:
see `scan.Scan`. The listings are hints: the fence still decides about every resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.search.drivers import Account, Driver, Each, KeyStream, Merged, Position
from bulkhead.search.following import THROUGH, Following
from bulkhead.search.indexed import UNION, listings
from bulkhead.store.version import FOLLOWING, Fence, ListedFence, Within, within

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

FREE = 100
"""How many hidden heads a search may meet before the race begins: one batch."""
ENTRIES_PER_HEAD = 10
"""How many keys of the fence's listing are read per hidden head: a key costs about a tenth of a head."""
MOST_HIDDEN = 50_000
"""How many hidden heads are free. A fence whose listing has not ended by then belongs to a large tenant."""
LISTED = 1000
"""The limit on keys of one listing."""


def fence_driver(listings_of: Within, types: Sequence[str | None]) -> Driver | None:
    """What lists all that the caller may see of some types; None where nobody knows, or in too many listings.

    By type and id, and each resource once, unless `has_followers` says otherwise. Of all types (None): without what follows others.
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
        if followed and resource_type:
            drivers.append(Following(tuple(followed), resource_type, tuple(streams)))
    return drivers[0] if len(drivers) == 1 else Each(tuple(drivers))


def followers_driver(listings_of: Within) -> Driver | None:
    """What lists all that the caller may see of the types whose resources follow others; None where nobody knows, or nothing does."""
    types = sorted(name for name in THROUGH if has_followers(listings_of, name))
    return fence_driver(listings_of, types) if types else None


def is_followed(code: str) -> bool:
    """Whether a listing is of what Binaries follow."""
    return code.startswith(FOLLOWING)


def has_followers(listings_of: Within, resource_type: str | None) -> bool:
    """Whether what the caller may see of a type is listed by what it follows: in no order, and maybe twice."""
    return any(is_followed(code) for code, _ in listings_of(resource_type) or ())


def fence_streams(code: str, key: str, resource_type: str | None) -> list[KeyStream]:
    """The listings of an account's or compartment's content; a compartment's listing excludes resources with an account of its name."""
    found = listings(code, key, resource_type)
    return found if code == "_account" else [stream for stream in found if not isinstance(stream, Account)]


@dataclass
class FenceListing:
    """The keys of the resources of some types that the caller may see, read as far as a race has come."""

    store: ReadStore
    driver: Driver
    within: Within
    complete: bool
    """Whether it lists all that the caller may see. If not, it leaves out types whose listings are unknown."""
    followers: FenceListing | None = None
    """The listing of what the caller may see because it follows others, where that is not in this one. It is read after this one, which it
    does not hold up: a directory that everybody may read takes a Query for each of its resources."""
    keys: set[str] = field(default_factory=set)
    ended: bool = False
    _read: int = 0
    _after: Position | None = None

    def read_to(self, entries: int) -> bool:
        """Reads the listing, and then that of the followers, up to `entries` entries; returns whether the first has ended."""
        while not self.ended and self._read < entries:
            listing = self.driver.list(self.store, self._after, LISTED)
            self.keys.update(hint.key for hint in listing.hints)
            self._read += LISTED
            self._after, self.ended = listing.next, listing.next is None
        if self.ended and self.followers:
            self.followers.read_to(entries - self._read)
        return self.ended

    def may_hold(self, key: str) -> bool:
        """Whether the caller may see a resource, according to the ended listing."""
        if key in self.keys:
            return True
        resource_type = key.partition("/")[0]
        if self.followers and has_followers(self.within, resource_type):
            return not self.followers.ended or key in self.followers.keys
        return not self.complete and self.within(resource_type) is None


@dataclass
class Races:
    """The fence's listings within one request, by types; inner searches and includes share them."""

    store: ReadStore
    fence: Fence
    hidden: int = 0
    """The number of heads that the fence refused while there was a listing to race against."""
    _listings: dict[tuple[str, ...], FenceListing | None] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the fence can list what it lets through."""
        return isinstance(self.fence, ListedFence)

    def count_hidden(self, types: tuple[str, ...]) -> bool:
        """Counts a head that the fence refused. False if no listing races, or the race is lost: then the head counts like any other."""
        self.hidden += 1
        return self.hidden <= MOST_HIDDEN and self.listing(types) is not None

    def won(self, types: tuple[str, ...]) -> FenceListing | None:
        """The fence's listing of some types, if it ended within the keys that the hidden heads pay for."""
        listing = self.listing(types) if self.hidden >= FREE else None
        return listing if listing and listing.read_to(self.hidden * ENTRIES_PER_HEAD) else None

    def listing(self, types: tuple[str, ...]) -> FenceListing | None:
        """The fence's listing of some types (): all; None if there is none to race against."""
        if types not in self._listings:
            listed = within(self.fence)
            driver = fence_driver(listed, types or (None,))
            following = None if types else followers_driver(listed)
            followers = FenceListing(self.store, following, listed, complete=False) if following else None
            self._listings[types] = FenceListing(self.store, driver, listed, bool(types), followers) if driver else None
        return self._listings[types]
