"""Passes a target's accounts on to the members of its compartment: desired state, not a diff. Semantics, section 1.

A member is up to date if it inherits from the target exactly what the target passes on to it at that moment. `apply` reads
the members first, then the target, and writes on condition that each member is unchanged. So it may run twice, in any order,
in several workers and for several requests at once: all work towards the state of the target that was committed last.

What a target other than a Patient passes on to a member may depend on the member's accounts from elsewhere (`accounts.passed_on`).
All members are updated, including those that lose an account; a fenced caller learns only the number of those within its
`Reach`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from bulkhead.compartments import accounts, membership, private
from bulkhead.errors import Issue, Unavailable
from bulkhead.facts.audit_names import is_trail
from bulkhead.parallel import chunks
from bulkhead.store import Head, Store, Write
from bulkhead.store.heads import OWN, Grants, accounts_write
from bulkhead.store.throttling import pause

Wait = Callable[[float], None]

PAGE = 1000
"""How many members are listed, and surveyed, at once."""
TURNS = 4
"""How many passes run over the members; the error names those that are not up to date after the last."""
NAMED = 100
"""How many resources an error names; it counts the others."""

_ATTEMPTS = 6
_THREADS = 4
# A writer that has staged its entry and not committed yet may have read the target too early: look for its resource again.
_SECOND_LOOKS = (0.05, 0.2, 0.8)
_TRANSACTION_LOOKS = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """The state of some keys: how many members are up to date, and which are not (`wrong`).

    `standing` counts only members within the caller's reach. `unsettled` keys are members by the index but not by their heads. The
    bodies of the `broken` ones cannot be read. The `closed` ones are sealed or private and are as requested, each with whether it is
    within reach: a writer that opens one may have read the target too early.
    """

    standing: int = 0
    wrong: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    closed: tuple[tuple[str, bool], ...] = ()

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that a writer may be at work on."""
        return self.unsettled + tuple(key for key, _ in self.closed)

    @property
    def settled(self) -> Findings:
        """The same, where nobody opens anything: what is closed stands as asked."""
        return replace(self, standing=self.standing + sum(counts for _, counts in self.closed), closed=())

    @property
    def amiss(self) -> tuple[str, ...]:
        return self.wrong + self.broken

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.standing + other.standing,
            self.wrong + other.wrong,
            self.unsettled + other.unsettled,
            self.broken + other.broken,
            self.closed + other.closed,
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of `apply`: members within reach that are now up to date, how many were changed, and members that are not up to date."""

    standing: int
    changed: int = 0
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """The members that a caller with this `fence` (None: no fence) reaches through `target`: all members of a Patient.

    For another target, those that carry one of the caller's accounts from elsewhere.
    """

    target: str
    fence: Sequence[str] | None

    def __call__(self, head: Head) -> bool:
        if self.fence is None or accounts.is_patient(self.target):
            return True
        return not accounts.carried_by(head).keys().isdisjoint(self.fence)


def sleep(seconds: float) -> None:
    """The default wait of a run."""
    time.sleep(seconds)


def members(store: Store, target: str, after: str | None = None) -> Iterator[list[str]]:
    """Keys of the members of `target` by the index, in pages of up to 1,000, each once, in order, after the key `after`.

    They are hints: a few may be members no longer.
    """
    while True:
        listed = membership.members(store, target, after=after, limit=PAGE)
        sources = [pointer.source for pointer in listed.members if pointer.source != target]
        # The data in an AuditEvent decides who sees it: it takes no accounts.
        yield [source for source in sources if not is_trail(source)]
        if listed.next is None:
            return
        after = listed.next


def apply(store: Store, target: str, keys: Sequence[str], *, reaches: Reach) -> Applied:
    """Updates the members among `keys` (one batch). A member that is up to date gets no new version.

    Conflicts with other writers are retried. A member that cannot be changed is `left`, and does not stop the others.
    Unavailable if the table is.
    """
    pending: Sequence[str] = tuple(dict.fromkeys(keys))
    standing = changed = 0
    left: tuple[str, ...] = ()
    for attempt in range(_ATTEMPTS):
        heads = store.read_many(pending)
        passing = _passing(store, target)
        findings = _judge(store, passing, pending, heads=heads, reaches=reaches)
        conflicts, failed = _commit(
            store, _writes(store, passing, [heads[key] for key in findings.wrong], reaches=reaches)
        )
        written = [key for key in findings.wrong if key not in conflicts and key not in failed]
        standing += findings.standing + sum(counts for _, counts in findings.closed)
        standing += sum(reaches(heads[key]) for key in written)
        changed += len(written)
        left += findings.broken + failed
        pending = sorted(conflicts)
        if not pending:
            break
        pause(attempt)
        # A member with repeated conflicts may have the mark of a transaction whose process died.
        store.release(pending)
    return Applied(standing, changed, left + tuple(pending))


def survey(store: Store, target: str, keys: Sequence[str], *, reaches: Reach) -> Findings:
    """The state of `keys` (up to 1,000). Changes nothing."""
    heads = store.read_many(keys)
    return _judge(store, _passing(store, target), keys, heads=heads, reaches=reaches)


def preview(store: Store, target: Head, keys: Sequence[str], *, reaches: Reach) -> tuple[int, list[tuple[Head, Head]]]:
    """What `apply` would do to `keys` (up to 1,000) if the target stood as `target`. Changes nothing.

    How many members within reach would stand as asked; and of each that would change, its head now and then.
    """
    heads = store.read_many(keys)
    passing = _Passing(target.key, target)
    found = _judge(store, passing, keys, heads=heads, reaches=reaches).settled
    writes = _writes(store, passing, [heads[key] for key in found.wrong], reaches=reaches)
    changes = [(heads[write.key], write.head(heads[write.key].updated)) for write in writes]
    return found.standing + sum(reaches(before) for before, _ in changes), changes


def second_look(store: Store, target: str, found: Findings, *, reaches: Reach, wait: Wait = sleep) -> Findings:
    """`found`, once the writers of what is unsettled or closed have had time to commit: those of large transactions 10 seconds, others one.

    A key that a transaction still writes is then wrong. Nobody writes the others: dead processes left them.
    """
    waited = 0.0
    for seconds in _SECOND_LOOKS:
        if not found.unsettled:
            break
        wait(seconds)
        waited += seconds
        found = replace(found, unsettled=()) + _survey_each(store, target, found.unsettled, reaches=reaches)
    if found.closed:
        # One look is enough: nobody waits for them to come.
        wait(sum(_SECOND_LOOKS) - waited)
        found = replace(found, unsettled=(), closed=()) + _survey_each(store, target, found.waiting, reaches=reaches)
    for _ in range(_TRANSACTION_LOOKS):
        if not found.waiting:
            return found
        if not store.are_held(found.waiting):
            return found.settled
        wait(_SECOND_LOOKS[-1])
        found = replace(found, unsettled=(), closed=()) + _survey_each(store, target, found.waiting, reaches=reaches)
    return replace(found.settled, unsettled=(), wrong=found.wrong + found.unsettled)


def _survey_each(store: Store, target: str, keys: Sequence[str], *, reaches: Reach) -> Findings:
    return sum((survey(store, target, page, reaches=reaches) for page in chunks(keys, PAGE)), Findings())


def propagate(
    store: Store,
    target: str,
    keys: Sequence[str],
    *,
    changed_at: float | None,
    fence: Sequence[str] | None,
    naming: bool,
    wait: Wait = sleep,
) -> int:
    """Updates all members of `target`, in this process. Returns how many within the caller's `fence` are up to date.

    `keys` are the members that were listed before the target changed, at `changed_at` (seconds since 1970; None: it did not).
    Members are listed again until all are up to date, unless all were and nobody has changed the target recently.
    Unavailable if some members resist: with their names if `naming`, and their number.
    """
    reaches = Reach(target, fence)
    # Separate threads: they must not use the states of large transactions that the caller's request remembers.
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="propagation") as workers:
        applied = _apply_all(workers, store, target, keys=keys, reaches=reaches)
        if changed_at is None:
            changed_at = _changed_lately(store, target)
        if changed_at is None and not any(each.changed or each.left for each in applied):
            return sum(each.standing for each in applied)
        if changed_at is not None:
            wait(max(0.0, changed_at + store.settings.propagation_settle - time.time()))
        for turn in range(TURNS):
            pages = workers.map(lambda page: survey(store, target, page, reaches=reaches), members(store, target))
            found = workers.submit(
                second_look, store, target, sum(pages, Findings()), reaches=reaches, wait=wait
            ).result()
            if not found.amiss:
                return found.standing
            if turn < TURNS - 1:
                _apply_all(workers, store, target, keys=found.amiss, reaches=reaches)
    issues = left_issues(found.amiss, len(found.amiss)) if naming else left_issues((), None)
    raise Unavailable("some members could not be changed", issues=issues)


def _changed_lately(store: Store, target: str) -> float | None:
    """The time when the target changed, if so recently that the index may hide members, or writers may not have read it yet."""
    head = store.read(target)
    if head is None:
        return None
    changed_at = datetime.fromisoformat(max(head.updated, head.flagged)).timestamp()
    return changed_at if time.time() - changed_at < store.settings.propagation_settle + sum(_SECOND_LOOKS) else None


def _apply_all(
    workers: ThreadPoolExecutor, store: Store, target: str, *, keys: Sequence[str], reaches: Reach
) -> list[Applied]:
    def apply_batch(batch: Sequence[str]) -> Applied:
        try:
            return apply(store, target, batch, reaches=reaches)
        except Unavailable:
            # Too many writers on the same members. If the table is down, the survey that follows fails as well.
            return Applied(0, 0, tuple(batch))

    return list(workers.map(apply_batch, chunks(keys, store.settings.propagation_batch)))


def left_issues(names: Sequence[str], number: int | None) -> list[Issue]:
    """Issues that say that `number` members were not changed (None: some, if the caller may not know), and name the first hundred."""
    left = "some" if number is None else number
    summary = Issue("incomplete", f"{left} members could not be changed; send the request again to repair them")
    named = [Issue("incomplete", f"{name} was not changed", expression=name) for name in names[:NAMED]]
    return [summary, *named]


@dataclass(frozen=True, slots=True)
class _Passing:
    """The accounts that a target passes on at one moment."""

    target: str
    head: Head | None

    def to(self, member: Head) -> Grants:
        """What a member that is neither sealed nor private inherits."""
        return accounts.passed_on(self.head, accounts.carried_by(member))


def _passing(store: Store, target: str) -> _Passing:
    return _Passing(target, store.read(target))


def _judge(
    store: Store, passing: _Passing, keys: Sequence[str], *, heads: Mapping[str, Head], reaches: Reach
) -> Findings:
    target = passing.target
    its = membership.definition(store, target.partition("/")[0])
    assert its is not None
    standing = 0
    wrong, unsettled, broken, closed = [], [], [], []
    for key in keys:
        head = heads.get(key)
        if head is None or head.deleted:
            unsettled.append(key)
            continue
        given = {} if head.sealed else passing.to(head)
        as_asked = list(head.granted_by(target).items()) == list(given.items())
        # Every write of a body sets `inherited` anew, so a resource that inherits from the target names it: the body need not be read.
        if as_asked and given and not store.settings.private:
            standing += reaches(head)
            continue
        try:
            is_member = membership.is_member(its, target, store.version(head))
            is_closed = _is_closed(store, head)
        except Exception as error:
            logger.error("member cannot be read", extra={"resource": key, "error": type(error).__name__})
            broken.append(key)
            continue
        if not is_member:
            unsettled.append(key)
        elif is_closed and not head.inherited:
            closed.append((key, reaches(head)))
        elif as_asked and not is_closed:
            standing += reaches(head)
        else:
            wrong.append(key)
    return Findings(standing, tuple(wrong), tuple(unsettled), tuple(broken), tuple(closed))


def _writes(store: Store, passing: _Passing, members: Sequence[Head], *, reaches: Reach) -> list[Write]:
    """Writes that give each of `members` (as read before the target) what the target passes on to it.

    Where a member loses what it had through a Patient, other targets may have handed it something for the sake of just that. One that
    loses its last account by a fenced caller's run opens to nobody by that: see `Head.open`.
    """
    roots = {root for head in members for root in head.inherited if not accounts.is_patient(root)}
    others = store.read_many(roots) if roots and accounts.is_patient(passing.target) else {}
    made = [accounts_write(head, {}) if _is_closed(store, head) else _write(head, passing, others) for head in members]
    for member, write in zip(members, made, strict=True):
        if reaches.fence is not None and member.accounts and not write.head(member.updated).accounts:
            write.lapsed = True
    return made


def _is_closed(store: Store, head: Head) -> bool:
    setting = store.settings.private
    return head.sealed or (bool(setting) and private.is_private(setting, store.decode(head)))


def _write(member: Head, passing: _Passing, others: Mapping[str, Head]) -> Write:
    given = member.inherited_grants | {passing.target: passing.to(member)}
    carries = accounts.carried(member.granted_by(OWN), given)
    given |= {root: accounts.passed_on(others[root], carries) for root in given if root in others}
    return accounts_write(member, given)


def _commit(store: Store, writes: Sequence[Write]) -> tuple[set[str], tuple[str, ...]]:
    """Keys that were not written because of a conflict, and keys that cannot be written: halving isolates those."""
    if not writes:
        return set(), ()
    try:
        return store.commit_each(writes), ()
    except Unavailable:
        raise
    except Exception as error:
        # If a member cannot even be read, the table is at fault, and this read raises.
        store.read(writes[0].key)
        if len(writes) == 1:
            logger.error("member cannot be written", extra={"resource": writes[0].key, "error": type(error).__name__})
            return set(), (writes[0].key,)
    half = len(writes) // 2
    conflicts, failed = _commit(store, writes[:half])
    more_conflicts, more_failed = _commit(store, writes[half:])
    return conflicts | more_conflicts, failed + more_failed
