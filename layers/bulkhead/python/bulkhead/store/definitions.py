"""Which definitions were ever written by callers whom nothing fences: so that those in force are found by one Query, strongly consistent.

One item for each CompartmentDefinition, and for each name by which a SearchParameter, ValueSet or CodeSystem is looked up, put there
before its first commit and never taken away: a hint, as all entries are. What fenced callers write is not listed, however much
it is: nobody else's search reads it.
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
"""The search parameter by whose values the definitions of a type are looked up."""
ALL = ""
"""As a name: all CodeSystems."""

_noted: WeakKeyDictionary[Table, set[Key]] = WeakKeyDictionary()


def listed_as(writes: Iterable[Write]) -> set[Key]:
    """Where the definitions among `writes` are to be listed."""
    found: set[Key] = set()
    for write in writes:
        resource_type = write.key.partition("/")[0]
        if resource_type == TYPE:
            found.add((keys.DEFINITIONS, write.key))
        elif resource_type in NAMED_BY and write.unfenced and write.new is not None:
            found |= listed_by_name(write.key, write.new)
    return found


def listed_by_name(key: str, facts: Facts) -> set[Key]:
    """Where a definition that an unfenced caller wrote is to be listed; nowhere for other resources."""
    resource_type = key.partition("/")[0]
    if resource_type not in NAMED_BY:
        return set()
    values = {value.value for value in facts.values if value.parameter == NAMED_BY[resource_type]}
    names = values | ({ALL} if resource_type == "CodeSystem" else set())
    return {(keys.governing_key(resource_type, name), key) for name in names}


def note(table: Table, listed: set[Key]) -> None:
    """See to it that definitions are listed under these keys."""
    noted = _noted.setdefault(table, set())
    unknown = listed - noted
    if unknown:
        table.put_many([dict(key_of(key)) for key in sorted(unknown)])
        noted.update(unknown)


def written(table: Table) -> list[str]:
    """Keys of the CompartmentDefinitions that were ever written, or were about to be, sorted."""
    return [item["sk"]["S"] for item in table.query(keys.DEFINITIONS)]


def governing(table: Table, resource_type: str, name: str) -> Sequence[str]:
    """Keys of the definitions of a type that callers whom nothing fences wrote under a name, sorted: see each head for what it is now."""
    return [item["sk"]["S"] for item in table.query(keys.governing_key(resource_type, name))]
