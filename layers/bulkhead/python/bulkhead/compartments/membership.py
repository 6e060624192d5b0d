"""Compartments: which definition is in force, which compartments a resource is in, and who the members of one are.

R4 compartmentdefinition.html. What decides membership is the search parameters through which a resource points at the
target; the by-target index keeps exactly these, so a definition can change without any reindexing.

`Patient/1/*` lists what the definition says, to the letter: an Encounter, whose definition has `{def}`, is among its
own members; a Patient, whose definition has `link` only, is not, though `meta.compartment` shows it in its own
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
    from bulkhead.store import Pointer, Store

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


_kept: WeakKeyDictionary[Store, _Kept] = WeakKeyDictionary()
_reading: WeakKeyDictionary[Store, threading.Lock] = WeakKeyDictionary()


def in_force(store: Store, fresh: bool = False) -> Definitions:
    """The definitions that decide now: those that clients have stored, and R4's own where there are none.

    What was read is kept for DEFINITIONS_TTL seconds, or until this process writes a definition; `fresh` reads anew.
    One strongly consistent Query, and a BatchGet where definitions were ever written.
    """
    kept = _kept.get(store)
    if kept is None or fresh or not _is_current(kept, store):
        # One request of each store reads, the others wait for what it finds.
        with _reading.setdefault(store, threading.Lock()):
            if fresh or (kept := _kept.get(store)) is None or not _is_current(kept, store):
                _kept[store] = kept = _read(store)
    return kept.definitions


def _is_current(kept: _Kept, store: Store) -> bool:
    return kept.mark is store.definitions_mark and time.monotonic() < kept.until


def _read(store: Store) -> _Kept:
    from bulkhead.store import one_request

    # Marked and timed before reading: what is written meanwhile must be seen by the next who asks.
    mark, until = store.definitions_mark, time.monotonic() + store.settings.definitions_ttl
    keys = store.written_definitions()
    # Not with what this request has seen of large transactions: others will use what is read here.
    with one_request():
        heads = store.read_many(keys) if keys else {}
    stored = [{**store.decode(head), "id": head.id} for head in heads.values() if governs(head)]
    return _Kept(deciding(stored), mark, until)


def definition(store: Store, code: str) -> Definition | None:
    """The definition for targets of type `code`; None where such resources have no compartment."""
    return in_force(store).get(code)


def memberships(targets: Mapping[str, frozenset[str]], key: str, known: Definitions) -> list[str]:
    """The compartments that the resource `key` is in, sorted, given what it points at (`Facts.targets`).

    `known` are the definitions in force. A resource is in its own compartment where its definition lists its own type:
    of R4's those of Patient, Encounter, Practitioner and RelatedPerson.
    """
    resource_type = key.partition("/")[0]
    own = known.get(resource_type)
    found = {key} if own and own.parameters.get(resource_type) else set()
    for target, via in targets.items():
        its = known.get(target.partition("/")[0])
        if its and not via.isdisjoint(its.parameters.get(resource_type, frozenset())):
            found.add(target)
    return sorted(found)


def is_member(its: Definition, target: str, key: str, targets: Mapping[str, frozenset[str]]) -> bool:
    """Whether `key`, pointing at `targets`, is in the compartment of `target`: what `members` lists, checked."""
    if key == target and its.lists_itself:
        return True
    return not its.parameters.get(key.partition("/")[0], frozenset()).isdisjoint(targets.get(target, frozenset()))


@dataclass(frozen=True, slots=True)
class Members:
    """A page of members. They are hints: take each to its head, and check it with `is_member`."""

    members: list[Pointer]
    next: str | None
    """What to give as `after` for the next page; None at the end. A page may be empty and not the last."""


def members(
    store: Store,
    target: str,
    resource_type: str | None = None,
    after: str | None = None,
    limit: int = 1000,
    known: Definitions | None = None,
    trail: bool = False,
) -> Members:
    """Members of the compartment of `target` ("Patient/1") by type and id, through one listing of by-target.

    Each once, with the search parameters through which it points at the target; the target itself with `{def}` where
    the definition lists it, whether it exists or not. Events of the audit trail, which are about the compartment and are
    not to be shared or paged through with it, only with `trail`. BadRequest where the target's type has no compartment.
    """
    from bulkhead.store import Pointer

    its = (in_force(store) if known is None else known).get(target.partition("/")[0])
    if its is None:
        raise BadRequest(f"{target.partition('/')[0]} has no compartment", expression=target)
    listed = store.pointing_at(target, resource_type, after, limit)
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


def checked(store: Store, code: str, resource_type: str | None) -> Definition:
    """The definition for `GET {code}/{id}/{resource_type}`; BadRequest where there is none, or it lacks the type."""
    its = definition(store, code)
    if its is None:
        raise BadRequest(f"{code} has no compartment", expression=code)
    if not its.search:
        raise BadRequest(f"the {code} compartment is defined as one that cannot be searched", expression=code)
    if resource_type is not None and not its.parameters.get(resource_type):
        raise BadRequest(f"{resource_type} is not in the {code} compartment", expression=resource_type)
    return its
