"""What heads themselves say for counts: the first Patient that each points at, and its code, in partitions of by-target and by-value.

An entry of a target or a value is a hint, which a writer that lost a race or died may leave behind. So what these list is a superset of the
matches, and each would have to be read. What a head says of itself is true as long as the head stands: each commit writes it with the content,
and a change of accounts leaves it as it is. So whatever both the entries and the heads list is a match, and only the rest is read.

What an open transaction holds is not what it seems: a new head may never be committed, and one that is about to be replaced says what it did. So
the members of these are left out, and read. What stands beside a head, to take its place, has it aside (`counted`) until then.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from bulkhead.store import keys, transactions
from bulkhead.store.table import Item, Table

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts
    from bulkhead.store.heads import Write

_ASIDE = "counted"


def attributes(key: str, facts: Facts | None) -> Item:
    """The attributes that a head with these facts has for counts; none of a deletion (None)."""
    texts, via = keys.head_entry(key, facts)
    item: Item = {name: {"S": text} for name, text in texts.items()}
    return item | ({"via": {"SS": sorted(via)}} if via else {})


def of_write(write: Write) -> Item:
    """Those of the head that a write makes. The write changes content: one of accounts alone leaves them as they are."""
    return attributes(write.key, write.new)


def aside(write: Write) -> Item:
    """The attribute that keeps them on what a large transaction has beside a head, to take its place; none if they stay as they are."""
    return {_ASIDE: {"M": of_write(write)}} if write.changes_content else {}


def settled(new: Item, former: Item) -> Item:
    """The head that takes the place of `former` when a transaction is settled; `new` stood beside it."""
    said = new[_ASIDE]["M"] if _ASIDE in new else {name: former[name] for name in keys.COUNTED if name in former}
    return {name: value for name, value in new.items() if name != _ASIDE} | said | {"sk": {"S": keys.HEAD}}


def restoring(item: Item, said: Item) -> tuple[str, Item] | None:
    """The expression that lets a head without a mark, or a version, say what it must and no more for counts, and its values; None where it does."""
    names = dict.fromkeys((*said, *keys.COUNTED, _ASIDE))
    wrong = [name for name in names if _plain(item.get(name)) != _plain(said.get(name))]
    if not wrong:
        return None
    added, gone = [name for name in wrong if name in said], [name for name in wrong if name not in said]
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in added) if added else ""
    expression += " REMOVE " + ", ".join(f"#{name}" for name in gone) if gone else ""
    return expression.strip(), {f":{name}": said[name] for name in added}


def _plain(value: Item | None) -> object:
    """A value without the order of a set."""
    return frozenset(value["SS"]) if value and "SS" in value else value


def pointing_at(table: Table, patient: str, resource_type: str | None, *, most: int) -> dict[str, frozenset[str]]:
    """The resources that point at a Patient before all others, with the search parameters through which they do; `most` of them at most.

    By-target shows them: as of a moment ago. What an open transaction holds is left out.
    """
    prefix = keys.source_sort(f"{resource_type}/") if resource_type else None
    partition, index = keys.counted_target_partition(patient), (keys.BY_TARGET, keys.INDEXES[keys.BY_TARGET])
    known: dict[frozenset[str], frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for item in islice(table.query(partition, prefix, prefix, index=index), most):
        via = frozenset(item["via"]["SS"])
        found[item["pk"]["S"]] = known.setdefault(via, via)
    _leave_out(found, table)
    return found


def with_code(table: Table, resource_type: str, *, parameter: str, code: str, most: int) -> dict[str, str]:
    """The resources that have a code (case folded) as the one that counts know them by, each with its system as `keys.limited` has it.

    `most` of them at most. By-value shows them: as of a moment ago. What an open transaction holds is left out.
    """
    partition = keys.counted_value_partition(resource_type, parameter, code)
    listed = table.query(partition, index=(keys.BY_VALUE, keys.INDEXES[keys.BY_VALUE]))
    systems: dict[str, str] = {}
    found: dict[str, str] = {}
    for item in islice(listed, most):
        system = keys.system_of(item["vsk"]["S"])
        found[item["pk"]["S"]] = systems.setdefault(system, system)
    _leave_out(found, table)
    return found


def _leave_out(found: dict[str, Any], table: Table) -> None:
    """Takes away what open transactions hold. Asked after the heads were listed, which come after a transaction's item."""
    for name in transactions.held(table) if found else ():
        found.pop(name, None)
