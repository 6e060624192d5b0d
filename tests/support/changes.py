"""Writes for the tests of the store, made of small resources with known facts."""

from __future__ import annotations

from typing import Any

from bulkhead.facts.index_facts import Facts, Value
from bulkhead.store import Head, Store, Write


def body(store: Store, key: str, note: str = "") -> bytes:
    resource_type, _, identifier = key.partition("/")
    return store.encode({"resourceType": resource_type, "id": identifier, "note": note})


def facts(*targets: str, codes: tuple[str, ...] = (), identifiers: tuple[str, ...] = ()) -> Facts:
    values = [Value("code", code, "s") for code in codes] + [Value("identifier", one, "urn:s") for one in identifiers]
    return Facts({target: frozenset({"subject"}) for target in targets}, frozenset(values))


def creation(store: Store, key: str, new: Facts | None = None, **more: Any) -> Write:
    return Write(key, None, body(store, key), None, new or facts("Patient/1", codes=("a",)), **({"fresh": True} | more))


def change(store: Store, base: Head, old: Facts, new: Facts, note: str = "changed", **more: Any) -> Write:
    attributes: dict[str, Any] = {
        "explicit": base.explicit,
        "inherited": dict(base.inherited),
        "propagate": base.propagate,
    } | more
    return Write(base.key, base, body(store, base.key, note), old, new, **attributes)


def deletion(base: Head, old: Facts) -> Write:
    return Write(base.key, base, None, old, None, method="DELETE")


def note(store: Store, head: Head | None) -> Any:
    return None if head is None or head.deleted else store.decode(head)["note"]
