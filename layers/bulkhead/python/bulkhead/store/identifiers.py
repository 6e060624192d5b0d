"""Creating under an identifier that nobody has: one of all conditional creates, and none where a plain one was first.

Every writer stages the items of its identifiers (`keys.identifier_key`) before it commits. Beyond that,

- who creates under a condition puts a reservation on the identifiers that the condition names, then looks at the items that
  others have there, and commits only if its reservations still stand and what it saw is unchanged;
- who writes an identifier in any other way reads, once its items are staged, whether there is a reservation, and takes it away
  before it commits.

A reservation says to which accounts its owner is fenced. Who writes what carries accounts, and none of these, leaves it alone, and
the owner does not mind what such writers do: it does not see what they make, so that is no match of its. (It would if the resource
carried no account at all: some types are shared then.) So nobody is held up by those from whom he is fenced off.

Both write before they read, strongly consistent: so whatever the order, one of them sees the other, and it is always the
conditional writer that has to look again. Reservations hold up other conditional writers only, and them for a moment; what a
dead one has left, the next writer takes away.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from bulkhead.errors import ClaimTaken, Conflict
from bulkhead.parallel import chunks
from bulkhead.store import heads, keys, staging, transaction_marks, transactions
from bulkhead.store.heads import Claim, Head, Identifier, Unique, Write
from bulkhead.store.keys import Key
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table
from bulkhead.store.throttling import pause
from bulkhead.store.transaction_marks import RESERVED_BY

_ATTEMPTS = 5
# Seconds that other conditional writers leave a reservation alone: enough for a commit, and not long for who comes after a dead one.
_LEASE = 2.0
_POLLS = 12
# A writer that has staged and not committed yet is waited for this long, in turns of so many seconds; most are dead.
_LOOKS = (0.01, 0.04, 0.1)
# Where more resources than these have an identifier and do not meet the condition, not each of them can be watched.
_WATCHED = 30

# A reservation's attribute: the accounts that its owner is fenced to, absent where it sees more than a fence of accounts shows.
_WITHIN = "within"
# A condition has room for so many of them.
_LISTED_ACCOUNTS = 20

_MINE = f"#{RESERVED_BY} = :by"
# `OR mine`: a retry after a lost answer finds its own.
_FREE = f"{staging.NEW} OR (attribute_not_exists(#txn) AND #until <= :now) OR {_MINE}"


class _Other(NamedTuple):
    """A resource that has an identifier, or is about to: as a reader sees it, and the check that it still stands like this."""

    head: Head | None
    check: Item
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

    @property
    def partitions(self) -> list[str]:
        return list(dict.fromkeys(_partition(one) for _, unique in self.claims for one in unique.identifiers))

    @property
    def within(self) -> frozenset[str] | None:
        """The accounts that the caller is fenced to; None where it is not."""
        fences = [unique.within for _, unique in self.claims]
        known = [fence for fence in fences if fence is not None]
        return frozenset().union(*known) if known and len(known) == len(fences) else None

    @property
    def _fence(self) -> Item:
        return {_WITHIN: {"L": [{"S": account} for account in sorted(self.within)]}} if self.within is not None else {}

    @property
    def room(self) -> int:
        """How many items of a commit this takes at most."""
        return len(self.partitions) + _WATCHED if self.claims else 0

    def reserve(self) -> None:
        """Put the reservations. ClaimTaken where others had some, once those are gone or outdated. Conflict."""
        mark: Item = {"txn": {"S": self.transaction}, "made": {"BOOL": True}} if self.transaction else {}
        for batch in chunks(self.partitions, TRANSACT_LIMIT):
            now = time.time()
            until: Item = {RESERVED_BY: {"S": self.by}, "until": {"N": str(now + _LEASE)}} | self._fence
            values = {":now": {"N": str(now)}, ":by": {"S": self.by}}
            actions = [
                self.table.put_action({"pk": {"S": partition}, "sk": {"S": keys.HEAD}} | until | mark, _FREE, values)
                for partition in batch
            ]
            try:
                self.table.write(actions)
            except ConditionFailed as error:
                self._wait(batch[error.failed[0]])
                raise self.overtaken() from None

    def _wait(self, partition: str) -> None:
        """Until another's reservation has come to its end: most likely its owner has made what we are about to make.

        Conflict where that is a large transaction which goes on and on.
        """
        for attempt in range(_POLLS):
            cleared = transaction_marks.clear(self.table, partition)
            item = self.table.get((partition, keys.HEAD))
            if cleared and item and transaction_marks.marked(item):
                raise Conflict("a large transaction is creating resources with this identifier; try again")
            if item is None or float(item["until"]["N"]) <= time.time():
                return
            pause(attempt)

    def look(self) -> list[Item]:
        """The checks that nobody else meets the claims' conditions, for the commit. ClaimTaken where somebody does."""
        for seconds in (*_LOOKS, 0.0):
            others = self._others()
            if not seconds or not any(other.underway for other in others.values()):
                break
            time.sleep(seconds)
        checks = {str(other.check): other.check for other in others.values()}
        return list(checks.values())[:_WATCHED]

    def _others(self) -> dict[str, _Other]:
        """All that have an identifier which a claim names."""
        wanted = [(claim, identifier) for claim in self.claims for identifier in claim[1].identifiers]
        listed = self.table.parallel(lambda pair: _listed(self.table, pair[1]), wanted)
        staged: dict[str, int] = {}
        for found in listed:
            for key in found.keys() - self.own:
                staged[key] = max(staged.get(key, 0), found[key])
        others = _seen(self.table, staged, self.within)
        for ((condition, unique), _), found in zip(wanted, listed, strict=True):
            for key in found.keys() & others.keys():
                head = others[key].head
                if head is not None and not head.deleted and unique.meets(head):
                    raise ClaimTaken(condition, key)
        return others

    def actions(self) -> list[Item]:
        """The end of the reservations, for the commit: on condition that they are there."""
        return [self._end(partition) for partition in self.partitions]

    def _end(self, partition: str) -> Item:
        return self.table.delete_action((partition, keys.HEAD), _MINE, {":by": {"S": self.by}})

    def release(self) -> None:
        """Take the reservations away after a commit that failed; those of a large transaction end with it."""
        if not self.transaction:
            self.table.write_each(self.actions())

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


def take_away(table: Table, writes: Sequence[Write], reservations: Sequence[Item]) -> None:
    """End the reservations of others who may see what `writes` make, so that they look again.

    `reservations` as they were read after staging, `writes` with what they inherit.
    """
    plain: list[Item] = []
    carried = _carried(writes, {item["pk"]["S"] for item in reservations})
    for item in reservations:
        if all(_is_hidden(accounts, item) for accounts in carried[item["pk"]["S"]]):
            continue
        if transaction := transaction_marks.marked(item):
            transactions.contest(table, transaction)
        else:
            key = item["pk"]["S"], item["sk"]["S"]
            plain.append(table.delete_action(key, _MINE, {":by": item[RESERVED_BY]}))
    table.write_each(plain)


def _carried(writes: Sequence[Write], partitions: Collection[str]) -> dict[str, list[tuple[str, ...]]]:
    """By partition: the accounts of each resource that gets the identifier."""
    carried: dict[str, list[tuple[str, ...]]] = {partition: [] for partition in partitions}
    for write in writes if carried else ():
        for partition in reservable([write]):
            if partition in carried:
                carried[partition].append(write.head("").accounts)
    return carried


def _is_hidden(accounts: Sequence[str], reservation: Item) -> bool:
    """Whether the owner of a reservation certainly does not see a resource with these accounts."""
    if _WITHIN not in reservation or not accounts:
        return False
    return {account["S"] for account in reservation[_WITHIN]["L"]}.isdisjoint(accounts)


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


def _seen(table: Table, staged: dict[str, int], within: frozenset[str] | None) -> dict[str, _Other]:
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
                others[key] = _settled(table, key, item, staged[key], within)
            elif within is not None and item and "made" in item and _is_hidden_by(heads.from_item(item), within):
                # What another's transaction is about to make will not be seen: its end need not be waited for.
                others[key] = _settled(table, key, None, 0, within)._replace(underway=False)
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


def _settled(table: Table, key: str, item: Item | None, staged: int, within: frozenset[str] | None) -> _Other:
    at: Key = (key, keys.HEAD)
    condition, values = (staging.NEW, {}) if item is None else (staging.CURRENT, {":base": item["v"]})
    head = heads.from_item(item) if item else None
    if within is not None and len(within) <= _LISTED_ACCOUNTS and (head is None or _is_hidden_by(head, within)):
        # What others make of it does not matter as long as the caller does not see it.
        hidden, listed = _hidden(within)
        condition, values = f"({condition}) OR ({hidden})", values | listed
    underway = head is None or staged > head.version
    return _Other(head, table.check_action(at, condition, values), underway)


def _is_hidden_by(head: Head, within: frozenset[str]) -> bool:
    """Whether a fence of these accounts certainly hides a resource that can be written a condition for."""
    return bool(head.accounts) and len(within) <= _LISTED_ACCOUNTS and within.isdisjoint(head.accounts)


def _hidden(within: frozenset[str]) -> tuple[str, Item]:
    """The condition on a head that it carries accounts, and none of these; and its values."""
    names = {f":a{n}": {"S": account} for n, account in enumerate(sorted(within))}
    condition = "(attribute_exists(#explicit) OR attribute_exists(#carries))"
    condition += " AND (attribute_not_exists(#inherited) OR attribute_exists(#carries))"
    condition += "".join(f" AND NOT contains(#explicit, {n}) AND NOT contains(#carries, {n})" for n in names)
    return condition, names
