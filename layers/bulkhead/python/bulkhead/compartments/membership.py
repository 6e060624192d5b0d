"""Compartments: the definition in force, the compartments of a resource, and the members of a compartment.

R4 compartmentdefinition.html. The search parameters through which a resource points at the target decide membership;
the by-target index keeps exactly these, so a definition can change without reindexing.

`Patient/1/*` follows the definition to the letter: an Encounter, whose definition has `{def}`, is among its
own members; a Patient, whose definition has only `link`, is not, although `meta.compartment` shows it in its own
compartment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bulkhead.compartments.compartment_definitions import ITSELF, Definition, Definitions, built_in, deciding
from bulkhead.compartments.governing import governs
from bulkhead.errors import BadRequest
from bulkhead.facts.audit_names import is_trail

if TYPE_CHECKING:
    from bulkhead.store import Pointer, ReadStore

__all__ = [
    "ITSELF",
    "Definition",
    "Definitions",
    "Members",
    "built_in",
    "checked",
    "definition",
    "in_force",
    "is_member",
    "members",
    "memberships",
]


@dataclass(frozen=True, slots=True)
class _Kept:
    definitions: Definitions
    mark: object
    """The store's `definitions_mark` when these were read."""
    until: float


_kept: WeakKeyDictionary[ReadStore, _Kept] = WeakKeyDictionary()
_reading: WeakKeyDictionary[ReadStore, threading.Lock] = WeakKeyDictionary()


def in_force(store: ReadStore, *, fresh: bool = False) -> Definitions:
    """The definitions in force now: those that clients have stored, and R4's own for the other types.

    They are kept for DEFINITIONS_TTL seconds, or until this process writes a definition; `fresh` reads anew.
    One strongly consistent Query, and a BatchGet if definitions were ever written.
    """
    kept = _kept.get(store)
    if kept is None or fresh or not _is_current(kept, store):
        # One request per store reads; the others wait for its result.
        with _reading.setdefault(store, threading.Lock()):
            if fresh or (kept := _kept.get(store)) is None or not _is_current(kept, store):
                _kept[store] = kept = _read(store)
    return kept.definitions


def _is_current(kept: _Kept, store: ReadStore) -> bool:
    return kept.mark is store.definitions_mark and time.monotonic() < kept.until


def _read(store: ReadStore) -> _Kept:
    from bulkhead.store import one_request

    # Marked and timed before reading, so that the next caller sees what is written meanwhile.
    mark, until = store.definitions_mark, time.monotonic() + store.settings.definitions_ttl
    keys = store.written_definitions()
    # Without this request's view of large transactions: other requests will use the result.
    with one_request():
        heads = store.read_many(keys) if keys else {}
    stored = [{**store.decode(head), "id": head.id} for head in heads.values() if governs(head)]
    return _Kept(deciding(stored), mark, until)


def definition(store: ReadStore, code: str) -> Definition | None:
    """The definition for targets of type `code`; None if such resources have no compartment."""
    return in_force(store).get(code)


def memberships(targets: Mapping[str, frozenset[str]], key: str, known: Definitions) -> list[str]:
    """The compartments of the resource `key`, sorted, given its targets (`Facts.targets`).

    `known` are the definitions in force. A resource is in its own compartment if its definition lists its own type:
    among R4's, those of Patient, Encounter, Practitioner and RelatedPerson do.
    """
    resource_type = key.partition("/")[0]
    own = known.get(resource_type)
    found = {key} if own and own.parameters.get(resource_type) else set()
    for target, via in targets.items():
        its = known.get(target.partition("/")[0])
        if its and not via.isdisjoint(its.parameters.get(resource_type, frozenset())):
            found.add(target)
    return sorted(found)


def is_member(its: Definition, target: str, key: str, *, targets: Mapping[str, frozenset[str]]) -> bool:
    """Whether `key`, with these `targets`, is in the compartment of `target`: the check of a key that `members` lists."""
    if key == target and its.lists_itself:
        return True
    return not its.parameters.get(key.partition("/")[0], frozenset()).isdisjoint(targets.get(target, frozenset()))


@dataclass(frozen=True, slots=True)
class Members:
    """A page of members. They are hints: read the head of each, and check it with `is_member`."""

    members: list[Pointer]
    next: str | None
    """The value of `after` for the next page; None at the end. A page may be empty without being the last."""


def members(
    store: ReadStore,
    target: str,
    resource_type: str | None = None,
    *,
    after: str | None = None,
    limit: int = 1000,
    known: Definitions | None = None,
    trail: bool = False,
) -> Members:
    """Members of the compartment of `target` ("Patient/1") by type and id, through one listing of by-target.

    Each once, with the search parameters through which it points at the target; the target itself with `{def}` if the
    definition lists it, whether it exists or not. The server's AuditEvents about the compartment, which are not shared
    or paged with it, only with `trail`. BadRequest if the target's type has no compartment.
    """
    from bulkhead.store import Pointer

    its = (in_force(store) if known is None else known).get(target.partition("/")[0])
    if its is None:
        raise BadRequest(f"{target.partition('/')[0]} has no compartment", expression=target)
    listed = store.pointing_at(target, resource_type, after, limit=limit)
    ended = len(listed) < limit
    last = None if ended else listed[-1].source
    found = [
        pointer
        for pointer in listed
        if not its.parameters.get(pointer.source.partition("/")[0], frozenset()).isdisjoint(pointer.via)
        and (trail or not is_trail(pointer.source))
    ]
    wanted = resource_type in (None, its.code) and its.lists_itself
    if wanted and (after is None or target > after) and (last is None or target <= last):
        found = [pointer for pointer in found if pointer.source != target]
        found.append(Pointer(target, frozenset({ITSELF})))
        found.sort(key=lambda pointer: pointer.source)
    return Members(found, last)


def checked(store: ReadStore, code: str, resource_type: str | None) -> Definition:
    """The definition for `GET {code}/{id}/{resource_type}`; BadRequest if there is none, or it lacks the type."""
    its = definition(store, code)
    if its is None:
        raise BadRequest(f"{code} has no compartment", expression=code)
    if not its.search:
        raise BadRequest(f"the definition of the {code} compartment does not allow searches", expression=code)
    if resource_type is not None and not its.parameters.get(resource_type):
        raise BadRequest(f"{resource_type} is not in the {code} compartment", expression=resource_type)
    return its
