"""Compartments: the definition in force, the compartments of a resource, and the members of a compartment.

R4 compartmentdefinition.html. The search parameters through which a resource points at the target decide membership.
by-target keeps these of R4, and an entry for every other literal reference, so a definition can change without reindexing. For parameters
of the project's own (`own_parameters`), every resource that points at the target is a candidate, and its body decides.

`Patient/1/*` follows the definition to the letter: an Encounter, whose definition has `{def}`, is among its
own members; a Patient, whose definition has only `link`, is not, although `meta.compartment` shows it in its own
compartment.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bulkhead.compartments import own_parameters
from bulkhead.compartments.compartment_definitions import ITSELF, Definition, Definitions, built_in, deciding
from bulkhead.compartments.governing import governs
from bulkhead.errors import BadRequest
from bulkhead.facts.audit_names import is_trail
from bulkhead.store.version import Version

if TYPE_CHECKING:
    from bulkhead.store import Pointer, ReadStore, Write

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
    "of_write",
    "stored",
    "through",
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
    One strongly consistent Query, and a BatchGet if definitions were ever written; where they name the project's own search parameters, a
    Query more for each code and a BatchGet for all.
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
    # Without this request's view of large transactions: other requests will use the result.
    with one_request():
        return _Kept(own_parameters.resolved(store, deciding(stored(store).values())), mark, until)


def stored(store: ReadStore) -> dict[str, dict[str, Any]]:
    """The CompartmentDefinitions in force that clients have written, by key. One Query, and a BatchGet if there ever were any."""
    keys = store.written_definitions()
    heads = store.read_many(keys) if keys else {}
    return {key: {**store.decode(head), "id": head.id} for key, head in heads.items() if governs(head)}


def definition(store: ReadStore, code: str) -> Definition | None:
    """The definition for targets of type `code`; None if such resources have no compartment."""
    return in_force(store).get(code)


def of_write(store: ReadStore, write: Write) -> Version:
    """The version that a write is about to make, as `memberships` and `is_member` ask for it. The write has facts."""
    return Version(write.head(""), store.decode, write.new.targets if write.new else None)


def memberships(candidate: Version, known: Definitions) -> list[str]:
    """The compartments of a resource that is not deleted, sorted.

    `known` are the definitions in force. A resource is in its own compartment if its definition lists its own type:
    among R4's, those of Patient, Encounter, Practitioner and RelatedPerson do.
    """
    resource_type = candidate.head.type
    itself = known.get(resource_type)
    found = {candidate.key} if itself and itself.parameters.get(resource_type) else set()
    for target, via in candidate.targets.items():
        its = known.get(target.partition("/")[0])
        if its and not via.isdisjoint(its.parameters.get(resource_type, frozenset())):
            found.add(target)
    for its in known.values():
        for parameter in its.own.get(resource_type, {}).values():
            pointed_at = own_parameters.targets(parameter, candidate.body)
            found.update(target for target in pointed_at if target.partition("/")[0] == its.code)
    return sorted(found)


def through(its: Definition, target: str, candidate: Version) -> frozenset[str]:
    """The parameters by which a resource is in the compartment of `target`, `{def}` for the target itself; none if it is not in it."""
    resource_type = candidate.head.type
    named = its.parameters.get(resource_type, frozenset())
    found = named & candidate.targets.get(target, frozenset())
    if candidate.key == target and its.lists_itself:
        found |= {ITSELF}
    own = its.own.get(resource_type, {})
    return found | {code for code, one in own.items() if target in own_parameters.targets(one, candidate.body)}


def is_member(its: Definition, target: str, candidate: Version) -> bool:
    """Whether a resource is in the compartment of `target`: the check of a key that `members` lists."""
    return bool(through(its, target, candidate))


@dataclass(frozen=True, slots=True)
class Members:
    """A page of members. They are hints: read the head of each, and check it with `is_member`.

    Where a parameter of the project's own decides about a type, all that points at the target is listed.
    """

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
    found = [pointer for pointer in listed if _may_be_member(its, pointer) and (trail or not is_trail(pointer.source))]
    wanted = resource_type in (None, its.code) and its.lists_itself
    if wanted and (after is None or target > after) and (last is None or target <= last):
        found = [pointer for pointer in found if pointer.source != target]
        found.append(Pointer(target, frozenset({ITSELF})))
        found.sort(key=lambda pointer: pointer.source)
    return Members(found, last)


def _may_be_member(its: Definition, pointer: Pointer) -> bool:
    resource_type = pointer.source.partition("/")[0]
    return resource_type in its.own or not its.parameters.get(resource_type, frozenset()).isdisjoint(pointer.via)


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
