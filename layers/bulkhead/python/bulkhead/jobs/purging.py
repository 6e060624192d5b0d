"""Purging a resource, what follows it, and its compartment. Semantics, section 3.

The target goes first: its gravestone stays open until the purge is done, so that a second request finds where the first died. Members
follow page by page: each is buried with its AuditEvent, then the Binaries that follow it are purged, then it is erased. It leaves the
listing of its Patient last of all, so what a dead run has begun is listed still.

Each is buried as the version that was judged: of one that somebody changes meanwhile, as to whose it is, it is asked again.

A Binary that follows what is erased stays where a document that stays links to it: what others share is listed, and not erased.

Passes over the members end with one that finds nothing to erase. It begins after the indexes have caught up, and gives writers under way
a second to commit, as propagation does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulkhead.access import policy
from bulkhead.access.visibility import last_living
from bulkhead.audit import recording
from bulkhead.compartments import governing, membership
from bulkhead.errors import BadRequest, Conflict, NotFound, Unprocessable, VersionConflict
from bulkhead.facts import index_facts
from bulkhead.facts.audit_names import AUDIT_EVENT, is_trail
from bulkhead.facts.security_context import BINARY, context_of
from bulkhead.fhir import references
from bulkhead.parallel import chunks, in_parallel
from bulkhead.session import Session
from bulkhead.store import Gravestone, Head, Pointer, Store
from bulkhead.store.throttling import pause
from bulkhead.store.version import Version

PAGE = 100
"""Members that are judged and erased together; an answer of a job names as many for each page."""
NEVER_PURGED = governing.TYPES | {AUDIT_EVENT}
"""Types that a purge leaves alone: what governs the server, and the trail."""

_BURIED_AT_ONCE = 40
_LISTED = 1000
_ATTEMPTS = 8
_TURNS = 20
# A writer that has staged its entries and not committed yet is looked for again; one in a large transaction for ten seconds.
_SECOND_LOOKS = (0.05, 0.2, 0.8)
_TRANSACTION_LOOKS = 12
Wait = Callable[[float], None]
Going = Mapping[str, Head | None]
"""What is to be erased, each in the version that was judged; None of what is buried already."""
Again = Callable[[Sequence[str]], Going]
"""Judges some of these keys again, which others have changed: those that are still to be erased."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be purged: the resource `target`, and with `compartment` the members that are its Patient's alone."""

    target: str
    compartment: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run goes on: a pass, in it the listing (`former`: of what pointed at the target once), and there the last source."""

    turn: int = 0
    former: bool = False
    after: str | None = None
    changed: bool = False
    """Whether the pass has erased anything."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a page came to, and where to go on: None at the end."""

    turn: int
    erased: int
    shared: tuple[str, ...]
    next: Place | None
    kept: tuple[str, ...] = ()
    """Binaries that would have followed. Later passes do not come upon them again."""


@dataclass(slots=True)
class Outcome:
    """What a run came to: how many resources it erased, and members and Binaries that it left, because they are others' as well."""

    erased: int = 0
    shared: set[str] = field(default_factory=set)


def require(session: Session, order: Order) -> None:
    """Forbidden; Unprocessable for a type that is never purged; BadRequest for one without a compartment; NotFound.

    What was purged a short while ago is found: to purge it again does nothing, or finishes what broke off.
    """
    policy.require_purge(session.caller)
    resource_type = order.target.partition("/")[0]
    if resource_type in NEVER_PURGED:
        raise Unprocessable(f"a resource of type {resource_type} is never purged", order.target)
    if order.compartment and resource_type not in membership.in_force(session.store, fresh=True):
        raise BadRequest(f"{resource_type} has no compartment to purge", "compartment")
    if session.store.read(order.target) is None and not session.store.gravestones([order.target]):
        raise NotFound(f"{order.target} is not known", "id")


def run(session: Session, order: Order, wait: Wait = time.sleep) -> Outcome:
    """Purge to the end. Conflict where other writers are faster again and again; whatever DynamoDB and S3 raise. Sent again, it goes on."""
    begun = begin(session, order)
    outcome = Outcome(begun.erased, set(begun.kept))
    kept, turn = set(begun.kept), 0
    for step in steps(session, order, Place(), wait=wait):
        outcome.erased += step.erased
        kept.update(step.kept)
        outcome.shared = {*(outcome.shared if step.turn == turn else ()), *step.shared, *kept}
        turn = step.turn
    session.store.close_grave(order.target)
    return outcome


def begin(session: Session, order: Order) -> Step:
    """Bury the target, purge what follows it, and erase it, but for its gravestone. Idempotent."""
    store = session.store
    for attempt in range(_ATTEMPTS):
        head = store.read(order.target)
        if head is None:
            break
        try:
            events = recording.of_purge(session, [head])
            store.bury([head], events, is_open=True, patients=sorted(_own_patients(store, head)))
        except VersionConflict:
            pause(attempt)
            continue
        break
    else:
        raise Conflict(f"{order.target} is being changed by too many others; try again", order.target)
    stone = store.gravestones([order.target]).get(order.target, Gravestone(order.target, ""))
    work = _Work(session, order, stone)
    erased = work.erase({order.target: None}, lambda keys: dict.fromkeys(keys))
    return Step(0, erased, (), None, tuple(sorted(work.kept)))


def _own_patients(store: Store, target: Head) -> set[str]:
    """The Patients whose a target is: itself, or those that it names."""
    if target.type == "Patient":
        return {target.key}
    living = last_living(store, target)
    return _patients(store, living) if living else set()


def _patients(store: Store, head: Head) -> set[str]:
    """Every Patient that a version names, wherever in it."""
    body = store.decode(head)
    named = (references.local(str(one.get("reference", ""))) for _, one in references.walk(body))
    found = {*named, *index_facts.targets(body), *([head.key] if head.type == "Patient" else [])}
    return {key for key in found if key and key.startswith("Patient/")}


def steps(session: Session, order: Order, place: Place, *, wait: Wait = time.sleep) -> Iterator[Step]:
    """Purge the members from a place on, page by page as they are taken; nothing without `compartment`."""
    if not order.compartment:
        return
    membership.in_force(session.store, fresh=True)
    stone = session.store.gravestones([order.target]).get(order.target)
    if stone is None:
        return
    left: Place | None = place
    while left is not None:
        step = _step(_Work(session, order, stone), left, wait)
        yield step
        left = step.next


def count(store: Store, order: Order, limit: int) -> int:
    """How many resources a purge of the compartment would look at, by the index; not counted beyond `limit`."""
    number = 0
    for former in (False, True) if order.compartment else ():
        after: str | None = None
        while number <= limit:
            keys, after = _listing(store, order.target, former=former, after=after)
            number += len(keys)
            if after is None:
                break
    return number


def _listing(store: Store, target: str, *, former: bool, after: str | None) -> tuple[list[str], str | None]:
    if former:
        listed = store.formerly_pointing_at(target, after, PAGE)
        return [one.source for one in listed], listed[-1].source if len(listed) == PAGE else None
    page = membership.members(store, target, after=after, limit=PAGE)
    sources = [one.source for one in page.members if one.source != target]
    return [source for source in sources if not is_trail(source)], page.next


def _step(work: _Work, place: Place, wait: Wait) -> Step:
    """Judge and erase one page of a listing."""
    store, stone = work.session.store, work.stone
    if place == Place(turn=place.turn) and place.turn == 1:
        # One pass has to begin when the indexes show all that was written before the target was buried.
        wait(store.settings.propagation_settle)
    keys, after = _listing(store, stone.key, former=place.former, after=place.after)
    judged = _settled(store, stone, keys, former=place.former, wait=wait)
    erased = work.erase(judged.alone, lambda changed: _judge(store, stone, changed, former=place.former).alone)
    # What has become another's meanwhile is looked at once more, and listed where it is shared.
    changed = place.changed or bool(erased) or not work.seen.issuperset(judged.alone)
    following: Place | None
    if after is not None:
        following = Place(place.turn, place.former, after, changed)
    elif not place.former:
        following = Place(place.turn, True, None, changed)
    elif (changed or place.turn == 0) and place.turn < _TURNS:
        following = Place(place.turn + 1)
    else:
        following = None
    return Step(place.turn, erased, tuple(judged.shared), following, tuple(sorted(work.kept)))


@dataclass(frozen=True, slots=True)
class _Judged:
    """Which of some keys are to be erased, which are left because they are others' as well, and of which nobody knows yet."""

    alone: dict[str, Head | None] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)


def _settled(store: Store, stone: Gravestone, keys: Sequence[str], *, former: bool, wait: Wait) -> _Judged:
    """`_judge`, once writers under way have had time to commit."""
    judged = _judge(store, stone, keys, former=former)
    for look, seconds in enumerate((*_SECOND_LOOKS, *[_SECOND_LOOKS[-1]] * _TRANSACTION_LOOKS)):
        if not judged.unsettled or (look >= len(_SECOND_LOOKS) and not store.are_held(judged.unsettled)):
            break
        wait(seconds)
        again = _judge(store, stone, judged.unsettled, former=former)
        judged = _Judged(judged.alone | again.alone, judged.shared + again.shared, again.unsettled)
    return judged


def _judge(store: Store, stone: Gravestone, keys: Sequence[str], *, former: bool) -> _Judged:
    """How each of a page's keys stands. What a deletion left is judged by its last content."""
    heads = store.read_many(keys)
    stones = store.gravestones(key for key in keys if key not in heads)
    its = membership.definition(store, stone.key.partition("/")[0])
    judged = _Judged()
    for key in keys:
        if key in stones:
            judged.alone[key] = None
            continue
        head = heads.get(key)
        living = last_living(store, head) if head else None
        if head is None or living is None:
            judged.unsettled.append(key)
            continue
        is_member = its is not None and membership.is_member(its, stone.key, store.version(living))
        others = _patients(store, living) - set(stone.patients)
        if not is_member and not former:
            # It points elsewhere now, and is listed as having pointed here.
            judged.unsettled.append(key)
        elif former and not head.deleted and is_member:
            # The other listing has it.
            continue
        elif not is_member or others or head.type in NEVER_PURGED:
            judged.shared.append(key)
        else:
            judged.alone[key] = head
    return judged


@dataclass(slots=True)
class _Work:
    """The erasing of a page of members, or of the target."""

    session: Session
    order: Order
    stone: Gravestone
    seen: set[str] = field(default_factory=set)
    """What it has come upon: it keeps circles from going on."""
    kept: set[str] = field(default_factory=set)
    """Binaries that follow what was erased, and stay because a document that stays links to them."""

    def erase(self, going: Going, again: Again) -> int:
        """Bury those of `going` that stand, purge the Binaries that follow them, and erase all. How many there were."""
        store, erased = self.session.store, 0
        self.seen.add(self.stone.key)
        for batch in chunks(list(going), PAGE):
            buried: list[str] = []
            for part in chunks(batch, _BURIED_AT_ONCE):
                buried += _bury(self.session, {key: going[key] for key in part}, again)
            self.seen.update(buried)
            # Two queries for each member: in a table without a Binary for none.
            if BINARY in store.types_in_use():
                erased += self._erase_followers(buried)
            erased += len(store.erase(buried))
        return erased

    def _erase_followers(self, keys: Sequence[str]) -> int:
        store = self.session.store
        follow = in_parallel(lambda key: _followers(store, key), keys, store.settings.threads)
        binaries = {key: head for found in follow for key, head in found.items() if key not in self.seen}
        left = self._unlinked(binaries)
        return self.erase(left, lambda changed: self._unlinked(_following(store, keys, changed))) if left else 0

    def _unlinked(self, binaries: Going) -> Going:
        """Those that go; the others are `kept`."""
        linked = in_parallel(self._is_linked, list(binaries), self.session.store.settings.threads)
        self.kept.update(key for key, is_linked in zip(binaries, linked, strict=True) if is_linked)
        self.seen.update(self.kept)
        return {key: head for key, head in binaries.items() if key not in self.kept}

    def _is_linked(self, binary: str) -> bool:
        """Whether a resource that this purge leaves alone refers to a Binary, or is a document that has it as an attachment."""
        store = self.session.store
        documents = [found.key for found in store.by_value("DocumentReference", "location", binary)]
        pointing = _sources(lambda after: store.pointing_at(binary, None, after, limit=_LISTED))
        others = {key for key in (*documents, *pointing) if key not in self.seen and not is_trail(key)}
        living = [store.version(head) for head in store.read_many(sorted(others)).values() if not head.deleted]
        return any(_links_to(binary, one) and not self._goes(one) for one in living)

    def _goes(self, version: Version) -> bool:
        """Whether the purge erases a resource sooner or later: as a member that is this Patient's alone."""
        store, stone = self.session.store, self.stone
        its = membership.definition(store, stone.key.partition("/")[0])
        if not self.order.compartment or its is None or not membership.is_member(its, stone.key, version):
            return False
        return _patients(store, version.head) <= set(stone.patients)


def _links_to(binary: str, version: Version) -> bool:
    """Whether a resource refers to a Binary, or has its content there. One that follows it by `securityContext` does not."""
    if version.head.type == BINARY:
        return False
    attachments = version.body.get("content", ()) if version.head.type == "DocumentReference" else ()
    return binary in version.named or any(one.get("attachment", {}).get("url") == binary for one in attachments)


def _bury(session: Session, going: Going, again: Again) -> list[str]:
    """Put gravestones in place of those of `going` that stand, in one commit with their events. Conflict.

    The keys of what is buried now: what has changed meanwhile only where it is still to be erased.
    """
    left = going
    for attempt in range(_ATTEMPTS):
        heads = [head for head in left.values() if head]
        if not heads:
            return list(left)
        try:
            session.store.bury(heads, recording.of_purge(session, heads))
        except VersionConflict:
            pause(attempt)
            left = again(list(left))
        else:
            return list(left)
    first = next(iter(going))
    raise Conflict(f"{first} or others are being changed by too many writers; try again", first)


def _followers(store: Store, key: str) -> Going:
    """The Binaries whose `securityContext` is a resource, or was when they were deleted."""
    now = _sources(lambda after: store.pointing_at(key, BINARY, after, limit=_LISTED))
    once = _sources(lambda after: store.formerly_pointing_at(key, after, _LISTED))
    found = dict.fromkeys(source for source in (*now, *once) if source.startswith(f"{BINARY}/"))
    return _following(store, [key], list(found)) if found else {}


def _sources(listing: Callable[[str | None], list[Pointer]]) -> Iterator[str]:
    """All that a listing gives, of which each call gives up to _LISTED after a source."""
    after: str | None = None
    while listed := listing(after):
        yield from (one.source for one in listed)
        after = listed[-1].source
        if len(listed) < _LISTED:
            return


def _following(store: Store, followed: Collection[str], found: Sequence[str]) -> Going:
    """Those of some Binaries that follow one of `followed`, or were buried because they did."""
    heads = store.read_many(found)
    stones = store.gravestones(one for one in found if one not in heads)
    standing = {key: head for key, head in heads.items() if _follows(store, followed, head)}
    return {key: standing.get(key) for key in found if key in stones or key in standing}


def _follows(store: Store, followed: Collection[str], head: Head) -> bool:
    living = last_living(store, head)
    return living is not None and context_of(store.decode(living)) in followed


def answer(erased: int, shared: int, names: Sequence[str]) -> dict[str, Any]:
    """The Parameters that a purge is answered with; `names` are up to NAMED of the shared members."""
    parameters: list[dict[str, Any]] = [
        {"name": "resourcesErased", "valueInteger": erased},
        {"name": "resourcesShared", "valueInteger": shared},
    ]
    parameters += [{"name": "shared", "valueReference": {"reference": name}} for name in names[:NAMED]]
    return {"resourceType": "Parameters", "parameter": parameters}


NAMED = 1000
"""Shared members that an answer names; of more it gives the number."""
