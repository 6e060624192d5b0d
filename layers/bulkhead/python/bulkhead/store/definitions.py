"""The list of definitions that callers without a fence ever wrote: one strongly consistent Query finds those in force.

One item per CompartmentDefinition, and per name by which a SearchParameter, ValueSet or CodeSystem is looked up. It is written
before the definition's first commit and never removed: a hint, like all entries. Definitions of fenced callers are not listed,
however many there are: no other tenant's search reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bulkhead.store import keys
from bulkhead.store.heads import Write
from bulkhead.store.keys import Key
from bulkhead.store.table import Table, key_of

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts

TYPE = "CompartmentDefinition"

NAMED_BY: Mapping[str, str] = {"SearchParameter": "code", "ValueSet": "url", "CodeSystem": "url"}
"""The search parameter whose values name the definitions of a type."""
ALL = ""
"""The name under which all CodeSystems are listed."""

_noted: WeakKeyDictionary[Table, set[Key]] = WeakKeyDictionary()


def listed_as(writes: Iterable[Write]) -> set[Key]:
    """The keys under which the definitions among `writes` must be listed."""
    found: set[Key] = set()
    for write in writes:
        resource_type = write.key.partition("/")[0]
        if resource_type == TYPE:
            found.add((keys.DEFINITIONS, write.key))
        elif resource_type in NAMED_BY and write.unfenced and write.new is not None:
            found |= listed_by_name(write.key, write.new)
    return found


def listed_by_name(key: str, facts: Facts) -> set[Key]:
    """The keys under which a definition that an unfenced caller wrote must be listed; empty for other resources."""
    resource_type = key.partition("/")[0]
    if resource_type not in NAMED_BY:
        return set()
    values = {value.value for value in facts.values if value.parameter == NAMED_BY[resource_type]}
    names = values | ({ALL} if resource_type == "CodeSystem" else set())
    return {(keys.governing_key(resource_type, name), key) for name in names}


def note(table: Table, listed: set[Key]) -> None:
    """Makes sure that definitions are listed under these keys."""
    noted = _noted.setdefault(table, set())
    unknown = listed - noted
    if unknown:
        table.put_many([dict(key_of(key)) for key in sorted(unknown)])
        noted.update(unknown)


def written(table: Table) -> list[str]:
    """Keys of the CompartmentDefinitions that were ever written, or were about to be, sorted."""
    return [item["sk"]["S"] for item in table.query(keys.DEFINITIONS)]


def governing(table: Table, resource_type: str, name: str) -> Sequence[str]:
    """Keys of a type's definitions that callers without a fence wrote under a name, sorted. Each head says what it is now."""
    return [item["sk"]["S"] for item in table.query(keys.governing_key(resource_type, name))]
