"""Compartments: which definition is in force, which compartments a resource is in, and who the members of one are.

R4 compartmentdefinition.html. What decides membership is the search parameters through which a resource points at the
target; the by-target index keeps exactly these, so a definition can change without any reindexing.

`Patient/1/*` lists what the definition says, to the letter: an Encounter, whose definition has `{def}`, is among its
own members; a Patient, whose definition has `link` only, is not, though `meta.compartment` shows it in its own
compartment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bulkhead import definitions
from bulkhead.errors import BadRequest

if TYPE_CHECKING:
    from bulkhead.store import Pointer, Store

ITSELF = "{def}"


@dataclass(frozen=True, slots=True)
class Definition:
    """A CompartmentDefinition as the server uses it."""

    code: str
    """The type of the resources that have such a compartment."""
    parameters: Mapping[str, frozenset[str]]
    """Resource type -> the search parameters that make a resource of it a member; `{def}` for the target itself."""
    search: bool = True

    @property
    def lists_itself(self) -> bool:
        return ITSELF in self.parameters.get(self.code, ())


Definitions = Mapping[str, Definition]
"""By the type of the target."""


@cache
def built_in() -> Definitions:
    """The five definitions of R4."""
    return {
        code: Definition(
            code, {name: frozenset(codes) for name, codes in definitions.compartment_parameters(code).items()}
        )
        for code in definitions.COMPARTMENTS
    }


def in_force(store: Store) -> Definitions:
    """The definitions that decide now. The one place where those that clients have stored will come in."""
    return built_in()


def definition(store: Store, code: str) -> Definition | None:
    """The definition for targets of type `code`; None where such resources have no compartment."""
    return in_force(store).get(code)


def memberships(targets: Mapping[str, frozenset[str]], key: str, known: Definitions | None = None) -> list[str]:
    """The compartments that the resource `key` is in, sorted, given what it points at (`Facts.targets`).

    A resource is in its own compartment where the definition lists its own type: Patient, Encounter, Practitioner.
    """
    known = built_in() if known is None else known
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
) -> Members:
    """Members of the compartment of `target` ("Patient/1") by type and id, through one listing of by-target.

    Each once, with the search parameters through which it points at the target; the target itself with `{def}` where
    the definition lists it, whether it exists or not. BadRequest where the target's type has no compartment.
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
    if its is None or not its.search:
        raise BadRequest(f"{code} has no compartment", expression=code)
    if resource_type is not None and not its.parameters.get(resource_type):
        raise BadRequest(f"{resource_type} is not in the {code} compartment", expression=resource_type)
    return its
