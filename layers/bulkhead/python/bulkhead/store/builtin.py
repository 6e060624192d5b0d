"""Resources that exist without having been written: R4's CompartmentDefinitions, at version 1 until somebody writes the next.

They are no items of the table, so no index has them. A write of one stages the built-in as version 1, like any superseded version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from bulkhead.fhir import dates, definitions
from bulkhead.store.content import encode
from bulkhead.store.heads import Head

_PREFIX = "CompartmentDefinition/"


@cache
def heads() -> Mapping[str, Head]:
    """The heads of the built-in resources, by key."""
    found = {}
    for resource in definitions.compartment_definitions().values():
        key = _PREFIX + resource["id"]
        updated = dates.bounds(resource["meta"]["lastUpdated"])[0]
        found[key] = Head(key, 1, updated, "PUT", encode(dict(resource)), unfenced=True)
    return found


def head(key: str) -> Head | None:
    """The built-in head under a key that the table does not have."""
    return heads().get(key) if key.startswith(_PREFIX) else None


def missing(wanted: Iterable[str], found: Mapping[str, Head]) -> dict[str, Head]:
    """The built-in heads among `wanted` that the table did not have."""
    return {key: made for key in wanted if key not in found and (made := head(key))}


def is_unwritten(base: Head | None) -> bool:
    """Whether a head is a built-in one, not the table's."""
    return base is not None and head(base.key) is base
