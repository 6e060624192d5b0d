"""All resources of a type in order of one of their dates, month by month: what is listed is what is shown, however many there are.

The entries are of `facts.date_order`. Those without the date come last, in order of creation, if the search does not ask for a date.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from bulkhead.facts import date_order, index_facts
from bulkhead.facts.date_order import ENDS
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.parallel import in_parallel
from bulkhead.search.dated import ABOVE, EARLIEST, Entries, Entry, Listed, Place, Read, backwards, comes_before, merged
from bulkhead.search.drivers import Created, Hint, Listing, Position
from bulkhead.store import keys
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

WITHOUT = "none"
"""The beginning of the place of a resource without a date; the time as of which these are listed follows."""
AT_ONCE = 8
"""The limit on months that are read in parallel."""
MONTHS = 64
"""The limit on months of one listing."""
BEHIND = "~"
"""Behind all that a month, or a text, is continued with."""


class DateOrder(Struct, frozen=True):
    """The resources of a type by a date parameter. `first` and `last` are the instants between which a part of the date must lie."""

    resource_type: str
    code: str
    newest_first: bool
    until: str
    """The time of the first page: what is without a date is listed as of then."""
    first: str | None = None
    last: str | None = None
    shape: ClassVar[object] = tuple[str, str]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        place = Place(*after) if after is not None else None
        if place is not None and place.text.startswith(WITHOUT):
            return self._without(store, place, limit)
        entries, cut = self._with(store, place, limit)
        hints = [Hint(one.key, [*one.place], one.place.text) for one in entries]
        if cut is not None:
            return Listing(hints, [*cut])
        return Listing(hints, None if self.bounded else [WITHOUT + self.until, ""])

    @property
    def bounded(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def parameter(self) -> SearchParameter:
        return search_parameters(self.resource_type)[self.code]

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        # What had another date when the entry was made is met where it stands now.
        return bool(self._text(candidate) == hint.entry)

    def place(self, store: ReadStore, candidate: Version) -> Position | None:
        """The position at which this gives a resource; None if it does not."""
        text = self._text(candidate)
        if candidate.head.type != self.resource_type or (text is None and self.bounded):
            return None
        if text is not None:
            return [text, candidate.head.id]
        head = candidate.head
        created = head if head.version == 1 else store.read_version(head.key, 1)
        if created is None or created.updated > self.until:
            return None
        return [WITHOUT + self.until, keys.time_place(head.key, 1, created.updated)]

    def compare(self, one: Position, other: Position) -> int:
        """Less than 0 if this gives `one` before `other`."""
        left, right = ([place[0].startswith(WITHOUT), place] for place in (one, other))
        if left[0] != right[0]:
            return -1 if right[0] else 1
        if left[0]:
            return int(one[1] > other[1]) - int(one[1] < other[1])
        newest_first = self.newest_first
        before = comes_before(Place(*one), Place(*other), newest_first=newest_first)
        return comes_before(Place(*other), Place(*one), newest_first=newest_first) - before

    def describe(self) -> str:
        order = "the newest first" if self.newest_first else "the oldest first"
        return f"all {self.resource_type} by {self.code}, {order}"

    def _text(self, candidate: Version) -> str | None:
        """What a resource sorts by. Of several dates, with a lower bound, the first that the entries from there on hold."""
        if self.newest_first or self.first is None:
            return date_order.text(candidate.body, self.parameter, newest_first=self.newest_first)
        entries = index_facts.index_values(candidate.body, self.parameter)
        return min((one.sort for one in entries if self._is_read(one.value, one.sort)), default=None)

    def _is_read(self, partition: str, text: str) -> bool:
        """Whether an entry is among those that are listed oldest first: a period is in each month that it covers."""
        begin = self.first[:7] if self.first else ""
        if partition.endswith(ENDS):
            return False
        return partition in (index_facts.LONG, begin) or (partition > begin and text >= partition)

    def _without(self, store: ReadStore, place: Place, limit: int) -> Listing:
        """All resources in order of creation: `accepts` leaves out those with a date."""
        until = place.text.removeprefix(WITHOUT)
        listing = Created((self.resource_type,), until).list(store, [0, until, place.id or None], limit)
        hints = [Hint(hint.key, [place.text, hint.position[2]]) for hint in listing.hints]
        return Listing(hints, [place.text, listing.next[2]] if listing.next else None)

    def _with(self, store: ReadStore, after: Place | None, limit: int) -> Entries:
        """Entries from a place on, as many as are wanted, or those of the next months."""
        months = [*self._months(store, after).items()]
        long = [] if self.newest_first else [self._oldest_first(store, index_facts.LONG, after, limit=limit)]
        found: list[Entries] = []
        at, size = 0, 1
        while at < len(months) and at < MONTHS and sum(len(each.entries) for each in found) < limit:
            taken = months[at : at + size]
            found += in_parallel(lambda month: self._of_month(store, month[1], after, limit=limit), taken, AT_ONCE)
            at, size = at + len(taken), min(2 * size, AT_ONCE)
        if at < len(months):
            # Behind the last month in ascending order, before it in descending order.
            end = months[at - 1][0]
            found.append(Entries([], Place(end, ABOVE) if self.newest_first else Place(end + BEHIND, "")))
        return merged([*found, *long], newest_first=self.newest_first)

    def _months(self, store: ReadStore, after: Place | None) -> dict[str, tuple[str, ...]]:
        """The months to read, in order, each with its partitions."""
        lowest, highest, last = self.first or "", BEHIND, self.last or BEHIND
        if after and self.newest_first:
            highest = after.text
        elif after:
            lowest = max(lowest, after.text)
        months: dict[str, tuple[str, ...]] = {}
        for partition in store.date_months(self.resource_type, self.code):
            month = partition.removesuffix(ENDS)
            # What ends after `last` may have begun before it.
            if lowest[:7] <= month <= highest[:7] and (month <= last if partition == month else self.newest_first):
                months[month] = (*months.get(month, ()), partition)
        return dict(sorted(months.items(), reverse=self.newest_first))

    def _of_month(self, store: ReadStore, partitions: Sequence[str], after: Place | None, *, limit: int) -> Entries:
        if not self.newest_first:
            return self._oldest_first(store, partitions[0], after, limit=limit)
        read = [self._newest_first(store, one, after, limit=limit) for one in partitions]
        return merged(read, newest_first=True)

    def _oldest_first(self, store: ReadStore, partition: str, after: Place | None, *, limit: int) -> Entries:
        is_begin = partition == index_facts.LONG or (self.first is not None and partition == self.first[:7])
        lowest = EARLIEST if is_begin else partition
        position = f"{after.text}#{after.id}" if after else None
        found = self._read(store, partition)(
            lowest, self.last or BEHIND, after=position, limit=limit, newest_first=False
        )
        return Entries(found, found[-1].place if len(found) == limit else None)

    def _newest_first(self, store: ReadStore, partition: str, after: Place | None, *, limit: int) -> Entries:
        read, lowest = self._read(store, partition), max(self.first or "", partition.removesuffix(ENDS))
        if not partition.endswith(ENDS):
            if date_order.has_periods_only(self.resource_type, self.parameter):
                return Entries([], None)
            # A day stands at its first instant, though it may be asked for by a later one.
            return backwards(read, lowest[:10], self.last or BEHIND, after=after, limit=limit)
        entries, cut = backwards(read, lowest, BEHIND, after=after, limit=limit)
        begun = [one for one in entries if self.last is None or date_order.begins_by(one.place.text, self.last)]
        return Entries(begun, cut)

    def _read(self, store: ReadStore, partition: str) -> Read:
        def read(first: str, last: str, *, after: str | None, limit: int, newest_first: bool) -> Listed:
            found = store.by_date(
                self.resource_type,
                self.code,
                partition,
                of_code=True,
                first=first,
                last=last,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )
            return [Entry(Place(one.sort, one.position.rpartition("#")[2]), one.key) for one in found]

        return read
