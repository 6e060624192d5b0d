"""The integrity check: a scan that compares heads with the entries of the index. It catches what stage, commit and settle missed.

A reader checks every entry against its head, so the faults here never gave wrong results: they are litter, or damage:

stale     an entry for which its head has no use (of a settle that died, a writer that lost, an account that has ended), a mark, a
          reservation: removed
wide      more search parameters in an entry's `via` than its head has: narrowed
noted     an entry for a version that has not come yet: noted, and removed as an orphan if the version does not come; a body likewise
bodies    a large body in S3 that no version has, of a writer that died or lost: removed (`bodies.collect`)
missing   an entry, an index key, a month or a definition's name that a head needs: restored
damaged   an unreadable body, a missing version: reported, because the check cannot repair it

Writers may work meanwhile. The check reads a fault again, strongly consistent, before it repairs anything. A repair is conditional:
it fails if a writer has staged the entry anew, because a later writer raises its version or removes the note.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.errors import Unavailable
from bulkhead.fhir import dates
from bulkhead.parallel import chunks
from bulkhead.store import (
    bodies,
    builtin,
    date_months,
    definitions,
    files,
    head_counts,
    heads,
    keys,
    reservations,
    staging,
    transaction_marks,
    transactions,
)
from bulkhead.store.bodies import Bodies
from bulkhead.store.heads import Head
from bulkhead.store.keys import Entry, Key
from bulkhead.store.table import TRANSACT_LIMIT, ConditionFailed, Item, Table, item_key, key_of

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts

FactsOf = Callable[[Head], "Facts"]
"""The facts that the index must hold for a version that is no deletion."""

NAMED = 100
"""How many damaged resources a report names."""

STALE, WIDE, NOTED, ORPHANS, MISSING, DAMAGED = "stale", "wide", "noted", "orphans", "missing", "damaged"

_Fault = tuple[str, Item | None]
"""The kind of a fault, and the action that repairs it."""


class _Needed(NamedTuple):
    """What a head needs."""

    entries: dict[Key, Entry]
    listed: set[Key]
    """What must be listed: its dates' months, and itself if it may govern the server."""
    said: Item
    """What it must say for counts."""


logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """The result of a check: how much was examined, and how many faults of each kind were found; the first hundred damaged resources."""

    resources: int = 0
    identifiers: int = 0
    stale: int = 0
    wide: int = 0
    noted: int = 0
    orphans: int = 0
    bodies: int = 0
    missing: int = 0
    damaged: int = 0
    held: int = 0
    """What a large transaction holds, or another writer was at work on: its entries are compared another time."""
    names: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        both = Report(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Report)))
        both.names = both.names[:NAMED]
        return both

    @property
    def clean(self) -> bool:
        """Whether nothing was found, not even a trace that a working writer may leave for a moment."""
        return not any((self.stale, self.wide, self.noted, self.orphans, self.bodies, self.missing, self.damaged))

    def count(self, kind: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)


class Check:
    """Examines items, page by page. `now` is in seconds since 1970; a noted entry stays for `patience` seconds.

    With `patience` None no other process is at work, and an entry is removed at once instead of being noted.
    """

    def __init__(
        self, table: Table, facts_of: FactsOf, in_s3: Bodies, *, now: float, patience: float | None, repair: bool
    ) -> None:
        self._table, self._facts_of, self._bodies, self._repair = table, facts_of, in_s3, repair
        self._now, self._patience = now, patience
        # Who read a head before an account ended may be about to write one on which it does not: its entry stays that long.
        self._accounts_at = None if patience is None else dates.text(datetime.fromtimestamp(now - patience, UTC))
        self._listed = {
            item_key(item)
            for partition in (keys.MONTHS, keys.DATE_MONTHS, keys.DEFINITIONS)
            for item in table.query(partition)
        }

    def look(self, items: Iterable[Item]) -> Report:
        """Compares the items of a page, and repairs faults. The items of one resource should come together."""
        report = Report()
        resources: dict[str, list[Item]] = {}
        identifiers: list[Item] = []
        for pk, group in groupby(items, key=lambda item: item["pk"]["S"]):
            if _is_resource(pk):
                resources.setdefault(pk, []).extend(group)
            else:
                named = list(group)
                identifiers += [item for item in named if keys.is_identifier(item_key(item))]
                faults = [fault for item in named if (fault := self._outdated(item))]
                self._mend(pk, [*faults, *self._unnamed_claims(pk, named)], report)
        report.resources, report.identifiers, report.held = len(resources), len(identifiers), _held(resources)
        for pk, faults in self._faults(resources).items():
            if faults:
                again = {pk: list(self._table.query(pk))}
                report.held += _held(again)
                head = next((item for item in again[pk] if item["sk"]["S"] == keys.HEAD), None)
                self._mend(pk, self._faults(again)[pk], report, head=head)
        for pk, faults in self._faults_of_identifiers(identifiers).items():
            self._mend(pk, faults, report)
        for pk, items in resources.items():
            if bodies.have_unneeded(items):
                collected = self._bodies.collect(pk, before=self._now - (self._patience or 0), repair=self._repair)
                report.bodies += collected.taken
                report.noted += collected.left
        return report

    def _mend(self, pk: str, faults: Sequence[_Fault], report: Report, *, head: Item | None = None) -> None:
        actions = [(kind, action) for kind, action in faults if action]
        failed = self._written(actions, head)
        for n, (kind, action) in enumerate(actions):
            # A failed condition: a writer is at work on it.
            if n not in failed:
                report.count(kind)
            elif kind == MISSING:
                report.held += 1
            if "Put" in action:
                self._listed.add(item_key(action["Put"]["Item"]))
        damaged = [kind for kind, action in faults if not action]
        if damaged:
            report.damaged += len(damaged)
            report.names += (pk,)
            logger.error("resource is damaged", extra={"resource": pk})

    def _written(self, actions: Sequence[tuple[str, Item]], head: Item | None) -> set[int]:
        """Writes repairs, if asked to; returns the positions of items that a writer is at work on.

        Items of other partitions were read after the head. So an item is missing only if the head is still the same: a version in
        between may have removed what it does not need.
        """
        bound = [
            n for n, (kind, action) in enumerate(actions) if head and kind == MISSING and _aim(action) != item_key(head)
        ]
        if not self._repair:
            now = self._table.get(item_key(head)) if head and bound else head
            return set(bound) if head and (now is None or now["v"] != head["v"]) else set()
        rest = [n for n in range(len(actions)) if n not in bound]
        failed = {rest[n] for n in self._table.write_each([actions[n][1] for n in rest])}
        for batch in chunks(bound, TRANSACT_LIMIT - 1):
            assert head is not None
            failed |= self._written_while(head, {n: actions[n][1] for n in batch})
        return failed

    def _written_while(self, head: Item, actions: dict[int, Item]) -> set[int]:
        """Write while a head stands: all at once, or where that fails one by one. Returns which were not written."""
        standing = self._table.check_action(item_key(head), "#v = :v", {":v": head["v"]})
        try:
            self._table.write([standing, *actions.values()])
        except ConditionFailed:
            if len(actions) == 1:
                return set(actions)
            return {n for number, action in actions.items() for n in self._written_while(head, {number: action})}
        return set()

    def _faults(self, resources: dict[str, list[Item]]) -> dict[str, list[_Fault]]:
        """The faults of each resource; the items are those of its partition."""
        found: dict[str, list[_Fault]] = {pk: [] for pk in resources}
        needed: dict[str, _Needed] = {}
        for pk, items in resources.items():
            head = next((item for item in items if item["sk"]["S"] == keys.HEAD), None)
            if head and heads.GRAVESTONE in head:
                # Whoever purged it, or the sweeper, takes away what there is.
                continue
            if head and (transaction := transaction_marks.marked(head)):
                # A large transaction holds it: others finish that, unless it is forgotten.
                found[pk] = [self._forgotten(head, transaction)] if self._is_over(transaction) else []
                continue
            try:
                at = self._accounts_at
                needed[pk] = self._needed(heads.from_item(head, at) if head else None)
            except Exception as error:
                found[pk] = [_damage(pk, error)]
        elsewhere = [key for its in needed.values() for key in its.entries if keys.is_identifier(key)]
        there = self._table.get_many([*elsewhere, *(key for its in needed.values() for key in its.listed)])
        for pk, its in needed.items():
            own = {item_key(item): item for item in resources[pk]}
            unlisted = [(MISSING, self._table.put_action(key_of(key))) for key in its.listed if key not in there]
            found[pk] = [
                *self._faults_of_one(pk, own, its.entries, elsewhere=there),
                *unlisted,
                *self._faults_of_versions(pk, own, its.said),
            ]
            found[pk] += self._forgotten_targets(pk, own)
        return found

    def _needed(self, head: Head | None) -> _Needed:
        if head is None or head.deleted:
            return _Needed({}, set(), {})
        facts = self._facts_of(head)
        entries = keys.index_entries(head.key, facts)
        listed = definitions.listed_by_name(head.key, facts) if head.unfenced else set()
        listed |= {(keys.DATE_MONTHS, sort) for sort in date_months.of_facts(head.type, facts)} - self._listed
        entries |= dict(keys.account_entry(head.key, account) for account in staging.listed_accounts(head))
        return _Needed(entries, listed, head_counts.attributes(head.key, facts))

    def _faults_of_one(
        self, pk: str, own: dict[Key, Item], expected: dict[Key, Entry], *, elsewhere: dict[Key, Item]
    ) -> list[_Fault]:
        version = int(own[pk, keys.HEAD]["v"]["N"]) if (pk, keys.HEAD) in own else 0
        faults: list[_Fault | None] = []
        for key, item in own.items():
            if key[1].startswith((keys.ENTRY, keys.ACCOUNT)) and key not in expected:
                faults.append(self._unexpected(key, item, version))
            elif key[1].startswith(keys.STAGED) and self._is_over(key[1].removeprefix(keys.STAGED)):
                faults.append((STALE, self._table.delete_action(key)))
        for key, entry in expected.items():
            faults.append(self._compared(key, own.get(key) or elsewhere.get(key), entry, version=version))
        return [fault for fault in faults if fault]

    def _forgotten_targets(self, pk: str, own: dict[Key, Item]) -> list[_Fault]:
        """Of a deletion that was made before pointers back were kept (`staging.former_item`): those that its last content needs."""
        head = own.get((pk, keys.HEAD))
        if head is None or "body" in head:
            return []
        last = own.get((pk, keys.version_sort(int(head["v"]["N"]) - 1)))
        if last is None or "body" not in last:
            return []
        try:
            facts = self._facts_of(heads.from_item(last))
        except Exception as error:
            return [_damage(pk, error)]
        needed = [staging.former_item(pk, target) for target in staging.remembered(facts)]
        return [(MISSING, self._table.put_action(item)) for item in needed if item_key(item) not in own]

    def _unexpected(self, key: Key, item: Item, version: int) -> _Fault | None:
        """The fault of an entry that the head, at `version`, does not need."""
        staged_for = {":v": item["v"]}
        if int(item["v"]["N"]) <= version:
            return STALE, self._table.delete_action(key, staging.NOT_LATER, {":v": {"N": str(version)}})
        if self._patience is None:
            return ORPHANS, self._table.delete_action(key, "#v = :v", staged_for)
        if "noted" not in item:
            values = staged_for | {":now": {"N": str(self._now)}}
            condition = "#v = :v AND attribute_not_exists(#noted)"
            return NOTED, self._table.update_action(key, "SET #noted = :now", values, condition=condition)
        if float(item["noted"]["N"]) <= self._now - self._patience:
            values = staged_for | {":noted": item["noted"]}
            return ORPHANS, self._table.delete_action(key, "#v = :v AND #noted = :noted", values)
        return None

    def _compared(self, key: Key, item: Item | None, entry: Entry, *, version: int) -> _Fault | None:
        """The fault of an entry that the head needs."""
        attributes, via = entry
        there = frozenset(item["via"]["SS"]) if item and "via" in item else frozenset()
        if item is None or via - there or any(item.get(name) != {"S": text} for name, text in attributes.items()):
            return MISSING, staging.entry_action(self._table, key, entry, version=version)
        if there - via and int(item["v"]["N"]) <= version:
            values = {":v": {"N": str(version)}, ":gone": {"SS": sorted(there - via)}}
            return WIDE, self._table.update_action(key, "DELETE #via :gone", values, condition=staging.NOT_LATER)
        return None

    def _unnamed_claims(self, pk: str, items: Sequence[Item]) -> list[_Fault]:
        """Of a claim that was made before its owner named it (`staging.claim_pointers`)."""
        if not pk.startswith(keys.claim_key("")):
            return []
        condition = pk.removeprefix(keys.claim_key(""))
        owners = [item["owner"]["S"] for item in items if "owner" in item and not transaction_marks.marked(item)]
        pointers = {owner: staging.claim_pointer(owner, condition) for owner in owners}
        there = self._table.get_many([*((owner, keys.HEAD) for owner in owners), *map(item_key, pointers.values())])
        return [
            (MISSING, self._table.put_action(pointer))
            for owner, pointer in pointers.items()
            if "v" in there.get((owner, keys.HEAD), {}) and item_key(pointer) not in there
        ]

    def _outdated(self, item: Item) -> _Fault | None:
        """The fault of a reservation whose owner died long ago."""
        if not keys.is_reservation(item_key(item)):
            return None
        found = reservations.slots(item)
        if any(slot.transaction or slot.until > self._now - (self._patience or 0) for slot in found):
            return None
        condition, values = reservations.held_as(item)
        return STALE, self._table.delete_action(item_key(item), condition, values)

    def _forgotten(self, head: Item, transaction: str) -> _Fault:
        """The fault of a mark that was set after its transaction was over."""
        values = {":txn": {"S": transaction}}
        state, _ = transactions.state_now(self._table, transaction)
        if "made" in head and state != transactions.COMMITTED:
            return STALE, self._table.delete_action(item_key(head), transaction_marks.MARKED, values)
        return STALE, self._table.update_action(
            item_key(head), "REMOVE #txn, #made", values, condition=transaction_marks.MARKED
        )

    def _is_over(self, transaction: str) -> bool:
        item = self._table.get((keys.transaction_key(transaction), keys.HEAD))
        return item is None or keys.TTL in item

    def _faults_of_versions(self, pk: str, own: dict[Key, Item], said: Item) -> list[_Fault]:
        """The faults of versions that are missing, or lack by-time keys, and of a head that does not say for counts what it must."""
        versions = {key: item for key, item in own.items() if key[1].startswith((keys.HEAD, keys.VERSION))}
        faults: list[_Fault] = []
        for key, item in versions.items():
            needed: Item = {name: {"S": text} for name, text in _time_keys(item).items()}
            wrong = head_counts.restoring(item, needed | said if key[1] == keys.HEAD else needed)
            if wrong:
                expression, values = wrong[0], wrong[1] | {":v": item["v"]}
                # One action for all: a transaction takes no two for one item. The version that comes next has its own.
                condition = "#v = :v AND attribute_not_exists(#txn)"
                faults.append((MISSING, self._table.update_action(key, expression, values, condition=condition)))
        for key in self._lists(pk, versions.values()) - self._listed:
            faults.append((MISSING, self._table.put_action(key_of(key))))
        if (pk, keys.HEAD) in own:
            current = int(own[pk, keys.HEAD]["v"]["N"])
            gone = [n for n in range(1, current) if (pk, keys.version_sort(n)) not in own]
            faults += [(DAMAGED, None)] if gone else []
        return faults

    def _lists(self, pk: str, versions: Iterable[Item]) -> set[Key]:
        """The lists that must name a resource with these versions: months in use, definitions."""
        resource_type = pk.partition("/")[0]
        unwritten = builtin.head(pk)
        found = {
            (keys.MONTHS, keys.month_sort(resource_type, item["updated"]["S"][:7]))
            for item in versions
            if unwritten is None or unwritten.updated != item["updated"]["S"]
        }
        return found | ({(keys.DEFINITIONS, pk)} if resource_type == definitions.TYPE else set())

    def _faults_of_identifiers(self, items: Sequence[Item]) -> dict[str, list[_Fault]]:
        """The faults in the items of identifiers, by resource: those that the resource does not need."""
        named = {keys.identified(item_key(item)) for item in items}
        there = {key[0]: item for key, item in self._table.get_many((key, keys.HEAD) for key in named).items()}
        expected: dict[str, dict[Key, Entry]] = {}
        found: dict[str, list[_Fault]] = {}
        for item in items:
            pk = keys.identified(item_key(item))
            is_there = pk in there and heads.GRAVESTONE not in there[pk]
            head = heads.from_item(there[pk], self._accounts_at) if is_there else None
            if pk in there and transaction_marks.marked(there[pk]):
                continue
            if pk not in expected:
                try:
                    expected[pk] = self._needed(head).entries
                except Exception as error:
                    # Reported when the check examines the resource itself.
                    _raise_what_is_no_damage(error)
                    expected[pk] = {item_key(item): ({}, frozenset())}
            if item_key(item) not in expected[pk]:
                fault = self._unexpected(item_key(item), item, head.version if head else 0)
                found.setdefault(pk, []).extend([fault] if fault else [])
        return found


def _held(resources: dict[str, list[Item]]) -> int:
    """How many of these resources have the mark of a large transaction."""
    heads = (item for items in resources.values() for item in items if item["sk"]["S"] == keys.HEAD)
    return sum(1 for head in heads if transaction_marks.marked(head))


def _damage(pk: str, error: Exception) -> _Fault:
    """The fault of a resource whose body was not read."""
    _raise_what_is_no_damage(error)
    logger.error("body cannot be read", extra={"resource": pk, "error": type(error).__name__})
    return DAMAGED, None


def _raise_what_is_no_damage(error: Exception) -> None:
    """A service that does not answer, or refuses, says nothing of the body: the check stops there, and goes on another time."""
    if isinstance(error, ClientError) and files.is_absence(error):
        return
    if isinstance(error, (BotoCoreError, ClientError, Unavailable)):
        raise error


def _time_keys(item: Item) -> dict[str, str]:
    """The by-time attributes that a head or version needs."""
    pk, sort = item_key(item)
    if sort == keys.HEAD:
        # With all its accounts, whatever the clock says: that one ends changes no key.
        return heads.time_keys(heads.from_item(item, dates.FIRST), superseded=False)
    end = "" if "body" in item else keys.DELETED
    return keys.time_keys(pk, int(item["v"]["N"]), item["updated"]["S"], end=end)


def _is_resource(pk: str) -> bool:
    return "/" in pk and "|" not in pk and "#" not in pk


def _aim(action: Item) -> Key:
    """The key of the item that an action writes."""
    ((_, arguments),) = action.items()
    return item_key(arguments.get("Key") or arguments["Item"])
