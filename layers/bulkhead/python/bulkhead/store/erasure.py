"""Erasing resources for good: first nobody finds or reads them, then all that the table and the bucket have of them goes.

bury     A copy of each head is put aside as a version, as before any commit. Then the heads give way to gravestones, in one commit
         with the AuditEvents that tell of it: readers see nothing any more, and no writer's condition holds.
erase    What others know the resource by (identifiers, claims) goes first, then the large bodies in S3, then the versions that told
         of both, and last the index entries in the resource's own partition. So whoever dies anywhere leaves what a second run needs.
rest     The gravestone stays until every writer that began before it must have ended. Such a writer fails, and takes away what it
         staged. Then the partition is erased once more, for the writer that died, and the id is free.

A gravestone names an id and says nothing else. That of a purge's target is open until the purge is done: it stays that long.

Nobody can tell what a resource left from what another has once it is made anew under the same id. So whoever erases does it under a
gravestone that stands meanwhile: where that has no time left, the eraser holds it first, and nobody else erases or frees the id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from bulkhead.errors import Conflict, VersionConflict
from bulkhead.fhir import dates
from bulkhead.parallel import chunks
from bulkhead.store import bodies, commits, heads, keys, reservations, staging, transaction_marks
from bulkhead.store.bodies import Bodies
from bulkhead.store.heads import GRAVESTONE, Head, Write
from bulkhead.store.keys import Key
from bulkhead.store.table import Item, Table, item_key, key_of

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts
    from bulkhead.settings import Settings

# Versions of one resource that are looked at together: each may have 400 KB.
_VERSIONS = 25
# Up to so many items, with so many bytes of bodies, a resource is erased together with others.
_ITEMS, _WEIGHT = 200, 1_000_000
_OPEN = "open"
_PATIENTS = "patients"
_HELD = "held"
# An eraser that has as much time left needs no hold.
_ENOUGH = timedelta(seconds=10)
# How long a hold lasts whose eraser died.
_HOLD = timedelta(seconds=60)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gravestone:
    """What stands where a resource was. `open`: it is the target of a purge that is not done; `patients` are those whom it named.

    `held`: somebody erases under it who then frees the id, or died.
    """

    key: str
    until: str
    open: bool = False
    patients: tuple[str, ...] = ()
    held: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the id is to be free again."""
        return not self.open and self.until <= dates.now()

    @property
    def stands(self) -> bool:
        """Whether it stands long enough for whoever erases under it."""
        return not self.held and self.until > _after(_ENOUGH)


def _after(time: timedelta) -> str:
    return dates.text(datetime.fromisoformat(dates.now()) + time)


def read(table: Table, wanted: Iterable[str]) -> dict[str, Gravestone]:
    """The gravestones among `wanted`; strongly consistent."""
    items = table.get_many((key, keys.HEAD) for key in wanted)
    return {key: _from_item(item) for (key, _), item in items.items() if GRAVESTONE in item}


def _from_item(item: Item) -> Gravestone:
    patients = tuple(one["S"] for one in item[_PATIENTS]["L"]) if _PATIENTS in item else ()
    return Gravestone(item["pk"]["S"], item[GRAVESTONE]["S"], _OPEN in item, patients, _HELD in item)


@dataclass(frozen=True, slots=True)
class _Burial:
    """The gravestones of a commit (`heads.Receipt`)."""

    heads: Sequence[Head]
    until: str
    open: bool
    patients: Sequence[str]

    @property
    def size(self) -> int:
        return len(self.heads)

    def begun(self, table: Table, transaction: str) -> None:
        """There is nothing to note: a burial is small."""

    def actions(self, table: Table, new: Sequence[Head]) -> list[Item]:
        more: Item = {_OPEN: {"BOOL": True}} if self.open else {}
        more |= {_PATIENTS: {"L": [{"S": key} for key in self.patients]}} if self.patients else {}
        return [
            table.put_action(
                {**key_of((head.key, keys.HEAD)), GRAVESTONE: {"S": self.until}}
                | {name: {"S": text} for name, text in keys.gravestone_keys(head.key, self.until).items()}
                | more,
                staging.CURRENT,
                {":base": {"N": str(head.version)}},
            )
            for head in self.heads
        ]

    def refusal(self) -> Conflict:
        return VersionConflict(self.heads[0].key)


class Eraser:
    """Erases from one table and its bucket. `facts_of` says what the index holds of a version that is no deletion."""

    def __init__(self, table: Table, in_s3: Bodies, facts_of: Callable[[Head], Facts]) -> None:
        self._table, self._bodies, self._facts_of = table, in_s3, facts_of

    def bury(
        self,
        settings: Settings,
        buried: Sequence[Head],
        events: Sequence[Write],
        *,
        is_open: bool,
        patients: Sequence[str],
    ) -> None:
        """Put gravestones in place of up to 50 heads, in one commit with `events`. VersionConflict where a head has moved on."""
        moment = datetime.now(UTC) + timedelta(seconds=settings.purge_rest)
        self._table.put_many([heads.to_item(head, keys.version_sort(head.version)) for head in buried])
        burial = _Burial(buried, dates.text(moment), is_open, patients)
        try:
            commits.commit(self._table, self._bodies, settings, writes=events, receipt=burial)
        except VersionConflict:
            for head in buried:
                # What a large transaction has decided, or left behind, would be in the way of the next attempt as well.
                transaction_marks.clear(self._table, head.key)
            raise

    def erase(self, buried: Iterable[Gravestone], late: Sequence[Write] = ()) -> set[str]:
        """Erase all that there is of some buried resources but their gravestones; of which there was anything. Idempotent.

        The ids of those whose gravestones are over are free then. What others erase at this moment is left to them. `late` are writes of
        these resources that were too late: their commits have failed, or will, and what they staged is taken away.
        """
        stones = list(buried)
        held = self._hold([stone for stone in stones if not stone.stands])
        under = {stone.key for stone in stones if stone.stands} | held.keys()
        for write in late:
            if write.key in under:
                self._erase_elsewhere(at for at in staging.added(write) if at[0] != write.key)
        over = {key for key, (stone, _) in held.items() if stone.is_over}
        erased = self._erase(sorted(under), over)
        self._let_go(held)
        return erased

    def _hold(self, stones: Sequence[Gravestone]) -> dict[str, tuple[Gravestone, str]]:
        """Keep others from erasing under some gravestones, and from freeing the ids. Those that nobody else holds, with the end of the hold."""
        free = [stone for stone in stones if not stone.held or stone.until <= dates.now()]
        until = _after(_HOLD)
        actions = [self._moved(stone, former=stone.until, until=until, held=True) for stone in free]
        lost = self._table.write_each(actions)
        return {stone.key: (stone, until) for n, stone in enumerate(free) if n not in lost}

    def _let_go(self, held: Mapping[str, tuple[Gravestone, str]]) -> None:
        """Free the ids of those whose gravestones were over; the others stand as before."""
        actions = []
        for stone, until in held.values():
            if stone.is_over:
                condition = f"#{GRAVESTONE} = :until AND attribute_not_exists(#{_OPEN})"
                action = self._table.delete_action((stone.key, keys.HEAD), condition, {":until": {"S": until}})
            else:
                action = self._moved(stone, former=until, until=stone.until, held=False)
            actions.append(action)
        self._table.write_each(actions)

    def _moved(self, stone: Gravestone, *, former: str, until: str, held: bool) -> Item:
        """The action that moves the end of a gravestone, if that is the `former` one, and says whether it is held."""
        changed = {GRAVESTONE: until, **keys.gravestone_keys(stone.key, until)}
        values: Item = {f":{name}": {"S": text} for name, text in changed.items()} | {":former": {"S": former}}
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in changed)
        if held:
            expression, values = f"{expression}, #{_HELD} = :held", values | {":held": {"BOOL": True}}
        else:
            expression += f" REMOVE #{_HELD}"
        return self._table.update_action(
            (stone.key, keys.HEAD), expression, values, condition=f"#{GRAVESTONE} = :former"
        )

    def _erase(self, buried: Sequence[str], over: Collection[str]) -> set[str]:
        """Each step is taken for all of them at once: a Query for each, and few requests more. One with a long history goes by itself.

        A pointer to a body that no version has stays, but of those that are `over`: its writer may be about to put the object.
        """
        partitions = dict(zip(buried, self._table.parallel(self._partition, buried), strict=True))
        short = {key: items for key, items in partitions.items() if items}
        self._erase_versions({key: [item for item in items if _leads_on(item)] for key, items in short.items()}, over)
        self._erase_rest(short)
        found = {key for key, items in short.items() if not all(map(bodies.is_pointer, items))}
        long = (key for key, items in partitions.items() if items is None)
        return found | {key for key in long if self._erase_long(key, over)}

    def _partition(self, key: str) -> list[Item] | None:
        """What there is of a resource besides its head or gravestone; None where that is too much to look at together with others."""
        found, weight = [], 0
        for item in self._table.query(key, limit=_ITEMS):
            if item_key(item)[1] != keys.HEAD:
                found.append(item)
                weight += len(item.get("body", {}).get("B", b""))
            if len(found) == _ITEMS or weight > _WEIGHT:
                return None
        return found

    def _erase_long(self, key: str, over: Collection[str]) -> bool:
        found = False
        for prefix in (keys.VERSION, keys.STAGED):
            while versions := self._first(key, prefix):
                found = True
                self._erase_versions({key: versions}, over)
        for pointers in chunks(list(self._table.query(key, keys.BODY, keys.BODY)), _VERSIONS):
            self._erase_versions({key: pointers}, over)
        rest = [item for item in self._table.query(key) if item_key(item)[1] != keys.HEAD and not _leads_on(item)]
        self._erase_rest({key: rest})
        return found or bool(rest)

    def _first(self, key: str, prefix: str) -> list[Item]:
        return list(islice(self._table.query(key, prefix, prefix, limit=_VERSIONS), _VERSIONS))

    def _erase_versions(self, versions: Mapping[str, Sequence[Item]], over: Collection[str]) -> None:
        """Erase versions of some resources and pointers to bodies, and before them what these tell of: identifiers, and bodies in S3."""
        all_of_them = [item for found in versions.values() for item in found]
        elsewhere: dict[Key, None] = {}
        for key, found in versions.items():
            for item in found:
                if not bodies.is_pointer(item):
                    elsewhere.update(dict.fromkeys(self._elsewhere(key, heads.from_item(item))))
        self._erase_elsewhere(elsewhere)
        names = dict.fromkeys(name for item in all_of_them if (name := bodies.name_of(item)))
        self._table.parallel(self._bodies.erase, list(names))
        gone = [item for item in all_of_them if not bodies.is_pointer(item) or item["pk"]["S"] in over]
        led = [(item["pk"]["S"], keys.body_sort(name)) for item in gone if (name := bodies.name_of(item))]
        self._table.put_many([], list(dict.fromkeys([*map(item_key, gone), *led])))

    def _erase_rest(self, rest: Mapping[str, Sequence[Item]]) -> None:
        """Erase what there is of some resources besides versions: the claims that they own, and last the entries that lead to them."""
        owned = [
            self._table.delete_action((item["claim"]["S"], keys.HEAD), "#owner = :owner", {":owner": {"S": key}})
            for key, items in rest.items()
            for item in items
            if item_key(item)[1].startswith(keys.CLAIM)
        ]
        self._table.write_each(owned)
        left = (item for items in rest.values() for item in items)
        self._table.put_many([], [item_key(item) for item in left if not _leads_on(item)])

    def _elsewhere(self, key: str, version: Head) -> list[Key]:
        """The items outside its own partition that a version has."""
        if version.deleted:
            return []
        try:
            facts = self._facts_of(version)
        except Exception as error:
            # Its body is gone: an earlier run was here. Of one that is damaged, the integrity check finds what it leaves.
            logger.warning("body cannot be read", extra={"resource": key, "error": type(error).__name__})
            return []
        return [at for at in keys.index_entries(key, facts) if at[0] != key]

    def _erase_elsewhere(self, entries: Iterable[Key]) -> None:
        """Remove entries, and the reservations that dead writers left on the identifiers among them: they spell these, too."""
        removed = list(entries)
        self._table.put_many([], removed)
        reserved = dict.fromkeys(pk for pk, sort in removed if keys.is_identifier((pk, sort)))
        for partition in reserved:
            reservations.in_the_way(self._table, partition, None)
        reservations.tidy(self._table, reserved)

    def close(self, key: str) -> None:
        """The purge of this target is done: its gravestone ends like any other."""
        action = self._table.update_action(
            (key, keys.HEAD), f"REMOVE #{_OPEN}, #{_PATIENTS}", None, condition=f"attribute_exists(#{GRAVESTONE})"
        )
        self._table.write_each([action])

    def sweep(self) -> int:
        """Lay to rest all gravestones that are over. Returns how many there were."""
        index = keys.BY_TIME, keys.INDEXES[keys.BY_TIME]
        listed = [item["pk"]["S"] for item in self._table.query(keys.GRAVESTONES, None, dates.now(), index=index)]
        number = 0
        for batch in chunks(listed, _VERSIONS):
            over = [stone for stone in read(self._table, batch).values() if stone.is_over]
            self.erase(over)
            number += len(over)
        return number


def _leads_on(item: Item) -> bool:
    """Whether an item tells of others, or of an object in S3: a version or a pointer."""
    return item_key(item)[1].startswith((keys.VERSION, keys.STAGED, keys.BODY))
