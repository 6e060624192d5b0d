"""Creating under an identifier that nobody has: one of all conditional creates, and none where a plain one was first.

Every writer stages the items of its identifiers (`keys.identifier_key`) before it commits. Beyond that,

- who creates under a condition puts a reservation on the identifiers that the condition names, then looks at the items that
  others have there, and commits only if its reservations still stand and what it saw is unchanged;
- who writes an identifier in any other way reads, once its items are staged, whether there is a reservation, and takes it away
  before it commits.

A reservation says what its owner is fenced to, and has a slot that only callers with the same fence share (`reservations`). Who
writes what is certainly outside of that leaves it alone, and the owner does not mind what such writers do: it does not see what they
make, so that is no match of its. So nobody is held up by those from whom he is fenced off, conditional writers among them.

Both write before they read, strongly consistent: so whatever the order, one of them sees the other, and it is always the
conditional writer that has to look again. Reservations hold up other conditional writers only, and them for a moment; what a
dead one has left, the next writer takes away. (An update that moves a resource of other patients into the chart of a caller who is
fenced to it, at this very moment, is not seen: the mover sees both, so it is none of those from whom the caller is fenced off.)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from bulkhead.errors import ClaimTaken, Conflict
from bulkhead.parallel import chunks
from bulkhead.store import heads, keys, reservations, staging, transaction_marks, transactions
from bulkhead.store.heads import Claim, Fenced, Head, Identifier, Unique, Write
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table
from bulkhead.store.throttling import pause

_ATTEMPTS = 5
# Seconds that other conditional writers leave a reservation alone: enough for a commit, and not long for who comes after a dead one.
_LEASE = 2.0
_POLLS = 12
# A writer that has staged and not committed yet is waited for this long, in turns of so many seconds; most are dead.
_LOOKS = (0.01, 0.04, 0.1)
# Where more resources than these have an identifier and do not meet the condition, not each of them can be watched.
_WATCHED = 30

# A condition has room for so many accounts.
_LISTED_ACCOUNTS = 20


class _Other(NamedTuple):
    """A resource that has an identifier, or is about to: as a reader sees it, and the check that it still stands like this."""

    head: Head | None
    check: Item | None
    """None where it does not matter what becomes of it."""
    underway: bool


@dataclass
class Guard:
    """The reservations of one commit, for those of its claims that name identifiers."""

    table: Table
    claims: Sequence[tuple[str, Unique]]
    """Conditions, and what makes them unique."""
    own: frozenset[str]
    """The resources that the commit writes."""
    transaction: str | None = None
    """The large transaction, if it is one: its reservations end with it."""
    by: str = field(default_factory=lambda: str(uuid4()))
    before: frozenset[str] = frozenset()
    """What was staged before the reservations, where that is asked: who stages later finds them."""
    shared: bool = False
    """Whether others have reservations beside ours."""

    @property
    def partitions(self) -> list[str]:
        return list(dict.fromkeys(_partition(one) for _, unique in self.claims for one in unique.identifiers))

    @property
    def fence(self) -> Fenced | None:
        """What the caller is fenced to: one caller makes all claims of a commit."""
        return self.claims[0][1].fence if self.claims else None

    @property
    def slot(self) -> str | None:
        """The slot of the reservations; None where there are none."""
        return reservations.slot_name(self.fence) if self.claims else None

    @property
    def room(self) -> int:
        """How many items of a commit this takes at most."""
        return len(self.partitions) + _WATCHED if self.claims else 0

    def reserve(self) -> None:
        """Put the reservations. ClaimTaken where others had some, once those are gone or outdated. Conflict."""
        if self.fence and not _is_listed(self.fence):
            self.before = frozenset(self._staged())
        for batch in chunks(self.partitions, TRANSACT_LIMIT):
            self._reserve(batch)

    def _reserve(self, partitions: Sequence[str]) -> None:
        for _ in range(_ATTEMPTS):
            until = time.time() + _LEASE
            try:
                self.table.write(
                    [
                        reservations.reserve_action(self.table, partition, self.fence, self.by, until, self.transaction)
                        for partition in partitions
                    ]
                )
                return
            except ConditionFailed as error:
                if self._wait(partitions[error.failed[0]]):
                    break
        raise self.overtaken() from None

    def _wait(self, partition: str) -> bool:
        """Wait until another's reservation has come to its end: most likely its owner has made what we are about to make.

        False where there were only those of the dead. Conflict where it is a large transaction's which goes on and on.
        """
        for attempt in range(_POLLS):
            left = reservations.in_the_way(self.table, partition, self.fence)
            if not left:
                return attempt > 0
            pause(attempt)
        if any(slot.transaction for slot in left):
            raise Conflict("a large transaction is creating resources with this identifier; try again")
        return True

    def look(self) -> list[Item]:
        """The checks that nobody else meets the claims' conditions, for the commit. ClaimTaken where somebody does."""
        for seconds in (*_LOOKS, 0.0):
            others = self._others()
            if not seconds or not any(other.underway for other in others.values()):
                break
            time.sleep(seconds)
        checks = {str(other.check): other.check for other in others.values() if other.check}
        return list(checks.values())[:_WATCHED]

    def _others(self) -> dict[str, _Other]:
        """All that have an identifier which a claim names."""
        listed = self._listed()
        others = _seen(self.table, self._staged(listed), self.fence, self.before)
        for (condition, unique), found in listed:
            for key in found.keys() & others.keys():
                head = others[key].head
                if head is not None and not head.deleted and unique.meets(head):
                    raise ClaimTaken(condition, key)
        return others

    def _listed(self) -> list[tuple[tuple[str, Unique], dict[str, int]]]:
        """For each claim and each of its identifiers: who has it, or is about to."""
        wanted = [(claim, identifier) for claim in self.claims for identifier in claim[1].identifiers]
        listed = self.table.parallel(lambda pair: _listed(self.table, pair[1]), wanted)
        return [(claim, found) for (claim, _), found in zip(wanted, listed, strict=True)]

    def _staged(self, listed: Sequence[tuple[object, dict[str, int]]] | None = None) -> dict[str, int]:
        """The latest version for which others have staged any of the identifiers, by resource."""
        staged: dict[str, int] = {}
        for _, found in self._listed() if listed is None else listed:
            for key in found.keys() - self.own:
                staged[key] = max(staged.get(key, 0), found[key])
        return staged

    def actions(self) -> list[Item]:
        """The end of the reservations, for the commit: on condition that they are there, and nobody else's beside them."""
        return [reservations.sole_end_action(*arguments) for arguments in self._ends]

    def shared_actions(self) -> list[Item] | None:
        """The same where others, who are fenced off, have reservations too. None where one of ours is gone."""
        items = self.table.get_many((partition, keys.HEAD) for partition in self.partitions)
        taken = {(key[0], slot.name, slot.by) for key, item in items.items() for slot in reservations.slots(item)}
        if any(arguments[1:] not in taken for arguments in self._ends):
            return None
        self.shared = True
        return [reservations.end_action(*arguments) for arguments in self._ends]

    def tidy(self) -> None:
        """Delete the items that nobody has reservations in any more, once those of `shared_actions` have ended."""
        reservations.tidy(self.table, self.partitions)

    @property
    def _ends(self) -> list[tuple[Table, str, str, str]]:
        name = reservations.slot_name(self.fence)
        return [(self.table, partition, name, self.by) for partition in self.partitions]

    def release(self) -> None:
        """Take the reservations away after a commit that failed; those of a large transaction end with it."""
        if not self.transaction:
            reservations.end(self.table, [arguments[1:] for arguments in self._ends])

    def overtaken(self) -> ClaimTaken:
        """The error that says that somebody was faster."""
        return ClaimTaken(self.claims[0][0], None)


def guard(table: Table, writes: Sequence[Write], claims: Sequence[Claim]) -> Guard:
    """The guard of those `claims` that name identifiers; it does nothing where there are none."""
    named = [(claim.condition, claim.unique) for claim in claims if claim.unique]
    return Guard(table, named, frozenset(write.key for write in writes))


def reservable(writes: Iterable[Write]) -> list[str]:
    """The partitions of the identifiers that `writes` add to what there is."""
    added = (key for write in writes for key in staging.added(write) if keys.is_identifier(key))
    return list(dict.fromkeys(partition for partition, _ in added))


def take_away(table: Table, writes: Sequence[Write], items: Sequence[Item], own: str | None) -> None:
    """End the reservations of others, in other slots than `own`, who may see what `writes` make, so that they look again.

    `items` are those of the partitions as they were read after staging, `writes` have what they inherit.
    """
    wanted = {item["pk"]["S"] for item in items}
    by_partition: dict[str, list[Write]] = {partition: [] for partition in wanted}
    for write in writes if wanted else ():
        for partition in wanted.intersection(reservable([write])):
            by_partition[partition].append(write)
    reservations.take_away(table, by_partition, items, own)


def _partition(identifier: Identifier) -> str:
    return keys.value_partition(identifier.type, keys.IDENTIFIER, identifier.value)


def _listed(table: Table, identifier: Identifier) -> dict[str, int]:
    """The resources that have an identifier, or shall have it, and for which version that was staged."""
    partition = _partition(identifier)
    prefix = None if identifier.system is None else keys.value_sort(identifier.system, "")
    found = {}
    for item in table.query(partition, prefix, prefix):
        key = partition, item["sk"]["S"]
        if keys.is_identifier(key):
            found[keys.identified(key)] = int(item["v"]["N"])
    return found


def _seen(table: Table, staged: dict[str, int], fence: Fenced | None, before: Collection[str]) -> dict[str, _Other]:
    """What stands under each key now, of which an identifier was staged for a version. Dead transactions are cleared away."""
    others: dict[str, _Other] = {}
    left = list(staged)
    for _ in range(_ATTEMPTS):
        items = table.get_many((key, keys.HEAD) for key in left)
        again = []
        for key in left:
            item = items.get((key, keys.HEAD))
            if item and heads.GRAVESTONE in item:
                still_gone = f"attribute_exists(#{heads.GRAVESTONE})"
                others[key] = _Other(None, table.check_action((key, keys.HEAD), still_gone), False)
                continue
            transaction = transaction_marks.marked(item) if item else None
            if transaction is None:
                others[key] = _settled(table, key, item, staged[key], fence, before)
            elif fence and item and "made" in item and fence.hides(heads.from_item(item)):
                # What another's transaction is about to make will not be seen: its end need not be waited for.
                others[key] = _settled(table, key, None, 0, fence, before)._replace(underway=False)
            elif transactions.state_now(table, transaction) == (transactions.PENDING, False):
                visible = None if item is None or "made" in item else heads.from_item(item)
                others[key] = _Other(visible, transactions.undecided(table, transaction), True)
            else:
                transaction_marks.clear(table, key)
                again.append(key)
        left = again
        if not left:
            return others
    raise Conflict("large transactions hold resources with this identifier; try again")


def _settled(
    table: Table, key: str, item: Item | None, staged: int, fence: Fenced | None, before: Collection[str]
) -> _Other:
    """A resource that no transaction holds, or none yet, with the check that it does not come to meet a condition."""
    head = heads.from_item(item) if item else None
    if head is None:
        if fence and not _is_listed(fence) and key not in before:
            # It was staged after our reservation: whoever makes it takes that away, unless we do not see it.
            return _Other(None, None, False)
        return _Other(None, _check(table, key, staging.NEW, {}, fence), True)
    underway = staged > head.version
    current = staging.CURRENT, {":base": {"N": str(head.version)}}
    if not fence or not fence.hides(head):
        return _Other(head, _check(table, key, *current, None), underway)
    if fence.accounts is None or not set(fence.accounts).isdisjoint(head.accounts):
        # Of another chart: see above.
        return _Other(head, None, underway)
    if _is_listed(fence):
        return _Other(head, _check(table, key, *current, fence), underway)
    condition, values = _carrying_the_same(head)
    check = table.check_action((key, keys.HEAD), f"({current[0]}) OR ({condition})", current[1] | values)
    return _Other(head, check, underway)


def _is_listed(fence: Fenced) -> bool:
    """Whether a condition on a head can say that the fence hides it."""
    return fence.charts is None and fence.accounts is not None and len(fence.accounts) <= _LISTED_ACCOUNTS


def _check(table: Table, key: str, condition: str, values: Item, fence: Fenced | None) -> Item:
    if fence and fence.accounts is not None and len(fence.accounts) <= _LISTED_ACCOUNTS:
        # What others make of it does not matter as long as the caller does not see it.
        hidden, listed = _hidden(fence.accounts)
        condition, values = f"({condition}) OR ({hidden})", values | listed
    return table.check_action((key, keys.HEAD), condition, values)


def _hidden(accounts: Collection[str]) -> tuple[str, Item]:
    """The condition on a head that it carries accounts, and none of these; and its values."""
    names = {f":a{n}": {"S": account} for n, account in enumerate(sorted(accounts))}
    condition = "(attribute_exists(#explicit) OR attribute_exists(#carries))"
    condition += " AND (attribute_not_exists(#inherited) OR attribute_exists(#carries))"
    condition += "".join(f" AND NOT contains(#explicit, {n}) AND NOT contains(#carries, {n})" for n in names)
    return condition, names


def _carrying_the_same(head: Head) -> tuple[str, Item]:
    """The condition that a head carries the accounts that it carries now; and its values."""
    now = heads.attributes(head)
    conditions: list[str] = []
    values: Item = {}
    for name in ("explicit", "carries"):
        if name in now:
            conditions.append(f"#{name} = :{name}")
            values[f":{name}"] = now[name]
        else:
            conditions.append(f"attribute_not_exists(#{name})")
    return " AND ".join(conditions), values
