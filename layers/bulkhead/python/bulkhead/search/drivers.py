"""Sources of candidates: each driver lists an index, or merges several listings, in a stable order.

A listing consists of hints. A driver also says whether a hint is the one place at which it gives a resource, so that a
resource with several entries comes only once, on any page. Positions are JSON: a cursor carries them from page to page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from msgspec import Struct, ValidationError, convert

from bulkhead.compartments import membership
from bulkhead.errors import BadRequest
from bulkhead.facts import index_facts
from bulkhead.fhir.definitions import search_parameters
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import Moment, Pointer, ReadStore

Position = Any
"""JSON: a text, or a list of texts and numbers."""


class Hint(NamedTuple):
    """A resource that may match, and the position after it."""

    key: str
    position: Position
    entry: Any = None
    """The entry by which the driver recognises the hint."""


class Listing(Struct, frozen=True):
    hints: Sequence[Hint]
    next: Position | None
    """The position where the next listing begins; None at the end. A listing may be empty without being the last."""


class Driver(Protocol):
    shape: ClassVar[Any]
    """The type of its positions: a cursor's position is checked against it."""

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        """About `limit` hints after a position (None: from the start)."""

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        """Whether the driver gives the resource at this hint; False for another entry of the same resource."""

    def describe(self) -> str:
        """A description of the driver without patients' values."""


class Source(NamedTuple):
    """A page of keys in order of type and id, and the last key that was read, None at the end."""

    keys: list[str]
    last: str | None


FEW = 10
"""A search of this many types does not first ask which of them are in use."""
TARGETS = 50
"""The limit on targets of one listing."""
LISTINGS = 4
"""The limit on listings that are read to estimate how many hints there are."""


class Keys(Struct, frozen=True):
    """Resources by their keys: `_id=1,2`."""

    keys: tuple[str, ...]
    descending: bool = False
    shape: ClassVar[Any] = str

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        ordered = sorted(set(self.keys), reverse=self.descending)
        left = [key for key in ordered if after is None or (key < after if self.descending else key > after)]
        return Listing([Hint(key, key) for key in left[:limit]], left[limit - 1] if len(left) > limit else None)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return True

    def describe(self) -> str:
        return f"{len(self.keys)} ids"


class AllDefinitions(Struct, frozen=True):
    """Every CompartmentDefinition, by id: no index has R4's own, and there are few."""

    shape: ClassVar[Any] = str

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        return Keys(tuple(store.compartment_definitions())).list(store, after, limit)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return True

    def describe(self) -> str:
        return "all CompartmentDefinitions"


class Pointers(Struct, frozen=True):
    """Resources that point at a target through some parameters (None: through any)."""

    target: str
    resource_type: str | None
    via: frozenset[str] | None

    def keys(self, store: ReadStore, after: str | None, limit: int) -> Source:
        found = store.pointing_at(self.target, self.resource_type, after, limit=limit)
        return source(found, limit, lambda pointer: self.via is None or not self.via.isdisjoint(pointer.via))


class Account(Struct, frozen=True):
    """Resources that carry an account."""

    account: str
    resource_type: str | None

    def keys(self, store: ReadStore, after: str | None, limit: int) -> Source:
        return source(
            store.in_account(self.account, self.resource_type, after, limit=limit), limit, lambda pointer: True
        )


class Itself(Struct, frozen=True):
    """One resource by its key, as a stream to merge."""

    key: str

    def keys(self, store: ReadStore, after: str | None, limit: int) -> Source:
        return Source([self.key] if after is None or self.key > after else [], None)


class Compartment(Struct, frozen=True):
    """Members of a compartment; `types` narrows them. The server's own AuditEvents are listed only if a type is named."""

    target: str
    definition: membership.Definition
    types: tuple[str, ...]

    def keys(self, store: ReadStore, after: str | None, limit: int) -> Source:
        only = self.types[0] if len(self.types) == 1 else None
        known = {self.definition.code: self.definition}
        page = membership.members(
            store, self.target, only, after=after, limit=limit, known=known, trail=bool(self.types)
        )
        wanted = frozenset(self.types)
        keys = [member.source for member in page.members if not wanted or member.source.partition("/")[0] in wanted]
        return Source(keys, page.next)


KeyStream = Pointers | Account | Itself | Compartment


def source(found: Sequence[Pointer], limit: int, wanted: Callable[[Pointer], bool]) -> Source:
    return Source(
        [pointer.source for pointer in found if wanted(pointer)], found[-1].source if len(found) == limit else None
    )


class Merged(Struct, frozen=True):
    """Several streams merged in order of type and id: each resource comes once, and no write can move a position."""

    streams: tuple[KeyStream, ...]
    without: tuple[str, ...] = ()
    """Types that the streams leave out."""
    shape: ClassVar[Any] = str

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        pages = [stream.keys(store, after, limit) for stream in self.streams]
        bounds = [page.last for page in pages if page.last is not None]
        # Beyond the end of the shortest listing, the others may come before keys that it has not given yet.
        bound = min(bounds) if bounds else None
        keys = sorted({key for page in pages for key in page.keys if bound is None or key <= bound})
        if self.without:
            keys = [key for key in keys if key.partition("/")[0] not in self.without]
        return Listing([Hint(key, key) for key in keys], bound)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return True

    def describe(self) -> str:
        return f"{len(self.streams)} by-target listings"


class Branch(Struct, frozen=True):
    """Entries of one by-value partition. `parameter` is an indexed one; the other fields are arguments of `store.by_value`."""

    parameter: str
    value: str
    prefix: str | None = None
    first: str | None = None
    last: str | None = None

    def covers(self, entry: index_facts.Value) -> bool:
        """Whether this branch lists an entry."""
        return (
            entry.parameter == self.parameter
            and entry.value == self.value
            and (self.prefix is None or f"{entry.sort}#".startswith(self.prefix))
            and (self.first is None or entry.sort >= self.first)
            and (self.last is None or entry.sort <= self.last)
        )


class Values(Struct, frozen=True):
    """Branches of by-value, one after the other. A resource comes at the first of its entries that they cover."""

    resource_type: str
    """ANY_TYPE if the branches are about parameters of `meta`."""
    branches: tuple[Branch, ...]
    once: bool = False
    """True if no resource can have two entries here: one token with its system."""
    owned: bool = False
    """True if the ranges also name a patient."""
    shape: ClassVar[Any] = tuple[int, str | None]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        number, position = after if after is not None else (0, None)
        branch = self.branches[number % len(self.branches)]
        found = store.by_value(
            self.resource_type,
            branch.parameter,
            branch.value,
            prefix=branch.prefix,
            first=branch.first,
            last=branch.last,
            after=position,
            limit=limit,
        )
        hints = [Hint(one.key, [number, one.position], [number, one.sort[: index_facts.PLACE_LENGTH]]) for one in found]
        if len(found) == limit:
            return Listing(hints, [number, found[-1].position])
        return Listing(hints, [number + 1, None] if number + 1 < len(self.branches) else None)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        if self.once:
            return True
        known = search_parameters(candidate.head.type)
        prefixes = {branch.prefix for branch in self.branches} if self.owned else frozenset()
        # If all ranges name one patient, whom the exact filter has confirmed, no other patient matters.
        pointed_at: Mapping[str, frozenset[str]] = {f"{one}".removesuffix("#"): frozenset[str]() for one in prefixes}
        if len(prefixes) != 1:
            pointed_at = candidate.targets
        entries = [
            entry
            for code in {branch.parameter for branch in self.branches}
            for entry in index_facts.index_values(candidate.body, known[code], pointed_at)
        ]
        places = [
            [number, entry.sort[: index_facts.PLACE_LENGTH]]
            for number, branch in enumerate(self.branches)
            for entry in entries
            if branch.covers(entry)
        ]
        # A stale entry is not among the places: the resource comes at its current entry.
        return bool(places) and min(places) == hint.entry

    def describe(self) -> str:
        parameters = sorted({branch.parameter for branch in self.branches})
        return f"by-value {self.resource_type} {', '.join(parameters)}: {len(self.branches)} ranges"


class Targets(Struct, frozen=True):
    """Resources that point at any of many targets through one parameter, target by target; each comes at the first of its targets."""

    targets: tuple[str, ...]
    """Sorted."""
    resource_type: str
    code: str
    shape: ClassVar[Any] = tuple[str, str | None]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        start, source = after if after is not None else ("", None)
        hints: list[Hint] = []
        left = self.targets[bisect_left(self.targets, start) :]
        for number, target in enumerate(left):
            if len(hints) >= limit or number == TARGETS:
                return Listing(hints, [target, None])
            found = store.pointing_at(target, self.resource_type, source if target == start else None, limit=limit)
            hints += [Hint(one.source, [target, one.source], target) for one in found if self.code in one.via]
            if len(found) == limit:
                return Listing(hints, [target, found[-1].source])
        return Listing(hints, None)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        known = frozenset(self.targets)
        pointed_at = candidate.targets
        if any(target.startswith("#") for target in self.targets):
            pointed_at = {**pointed_at, **index_facts.embedded_targets(candidate.body)}
        own = (target for target, via in pointed_at.items() if self.code in via and target in known)
        return bool(min(own, default=None) == hint.entry)

    def describe(self) -> str:
        return f"by-target of {len(self.targets)} resources, {self.code}"


class Created(Struct, frozen=True):
    """All resources of some types in the order of creation.

    By-time holds past versions too, so it has the first version of every resource at a place that no later write moves: paging
    neither skips nor repeats while others write. Later versions are skipped without a read of the head.
    """

    types: tuple[str, ...]
    until: str
    """The time of the first page, so that paging ends although others create."""
    shape: ClassVar[Any] = tuple[int, str, str | None]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        number, until, position = after if after is not None else (0, self.until, None)
        number = in_use(store, self.types, number)
        found = store.by_time(self.types[number % len(self.types)], None, until, after=position, limit=limit)
        first = {moment.key: [number, until, moment.position] for moment in found if moment.version == 1}
        return Listing(
            [Hint(key, position) for key, position in first.items()],
            following(found, number, until, limit=limit, types=self.types),
        )

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return True

    def describe(self) -> str:
        return f"by-time {', '.join(self.types)}, in order of creation"


class Updated(Struct, frozen=True):
    """All resources of some types by lastUpdated, between two instants (inclusive), as of the time of the first page.

    Each resource comes at the version that was current at that time, even if it has changed since. A resource can come twice
    only if a write has a time stamp from before that time and commits after it.
    """

    types: tuple[str, ...]
    since: str | None
    until: str
    newest_first: bool = False
    shape: ClassVar[Any] = tuple[int, str, str | None]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        number, until, position = after if after is not None else (0, self.until, None)
        number = in_use(store, self.types, number)
        resource_type = self.types[number % len(self.types)]
        found = store.by_time(
            resource_type, self.since, until, after=position, limit=limit, newest_first=self.newest_first
        )
        hints = {
            (moment.key, moment.version): Hint(moment.key, [number, until, moment.position], [moment.version, until])
            for moment in found
        }
        return Listing(list(hints.values()), following(found, number, until, limit=limit, types=self.types))

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        version, until = hint.entry
        head = candidate.head
        if head.version == version:
            return True
        if head.updated <= until or version > head.version:
            return False
        if head.version == version + 1:
            return True
        superseding = store.read_version(hint.key, version + 1)
        return superseding is None or superseding.updated > until

    def describe(self) -> str:
        return f"by-time {', '.join(self.types)}"


class Among(Struct, frozen=True):
    """The resources of another driver that are among known keys."""

    driver: Updated
    keys: frozenset[str]
    shape: ClassVar[Any] = Updated.shape

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        listing = self.driver.list(store, after, limit)
        return Listing([hint for hint in listing.hints if hint.key in self.keys], listing.next)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return self.driver.accepts(store, hint, candidate)

    def describe(self) -> str:
        return f"{self.driver.describe()}, of {len(self.keys)} keys"


class Each(Struct, frozen=True):
    """Several types, one after the other, each with a driver of its own."""

    drivers: tuple[Driver, ...]
    shape: ClassVar[Any] = tuple[int, Any]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        number, position = after if after is not None else (0, None)
        number %= len(self.drivers)
        driver = self.drivers[number]
        if position is not None:
            try:
                convert(position, driver.shape)
            except ValidationError:
                raise BadRequest(
                    "this page link does not belong to this search: follow a link from one of its pages, or start anew without _cursor",
                    expression="_cursor",
                ) from None
        listing = driver.list(store, position, limit)
        hints = [Hint(hint.key, [number, hint.position], (number, hint)) for hint in listing.hints]
        if listing.next is not None:
            return Listing(hints, [number, listing.next])
        return Listing(hints, [number + 1, None] if number + 1 < len(self.drivers) else None)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        number, own = hint.entry
        accepted: bool = self.drivers[number].accepts(store, own, candidate)
        return accepted

    def describe(self) -> str:
        return "; then ".join(driver.describe() for driver in self.drivers)


def size(driver: Driver, store: ReadStore, most: int) -> int | None:
    """How many hints a driver gives, from its first listings; None if these are more than `most`, or not the last."""
    after: Position | None = None
    found = 0
    for _ in range(LISTINGS):
        listing = driver.list(store, after, most + 1 - found)
        found, after = found + len(listing.hints), listing.next
        if after is None or found > most:
            break
    return found if after is None and found <= most else None


def in_use(store: ReadStore, types: Sequence[str], number: int) -> int:
    """The number of the first type, from `number` on, with any resource; asked only if the search covers all types."""
    if len(types) < FEW or number >= len(types):
        return number
    used = frozenset(store.types_in_use())
    return next((n for n in range(number, len(types)) if types[n] in used), len(types) - 1)


def following(found: Sequence[Moment], number: int, until: str, *, limit: int, types: Sequence[str]) -> Position | None:
    """The position where a by-time listing continues: within its type, in the next type, or None at the end."""
    if len(found) == limit:
        return [number, until, found[-1].position]
    return [number + 1, until, None] if number + 1 < len(types) else None
