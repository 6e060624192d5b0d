"""Pages of a history, with links that stay right while others write, and the link that a poller keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulkhead.access import policy
from bulkhead.history import cursor, listing
from bulkhead.history.cursor import BACK, FEED, FORWARD, Cursor, Place
from bulkhead.history.listing import Listed, Lister
from bulkhead.history.query import Query
from bulkhead.resources.interactions import require_visible_history
from bulkhead.search.run import too_costly
from bulkhead.session import Session
from bulkhead.store import Head
from bulkhead.store.heads import PAGE_WEIGHT

DELIVERED = 300
"""How many versions above the horizon a cursor remembers: as many as fit in a URL. If there are more, a poller comes back for them."""
EXAMINED = 5000
"""How many versions one request looks at; then the page ends with a next link, even if it is not full."""
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `next` and `previous` are the cursors of its neighbours; `monitor` is the cursor that a poller comes back with.

    `total` is set only if it is exact. This page and the later ones hold every change up to the instant `settled`.
    """

    heads: list[Head]
    next: str | None = None
    previous: str | None = None
    monitor: str | None = None
    total: int | None = None
    settled: str | None = None


def page(session: Session, query: Query) -> Page:
    """A page of the history of `query.path`. NotFound for a resource that the caller cannot see; Forbidden; BadRequest."""
    types = _types(session, query)
    at = cursor.decode(query.cursor, query) if query.cursor else None
    # Read before the listing: a version that appears during the listing is above the horizon.
    horizon = None if query.of_one else session.store.horizon()
    scan = _Scan(session, query, listing.lister(session.store, query, types))
    if at and at.mode == BACK:
        return _backward(scan, at)
    if query.count_only:
        return Page([], total=_count(scan), settled=horizon)
    feeds = horizon is not None and not query.newest_first and query.at is None and (at is None or at.mode == FEED)
    if feeds and horizon is not None:
        return _feed(scan, at or Cursor(FEED, None), horizon)
    return _forward(scan, at, horizon)


def _types(session: Session, query: Query) -> list[str]:
    if query.of_one:
        require_visible_history(session, query.path)
        return []
    if query.path:
        policy.require(session.caller, policy.SEARCH, query.path)
        return [query.path]
    if not any(policy.SEARCH in scope.rights for scope in session.caller.scopes):
        policy.require(session.caller, policy.SEARCH)
    for wanted in query.types:
        policy.require(session.caller, policy.SEARCH, wanted)
    return [
        one
        for one in session.store.types_in_use()
        if policy.may(session.caller, policy.SEARCH, one) and (not query.types or one in query.types)
    ]


@dataclass(slots=True)
class _Scan:
    """Reads on until it has enough versions."""

    session: Session
    query: Query
    lister: Lister
    examined: list[Listed] = field(default_factory=list)
    heads: dict[Listed, Head] = field(default_factory=dict)
    ended: bool = False

    def take(self, after: Place | None, count: int, *, newest_first: bool, known: frozenset[bytes]) -> list[Listed]:
        """The next `count` visible versions after a place, without `known` ones. Sets `examined` to the last one read, and `ended`."""
        found: list[Listed] = []
        weight = 0
        while len(found) < count and not self.ended and len(self.examined) < EXAMINED:
            batch = self.lister(after, max(_BATCH, count), newest_first=newest_first)
            new = [one for one in batch.listed if not known or cursor.digest(one.place) not in known]
            heads = listing.resolve(self.session, self.query, new, known=batch.heads)
            self.heads |= heads
            for one in batch.listed:
                if len(found) == count or weight > PAGE_WEIGHT:
                    return found
                self.examined.append(one)
                if one in heads:
                    found.append(one)
                    weight += heads[one].weight
            self.ended = batch.ended
            after = batch.listed[-1].place if batch.listed else after
        return found


def _count(scan: _Scan) -> int:
    """The number of versions in the whole history that the caller may see. TooCostly where one request cannot count them."""
    number = 0
    after: Place | None = None
    while not scan.ended and len(scan.examined) < EXAMINED:
        # A page ends by its bytes, a count does not: it keeps none of them.
        number += len(scan.take(after, EXAMINED, newest_first=scan.query.newest_first, known=frozenset()))
        after = scan.examined[-1].place if scan.examined else None
        scan.heads.clear()
    if not scan.ended:
        raise too_costly("counting this history", "_summary")
    return number


def _forward(scan: _Scan, at: Cursor | None, horizon: str | None) -> Page:
    """The page after a cursor, or the first one."""
    query = scan.query
    found = scan.take(at.place if at else None, query.count + 1, newest_first=query.newest_first, known=frozenset())
    shown = found[: query.count]
    more = len(found) > query.count
    resume = shown[-1].place if more else scan.examined[-1].place if scan.examined and not scan.ended else None
    return Page(
        [scan.heads[one] for one in shown],
        next=cursor.encode(Cursor(FORWARD, resume), query) if resume else None,
        previous=_previous(at, shown, query),
        total=_total(scan, at, shown, resume=resume),
        settled=horizon,
    )


def _total(scan: _Scan, at: Cursor | None, shown: list[Listed], *, resume: Place | None) -> int | None:
    if at is not None:
        return None
    if resume is None:
        return len(shown)
    query = scan.query
    every = query.of_one and query.newest_first and not query.since and not query.at
    every = every and policy.shows_every_version(scan.session.store, scan.session.caller)
    return scan.heads[shown[0]].version if every and shown else None


def _previous(at: Cursor | None, shown: list[Listed], query: Query) -> str | None:
    """The cursor for the page before this one; None for the first page."""
    if at is None or not (at.place or at.delivered):
        return None
    first = shown[0].place if shown else at.place
    return cursor.encode(Cursor(BACK, first), query) if first else None


def _backward(scan: _Scan, at: Cursor) -> Page:
    """The page before a cursor: read in reverse, and turned round."""
    query = scan.query
    found = scan.take(at.place, query.count + 1, newest_first=not query.newest_first, known=frozenset())
    shown = found[: query.count][::-1]
    first = shown[0].place if shown and (len(found) > query.count or not scan.ended) else None
    last = shown[-1].place if shown else None
    return Page(
        [scan.heads[one] for one in shown],
        next=cursor.encode(Cursor(FORWARD, last), query),
        previous=cursor.encode(Cursor(BACK, first), query) if first else None,
    )


def _feed(scan: _Scan, at: Cursor, horizon: str) -> Page:
    """A page forward by time. Its cursors neither miss nor repeat a version: see `cursor`."""
    query = scan.query
    room = max(0, DELIVERED - len(at.delivered))
    found = scan.take(at.place, query.count + 1, newest_first=False, known=at.delivered)
    shown = found[: query.count]
    above = [one for one in shown if one.updated > horizon]
    if len(above) > room:
        shown = shown[: len(shown) - (len(above) - room)]
    after = _advanced(at, scan, shown, cut=len(found) > len(shown), horizon=horizon)
    left = len(found) > len(shown) or not scan.ended
    # The next versions are above the horizon, and the cursor has no room to remember them.
    full = len(found) > len(shown) and found[len(shown)].updated > horizon and len(above) >= room
    # Without progress a next link would lead back here: a later poll gets the rest.
    more = left and not full and after != at
    text = cursor.encode(after, query)
    # A client that pages goes on past the versions that a cursor remembers; a poller keeps the first monitor link and comes back.
    beyond = cursor.encode(Cursor(FORWARD, shown[-1].place), query) if full and shown else None
    return Page(
        [scan.heads[one] for one in shown],
        next=text if more else beyond,
        previous=_previous(at, shown, query),
        monitor=None if more else text,
        total=len(shown) if at == Cursor(FEED, None) and not left else None,
        settled=horizon,
    )


def _advanced(at: Cursor, scan: _Scan, shown: list[Listed], *, cut: bool, horizon: str) -> Cursor:
    """The cursor after `shown`; `cut` says that the scan examined more than it shows."""
    place = at.place
    for one in scan.examined:
        if one.updated > horizon or (cut and shown and one.place > shown[-1].place):
            break
        place = one.place
    if cut and not shown:
        place = at.place
    given = {cursor.digest(one.place) for one in shown if one.updated > horizon}
    settled = {cursor.digest(one.place) for one in scan.examined if place is not None and one.place <= place}
    return Cursor(FEED, place, frozenset((at.delivered | given) - settled))
