"""Conditional creates under identifiers: only one of them creates, and none if a plain create was first.

Every writer stages the items of its identifiers (`keys.identifier_key`) before it commits. Beyond that,

- a writer that creates under a condition reserves the identifiers in the condition, then reads the items that others have there,
  and commits only if its reservations still hold and nothing that it saw has changed;
- a writer of an identifier in any other way reads, after staging its items, whether there is a reservation, and ends it
  before it commits.

A reservation records its owner's fence, in a slot that only callers with the same fence share (`reservations`). A writer of a
resource that is certainly outside of that fence leaves the reservation alone, and its owner ignores such writers: it cannot see
their resources, so they are no match for it. So no caller delays another that is fenced off from it, conditional writers included.

Both write before they read, strongly consistent. So in any order one of them sees the other, and it is always the conditional
writer that looks again. A reservation delays only other conditional writers, and only for a moment; the next writer removes
that of a dead one. (An update that moves a resource of other patients, at this very moment, into the chart of a caller who is
fenced to it is not seen. Its writer sees both charts, so the caller is not fenced off from it.)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from bulkhead.errors import ClaimTaken, Conflict, MultipleMatches
from bulkhead.parallel import chunks
from bulkhead.store import heads, keys, reservations, staging, transaction_marks, transactions
from bulkhead.store.heads import Claim, Fenced, Head, Identifier, Unique, Write
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table
from bulkhead.store.throttling import pause

_ATTEMPTS = 5
# Seconds for which other conditional writers respect a reservation: enough for a commit, and short after a dead owner.
_LEASE = 2.0
_POLLS = 12
# A writer that has staged and not committed is awaited for these seconds, in turn; most such writers are dead.
_LOOKS = (0.01, 0.04, 0.1)
# A commit keeps room to watch this many resources that have an identifier without meeting the condition; most have room for more.
_WATCHED = 30

# The limit on accounts in a condition.
_LISTED_ACCOUNTS = 20


class _Other(NamedTuple):
    """A resource that has an identifier, or is about to, as a reader sees it; and the check that it has not changed."""

    head: Head | None
    check: Item | None
    """None if its changes do not matter."""
    underway: bool
    required: bool = True
    """Whether the commit must not happen without the check: the caller sees the resource, or may come to see it as soon as it is made."""


_Listed = list[tuple[tuple[str, Unique], dict[str, int]]]
"""For each claim and each of its identifiers: the resources that have it, or are about to, with the version that it was staged for."""


@dataclass
class Guard:
    """The reservations of one commit, for its claims that name identifiers."""

    table: Table
    claims: Sequence[tuple[str, Unique]]
    """The conditions, with the identifiers that make them unique."""
    own: frozenset[str]
    """The resources that the commit writes."""
    transaction: str | None = None
    """The large transaction, if the commit is one: its reservations end with it."""
    by: str = field(default_factory=lambda: str(uuid4()))
    before: frozenset[str] = frozenset()
    """What was staged before the reservations, if that was read: later writers find the reservations."""
    shared: bool = False
    """Whether others have reservations as well."""
    unwatched: bool = False
    """Whether there was no room for all checks of the last look."""

    @property
    def partitions(self) -> list[str]:
        return list(dict.fromkeys(_partition(one) for _, unique in self.claims for one in unique.identifiers))

    @property
    def fence(self) -> Fenced | None:
        """The caller's fence: one caller makes all claims of a commit."""
        return self.claims[0][1].fence if self.claims else None

    @property
    def slot(self) -> str | None:
        """The slot of the reservations; None if there are none."""
        return reservations.slot_name(self.fence) if self.claims else None

    @property
    def room(self) -> int:
        """How many items of a commit the guard needs at least: for its reservations, and to watch other resources."""
        return len(self.partitions) + _WATCHED if self.claims else 0

    def reserve(self) -> None:
        """Puts the reservations. ClaimTaken if others had some that have ended or lapsed since. Conflict."""
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
                        reservations.reserve_action(
                            self.table, partition, self.fence, by=self.by, until=until, transaction=self.transaction
                        )
                        for partition in partitions
                    ]
                )
                return
            except ConditionFailed as error:
                if self._wait(partitions[error.failed[0]]):
                    break
        raise self.overtaken() from None

    def _wait(self, partition: str) -> bool:
        """Waits until another's reservation ends: its owner has probably created the resource that we are about to create.

        False if all owners were dead. Conflict if the reservation belongs to a large transaction that does not end.
        """
        for attempt in range(_POLLS):
            left = reservations.in_the_way(self.table, partition, self.fence)
            if not left:
                return attempt > 0
            pause(attempt)
        if any(slot.transaction for slot in left):
            raise Conflict("a large transaction is creating resources with this identifier: send the request again")
        return True

    def look(self, room: int) -> list[Item]:
        """The checks, for the commit, that no other resource meets the claims' conditions: as many as have `room`. ClaimTaken if one does.

        MultipleMatches if more resources than that have one identifier, do not meet its condition, and may come to meet it. Where it takes
        many identifiers to be so many, or where they are not there yet, the commit is not refused: `unwatched` says that it has to look again
        just before it is decided. Resources that the caller cannot see are watched if there is room left: they never refuse it anything.
        """
        for seconds in (*_LOOKS, 0.0):
            listed, others = self._others()
            if not seconds or not any(other.underway for other in others.values()):
                break
            time.sleep(seconds)
        settled = {key for key, other in others.items() if other.check and other.required and not other.underway}
        if any(len(settled.intersection(found)) > room for _, found in listed):
            raise MultipleMatches(
                f"more than {room} resources have this identifier without meeting the other criteria, so the server cannot make sure "
                "that none comes to meet them at this moment: use an identifier that fewer resources have"
            )
        watched = sorted((other for other in others.values() if other.check), key=lambda other: not other.required)
        self.unwatched = len({str(other.check) for other in watched if other.required}) > room
        checks = {str(other.check): other.check for other in watched if other.check}
        return list(checks.values())[:room]

    def _others(self) -> tuple[_Listed, dict[str, _Other]]:
        """What each identifier of each claim lists, and all resources among that."""
        listed = self._listed()
        others = _seen(self.table, self._staged(listed), self.fence, before=self.before)
        for (condition, unique), found in listed:
            for key in found.keys() & others.keys():
                head = others[key].head
                if head is not None and not head.deleted and unique.meets(head):
                    raise ClaimTaken(condition, key)
        return listed, others

    def _listed(self) -> _Listed:
        """For each claim and each of its identifiers: the resources that have it, or are about to."""
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
        """The actions that end the reservations in the commit, on condition that they exist and that no one else holds the items."""
        return [reservations.sole_end_action(self.table, partition, name, by=by) for partition, name, by in self._ends]

    def shared_actions(self) -> list[Item] | None:
        """The same, where others who are fenced off hold reservations too. None if one of ours is gone."""
        items = self.table.get_many((partition, keys.HEAD) for partition in self.partitions)
        taken = {(key[0], slot.name, slot.by) for key, item in items.items() for slot in reservations.slots(item)}
        if not taken.issuperset(self._ends):
            return None
        self.shared = True
        return [reservations.end_action(self.table, partition, name, by=by) for partition, name, by in self._ends]

    def tidy(self) -> None:
        """Deletes the items without holders, after the reservations of `shared_actions` have ended."""
        reservations.tidy(self.table, self.partitions)

    @property
    def _ends(self) -> list[tuple[str, str, str]]:
        name = reservations.slot_name(self.fence)
        return [(partition, name, self.by) for partition in self.partitions]

    def release(self) -> None:
        """Ends the reservations after a failed commit; those of a large transaction end with it."""
        if not self.transaction:
            reservations.end(self.table, self._ends)

    def overtaken(self) -> ClaimTaken:
        """The error for a commit that another writer has overtaken."""
        return ClaimTaken(self.claims[0][0], None)


def guard(table: Table, writes: Sequence[Write], claims: Sequence[Claim]) -> Guard:
    """The guard for those `claims` that name identifiers; without such claims it does nothing."""
    named = [(claim.condition, claim.unique) for claim in claims if claim.unique]
    return Guard(table, named, frozenset(write.key for write in writes))


def reservable(writes: Iterable[Write]) -> list[str]:
    """The partitions of the identifiers that `writes` add."""
    added = (key for write in writes for key in staging.added(write) if keys.is_identifier(key))
    return list(dict.fromkeys(partition for partition, _ in added))


def take_away(table: Table, writes: Sequence[Write], items: Sequence[Item], *, own: str | None) -> None:
    """Ends the reservations, in slots other than `own`, of those who may see the resources in `writes`, so that they look again.

    `items` are the reservations as read after staging; `writes` have the accounts that they inherit.
    """
    wanted = {item["pk"]["S"] for item in items}
    by_partition: dict[str, list[Write]] = {partition: [] for partition in wanted}
    for write in writes if wanted else ():
        for partition in wanted.intersection(reservable([write])):
            by_partition[partition].append(write)
    reservations.take_away(table, by_partition, items, own=own)


def _partition(identifier: Identifier) -> str:
    return keys.value_partition(identifier.type, keys.IDENTIFIER, identifier.value)


def _listed(table: Table, identifier: Identifier) -> dict[str, int]:
    """The resources that have an identifier, or will have it, with the version that it was staged for."""
    partition = _partition(identifier)
    prefix = None if identifier.system is None else keys.value_sort(identifier.system, "")
    found = {}
    for item in table.query(partition, prefix, prefix):
        key = partition, item["sk"]["S"]
        if keys.is_identifier(key):
            found[keys.identified(key)] = int(item["v"]["N"])
    return found


def _seen(table: Table, staged: dict[str, int], fence: Fenced | None, *, before: Collection[str]) -> dict[str, _Other]:
    """The current resource under each key for which an identifier was staged. Clears dead transactions away."""
    others: dict[str, _Other] = {}
    left = list(staged)
    for _ in range(_ATTEMPTS):
        items = table.get_many((key, keys.HEAD) for key in left)
        again = []
        for key in left:
            item = items.get((key, keys.HEAD))
            if item and heads.GRAVESTONE in item:
                still_gone = f"attribute_exists(#{heads.GRAVESTONE})"
                others[key] = _Other(None, table.check_action((key, keys.HEAD), still_gone), False, fence is None)
                continue
            transaction = transaction_marks.marked(item) if item else None
            if transaction is None:
                others[key] = _settled(table, key, item, staged=staged[key], fence=fence, before=before)
            elif fence and item and "made" in item and fence.hides(heads.from_item(item)):
                # The caller will not see what the other's transaction makes, so it need not wait for its end.
                others[key] = _settled(table, key, None, staged=0, fence=fence, before=before)._replace(
                    underway=False, required=False
                )
            elif transactions.state_now(table, transaction) == (transactions.PENDING, False):
                head = heads.from_item(item) if item else None
                required = fence is None or head is None or not fence.hides(head)
                visible = None if item is None or "made" in item else head
                others[key] = _Other(visible, transactions.undecided(table, transaction), True, required)
            else:
                transaction_marks.clear(table, key)
                again.append(key)
        left = again
        if not left:
            return others
    raise Conflict("large transactions hold resources with this identifier: send the request again")


def _settled(
    table: Table, key: str, item: Item | None, *, staged: int, fence: Fenced | None, before: Collection[str]
) -> _Other:
    """A resource without a transaction's mark, or none yet, with the check that it does not come to meet a condition."""
    head = heads.from_item(item) if item else None
    if head is None:
        if fence and not _is_listed(fence) and key not in before:
            # Staged after our reservation: its writer ends the reservation, unless we cannot see the resource.
            return _Other(None, None, False)
        return _Other(None, _check(table, key, staging.NEW, values={}, fence=fence), True)
    underway = staged > head.version
    base: Item = {":base": {"N": str(head.version)}}
    if not fence or not fence.hides(head):
        return _Other(head, _check(table, key, staging.CURRENT, values=base, fence=None), underway)
    if fence.accounts is None or not set(fence.accounts).isdisjoint(head.accounts):
        # In another chart: see above.
        return _Other(head, None, underway)
    if _is_listed(fence):
        return _Other(head, _check(table, key, staging.CURRENT, values=base, fence=fence), underway, False)
    condition, values = _carrying_the_same(head)
    check = table.check_action((key, keys.HEAD), f"({staging.CURRENT}) OR ({condition})", base | values)
    return _Other(head, check, underway, False)


def _is_listed(fence: Fenced) -> bool:
    """Whether a condition on a head can express that the fence hides it."""
    return fence.charts is None and fence.accounts is not None and len(fence.accounts) <= _LISTED_ACCOUNTS


def _check(table: Table, key: str, condition: str, *, values: Item, fence: Fenced | None) -> Item:
    if fence and fence.accounts is not None and len(fence.accounts) <= _LISTED_ACCOUNTS:
        # Changes by others do not matter as long as the caller cannot see the resource.
        hidden, listed = _hidden(fence.accounts)
        condition, values = f"({condition}) OR ({hidden})", values | listed
    return table.check_action((key, keys.HEAD), condition, values)


def _hidden(accounts: Collection[str]) -> tuple[str, Item]:
    """The condition that a head carries accounts, and none of these; with its values."""
    names = {f":a{n}": {"S": account} for n, account in enumerate(sorted(accounts))}
    condition = "(attribute_exists(#explicit) OR attribute_exists(#carries))"
    condition += " AND (attribute_not_exists(#inherited) OR attribute_exists(#carries))"
    condition += "".join(f" AND NOT contains(#explicit, {n}) AND NOT contains(#carries, {n})" for n in names)
    return condition, names


def _carrying_the_same(head: Head) -> tuple[str, Item]:
    """The condition that a head still carries the same accounts; with its values."""
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
