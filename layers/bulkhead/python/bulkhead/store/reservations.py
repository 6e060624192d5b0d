"""The item with an identifier's reservations: one slot per fence, so that callers who are fenced off from each other share none.

`holders` names the taken slots. Each is a map: `by` (the owner), `until` (when others may ignore it), `txn` if a large transaction
owns it, and the owner's fence: `accounts` or `charts`, if it has one. The slot of callers without a fence is only taken while no
other is, and excludes all others: these callers see the resources of all.

All changes are idempotent. The writer that removes the last holder deletes the item.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bulkhead.store import keys, transactions
from bulkhead.store.heads import Fenced, Write
from bulkhead.store.table import Item, Table

HOLDERS = "holders"
_SLOT = "slot_"
_OPEN = f"{_SLOT}open"


class Slot(NamedTuple):
    """A taken slot."""

    name: str
    by: str
    until: float
    transaction: str | None
    accounts: frozenset[str] | None
    charts: frozenset[str] | None

    @property
    def lapsed(self) -> bool:
        """Whether nobody need wait for its owner; for a transaction, its state decides."""
        return self.transaction is None and self.until <= time.time()

    def hides(self, write: Write) -> bool:
        """Whether its owner certainly cannot see the resource of a write, with the accounts that it inherits."""
        carried = write.head("").accounts
        if self.accounts is not None and carried and self.accounts.isdisjoint(carried):
            return True
        return self.charts is not None and self.charts.isdisjoint({write.key, *(write.new.named if write.new else ())})


def slot_name(fence: Fenced | None) -> str:
    """The attribute of the slot that callers with a fence share."""
    return f"{_SLOT}{fence.name}" if fence else _OPEN


def slots(item: Item | None) -> list[Slot]:
    """The taken slots of an item."""
    held = item[HOLDERS]["SS"] if item and HOLDERS in item else []
    return [_slot(name, item[name]["M"]) for name in sorted(held) if item and name in item]


def held_as(item: Item) -> tuple[str, Item]:
    """The condition that an item has the same holders as when it was read, with its values."""
    found = slots(item)
    if not found:
        return _NOT_HELD, {}
    values: Item = {f":{slot.name}": {"S": slot.by} for slot in found}
    conditions = [f"#{HOLDERS} = :held", *(f"#{slot.name}.#by = :{slot.name}" for slot in found)]
    return " AND ".join(conditions), values | {":held": item[HOLDERS]}


def _slot(name: str, given: Mapping[str, Item]) -> Slot:
    def listed(attribute: str) -> frozenset[str] | None:
        return frozenset(one["S"] for one in given[attribute]["L"]) if attribute in given else None

    transaction = given["txn"]["S"] if "txn" in given else None
    return Slot(name, given["by"]["S"], float(given["until"]["N"]), transaction, listed("accounts"), listed("charts"))


def _key(partition: str) -> keys.Key:
    return partition, keys.HEAD


def reserve_action(
    table: Table, partition: str, fence: Fenced | None, *, by: str, until: float, transaction: str | None
) -> Item:
    """The action that takes a free slot if the open slot is free too; the open slot only if no other is taken."""
    name = slot_name(fence)
    content: Item = {"by": {"S": by}, "until": {"N": str(until)}}
    if transaction:
        content["txn"] = {"S": transaction}
    if fence and fence.accounts is not None:
        content["accounts"] = {"L": [{"S": account} for account in sorted(fence.accounts)]}
    if fence and fence.charts is not None:
        content["charts"] = {"L": [{"S": chart} for chart in sorted(fence.charts)]}
    free = f"attribute_not_exists(#{name}) AND attribute_not_exists(#{_OPEN})" if fence else _NOT_HELD
    # `OR mine`: a retry after a lost answer finds its own reservation.
    return table.update_action(
        _key(partition),
        f"SET #{name} = :slot ADD #{HOLDERS} :name",
        {":slot": {"M": content}, ":name": {"SS": [name]}, ":by": {"S": by}},
        condition=f"({free}) OR #{name}.#by = :by",
    )


_NOT_HELD = f"attribute_not_exists(#{HOLDERS})"


def end_action(table: Table, partition: str, name: str, *, by: str) -> Item:
    """The action that ends an existing reservation, whoever else holds the item."""
    values = {":name": {"SS": [name]}, ":by": {"S": by}}
    return table.update_action(
        _key(partition), f"REMOVE #{name} DELETE #{HOLDERS} :name", values, condition=f"#{name}.#by = :by"
    )


def sole_end_action(table: Table, partition: str, name: str, *, by: str) -> Item:
    """The action that ends the only reservation of an item, and deletes the item."""
    values = {":name": {"SS": [name]}, ":by": {"S": by}}
    return table.delete_action(_key(partition), f"#{name}.#by = :by AND #{HOLDERS} = :name", values)


def end(table: Table, ended: Iterable[tuple[str, str, str]]) -> None:
    """Ends reservations, given as (partition, name of the slot, owner), if they exist."""
    given = list(ended)
    table.write_each([end_action(table, partition, name, by=by) for partition, name, by in given])
    tidy(table, dict.fromkeys(partition for partition, _, _ in given))


def tidy(table: Table, partitions: Iterable[str]) -> None:
    """Deletes the items without holders."""
    table.write_each([table.delete_action(_key(partition), _NOT_HELD) for partition in partitions])


def in_the_way(table: Table, partition: str, fence: Fenced | None) -> list[Slot]:
    """The reservations that a caller with this fence must wait for. Ends those of dead owners."""
    name = slot_name(fence)
    found = slots(table.get(_key(partition)))
    blocking = [slot for slot in found if fence is None or slot.name in (name, _OPEN)]
    dead = [slot for slot in blocking if _is_dead(table, slot)]
    if dead:
        end(table, [(partition, slot.name, slot.by) for slot in dead])
    return [slot for slot in blocking if slot not in dead]


def _is_dead(table: Table, slot: Slot) -> bool:
    if slot.transaction is None:
        return slot.lapsed
    state, expired = transactions.state_now(table, slot.transaction)
    if state == transactions.PENDING and expired:
        transactions.decide(table, slot.transaction, transactions.ABORTED)
        state, _ = transactions.state_now(table, slot.transaction)
    return state != transactions.PENDING


def take_away(table: Table, writes: Mapping[str, Sequence[Write]], items: Sequence[Item], *, own: str | None) -> None:
    """Ends the reservations of those who may see what is written, except in the slot `own`, so that they look again.

    `writes` by partition, with the accounts that they inherit; `items` as they were read after staging.
    """
    ended: list[tuple[str, str, str]] = []
    for item in items:
        partition = item["pk"]["S"]
        for slot in slots(item):
            if slot.name == own or all(slot.hides(write) for write in writes.get(partition, ())):
                continue
            if slot.transaction:
                transactions.contest(table, slot.transaction)
            else:
                ended.append((partition, slot.name, slot.by))
    if ended:
        end(table, ended)


def end_of_transaction(table: Table, transaction: str, items: Iterable[Item]) -> None:
    """Ends the reservations of a decided large transaction among these items."""
    ended = [
        (item["pk"]["S"], slot.name, slot.by)
        for item in items
        for slot in slots(item)
        if slot.transaction == transaction
    ]
    if ended:
        end(table, ended)
