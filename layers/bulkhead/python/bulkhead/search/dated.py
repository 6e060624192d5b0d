"""Resources of patients, or with codes, in clinical order: what is listed is what is shown, however long the history is.

The entries are of `facts.care_dates`: their texts sort as the resources do. A period has one entry for each direction, so that
what is met in the other one is left out by its text, as is most of what a range of dates does not ask for. No head is read for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from msgspec import Struct

from bulkhead.errors import TooCostly
from bulkhead.facts import care_dates
from bulkhead.facts.care_dates import END, LONG, NONE
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.drivers import Hint, Listing, Position, Values
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import Found, ReadStore

EARLIEST, LATEST = "0", "9"
"""Before and behind all dates."""
TIES = 10
"""Entries that are read beyond those wanted, so that some of one moment at the end of a page need no second request."""
ABOVE = "~"
"""Behind all ids."""
PAGE = 1000
"""Entries of one request, where all are needed."""


MOST = 1_000_000
"""The most keys that are gathered."""


class Place(NamedTuple):
    """Where a resource stands in the order: its text, then its id."""

    text: str
    id: str


class Entry(NamedTuple):
    place: Place
    key: str


Listed = list[Entry]


class Entries(NamedTuple):
    """Entries of one partition in order. `cut` is the place up to which it has been read, None where it has ended."""

    entries: Listed
    cut: Place | None


class Read(Protocol):
    """Reads entries of one partition, as `Store.by_date` has them."""

    def __call__(self, first: str, last: str, *, after: str | None, limit: int, newest_first: bool) -> Listed: ...


class Line(Struct, frozen=True):
    """One partition: of a patient, a patient with a code or a category (by-time), or a code (`of_code`, by-value)."""

    parameter: str
    value: str
    of_code: bool = False


class Dated(Struct, frozen=True):
    """The resources of some lines, merged, each once: by care date, then by id; last those without a date.

    `first` and `last` are the instants between which a resource must have a part of its care; then it must have a date.
    """

    resource_type: str
    care: str
    """The code of the parameter that tells the date."""
    lines: tuple[Line, ...]
    newest_first: bool
    first: str | None = None
    last: str | None = None
    shape: ClassVar[object] = tuple[str, str]

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        place = Place(*after) if after is not None else None
        found: Listed = []
        cut: Place | None = None
        if place is None or place.text != NONE:
            found, cut = self._merged(
                [each for line in self.lines for each in self._of_line(store, line, place, limit=limit)]
            )
            place = None
        if cut is None and not self.bounded:
            last = place.id if place else ""
            undated, cut = self._merged([self._undated(store, line, last, limit=limit) for line in self.lines])
            found += undated
        hints = [Hint(entry.key, [*entry.place], entry.place.text) for entry in found]
        return Listing(hints, [*cut] if cut else None)

    @property
    def bounded(self) -> bool:
        return self.first is not None or self.last is not None

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        # What had another date when the entry was made is met where it stands now.
        return bool(self.text(candidate) == hint.entry)

    def text(self, candidate: Version) -> str:
        """What a resource sorts by."""
        parameter = search_parameters(self.resource_type)[self.care]
        return candidate.care(parameter)[self.newest_first]

    def comes_before(self, one: Place, other: Place) -> bool:
        return comes_before(one, other, newest_first=self.newest_first)

    def describe(self) -> str:
        order = "the newest first" if self.newest_first else "the oldest first"
        return f"{len(self.lines)} ranges of {self.resource_type} by {self.care}, {order}"

    def _merged(self, read: Sequence[Entries]) -> Entries:
        return merged(read, newest_first=self.newest_first)

    def _undated(self, store: ReadStore, line: Line, last_id: str, *, limit: int) -> Entries:
        found = self._read(
            store,
            line,
            NONE,
            last=NONE,
            after=f"{NONE}#{last_id}" if last_id else None,
            limit=limit,
            newest_first=False,
        )
        return Entries([entry(one) for one in found], entry(found[-1]).place if len(found) == limit else None)

    def _of_line(self, store: ReadStore, line: Line, after: Place | None, *, limit: int) -> Iterator[Entries]:
        if self.newest_first:
            yield self._newest_first(store, line, after, limit=limit)
            if self.last is not None:
                yield self._begun_before(store, line, after)
            return
        position = f"{after.text}#{after.id}" if after else None
        lowest = care_dates.later(self.first, days=-1) if self.first else EARLIEST
        highest = self.last or LATEST
        yield self._kept(
            self._read(store, line, lowest, last=highest, after=position, limit=limit, newest_first=False), limit
        )
        periods = self._read(
            store, line, LONG, last=LONG + highest, after=position and LONG + position, limit=limit, newest_first=False
        )
        yield self._kept(periods, limit)

    def _kept(self, found: Sequence[Found], limit: int) -> Entries:
        """Of entries, the oldest first, those that may be in the range."""
        entries = [entry(one) for one in found]
        wanted = [one for one in entries if not one.place.text.endswith(END) and self._in_range(one.place.text)]
        return Entries(wanted, entries[-1].place if len(entries) == limit else None)

    def _newest_first(self, store: ReadStore, line: Line, after: Place | None, *, limit: int) -> Entries:
        """Entries by their last instant."""
        highest = care_dates.later(self.last, days=1) if self.last else LATEST
        lowest = min(care_dates.later(self.first, seconds=-1), self.first[:10]) if self.first else EARLIEST

        def read(first: str, last: str, *, after: str | None, limit: int, newest_first: bool) -> Listed:
            found = self._read(store, line, first, last=last, after=after, limit=limit, newest_first=newest_first)
            return [entry(one) for one in found]

        entries, cut = backwards(read, lowest, highest, after=after, limit=limit)
        return Entries([one for one in entries if self._is_end(one.place.text)], cut)

    def _is_end(self, text: str) -> bool:
        """Whether a text is one of this direction, and may be in the range."""
        if care_dates.is_period(text) or not self._in_range(text):
            return False
        return self.last is None or text.endswith(END) or text <= self.last

    def _in_range(self, text: str) -> bool:
        return self.first is None or care_dates.may_reach(text, self.first)

    def _begun_before(self, store: ReadStore, line: Line, after: Place | None) -> Entries:
        """Periods of more than a day that have begun by `last`, by their last instant: all of them, since it may be any."""
        assert self.last is not None
        found: Listed = []
        position: str | None = None
        while True:
            read = self._read(store, line, LONG, last=LONG + self.last, after=position, limit=PAGE, newest_first=False)
            texts = (entry(one) for one in read)
            ended = [Entry(Place(care_dates.end_of(one.place.text), one.place.id), one.key) for one in texts]
            found += [one for one in ended if self._in_range(one.place.text)]
            if len(read) < PAGE:
                break
            position = read[-1].position
        return Entries([one for one in found if after is None or self.comes_before(after, one.place)], None)

    def _read(
        self, store: ReadStore, line: Line, first: str, *, last: str, after: str | None, limit: int, newest_first: bool
    ) -> Sequence[Found]:
        return store.by_date(
            self.resource_type,
            line.parameter,
            line.value,
            of_code=line.of_code,
            first=first,
            last=last,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )


class Gathered(Struct, frozen=True):
    """What several drivers give, each once, by type and id: all is listed first, for entries of which a resource may have several."""

    drivers: tuple[Values | Dated, ...]
    shape: ClassVar[object] = str

    def list(self, store: ReadStore, after: Position | None, limit: int) -> Listing:
        keys: set[str] = set()
        for driver in self.drivers:
            position: Position | None = None
            while True:
                listing = driver.list(store, position, PAGE)
                keys.update(hint.key for hint in listing.hints)
                position = listing.next
                if len(keys) > MOST:
                    raise TooCostly(
                        "too many resources have this code to be listed at once: narrow the search by a patient"
                    )
                if position is None:
                    break
        return Listing([Hint(key, key) for key in sorted(keys) if after is None or key > after], None)

    def accepts(self, store: ReadStore, hint: Hint, candidate: Version) -> bool:
        return True

    def describe(self) -> str:
        return " and ".join(driver.describe() for driver in self.drivers)


def comes_before(one: Place, other: Place, *, newest_first: bool) -> bool:
    """The order of places: by text, what has none last, equal texts by id in both directions."""
    if one.text == other.text or NONE in (one.text, other.text) or not newest_first:
        return one < other
    return one.text > other.text


def merged(read: Sequence[Entries], *, newest_first: bool) -> Entries:
    """All entries in order, each resource once, up to where the shortest one has been read."""
    found = sorted({entry for each in read for entry in each.entries}, key=lambda entry: entry.place.id)
    found.sort(key=lambda entry: entry.place.text, reverse=newest_first)
    cut: Place | None = None
    for each in read:
        if each.cut and (cut is None or comes_before(each.cut, cut, newest_first=newest_first)):
            cut = each.cut
    kept = [one for one in found if cut is None or not comes_before(cut, one.place, newest_first=newest_first)]
    return Entries(kept, cut)


def backwards(read: Read, lowest: str, highest: str, *, after: Place | None, limit: int) -> Entries:
    """About `limit` entries of a partition from the last text down; those of one text by id, so that equal ones have one order only."""
    same: Listed = []
    if after is not None and after.id != ABOVE:
        same = _of_text(read, after.text, last_id=after.id, limit=limit)
        if len(same) == limit:
            return Entries(same, same[-1].place)
    most = limit + TIES
    found = read(lowest, highest, after=f"{after.text}#" if after else None, limit=most, newest_first=True)
    if len(found) < most:
        return Entries([*same, *found], None)
    # Of the last text there may be more, with lower ids.
    partial = found[-1].place.text
    whole = [one for one in found if one.place.text != partial]
    if whole or same:
        ends_at = whole[-1].place.text if whole else same[-1].place.text
        return Entries([*same, *whole], Place(ends_at, ABOVE))
    group = _of_text(read, partial, last_id="", limit=limit)
    return Entries(group, group[-1].place if len(group) == limit else Place(partial, ABOVE))


def _of_text(read: Read, text: str, *, last_id: str, limit: int) -> Listed:
    """The entries of one text, by id."""
    return read(f"{text}#", f"{text}#", after=f"{text}#{last_id}", limit=limit, newest_first=False)


def entry(found: Found) -> Entry:
    return Entry(Place(found.sort.removeprefix(LONG), found.position.rpartition("#")[2]), found.key)
