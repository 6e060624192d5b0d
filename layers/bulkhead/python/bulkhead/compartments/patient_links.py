"""Patients that another one replaces: who asks for `Patient/1`, which `replaces` Patient/2, is answered for both.

R4 patient.html#links. What points at the replaced Patient stays as it is. From a Patient it goes on through chains, and
ends where they come round. Who may follow which links is not the same for a search and for a fence: see `followed` and
`agreed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.errors import TooCostly
from bulkhead.fhir import references

if TYPE_CHECKING:
    from bulkhead.store import Store
    from bulkhead.store.version import Fence, Version

REPLACES, REPLACED_BY = "replaces", "replaced-by"
MOST = 40
"""The most Patients that one may replace, through all chains together: with the Patient itself what one search merges."""

_PREFIX = "Patient/"


def linked(patient: Mapping[str, Any], kind: str) -> list[str]:
    """The Patients of this server to which a Patient has a link of this kind, each once, in their order."""
    others = (link.get("other", {}) for link in patient.get("link", ()) if link.get("type") == kind)
    keys = (references.local(other.get("reference", "")) for other in others)
    return list(dict.fromkeys(key for key in keys if key and key.startswith(_PREFIX)))


def followed(store: Store, patients: Iterable[Version], fence: Fence) -> dict[str, tuple[str, ...]]:
    """By the key of each of these Patients, whom the caller sees, those that it replaces; Patients that replace none are left out.

    On from a replaced one it goes only where the caller sees that one, too. One BatchGet for each step of the chains,
    none where nobody replaces anybody. TooCostly above 40 replaced ones.
    """

    links = {patient.key: linked(patient.body, REPLACES) for patient in patients}
    roots = list(links)
    while True:
        reached = {root: _reached(root, links) for root in roots}
        unknown = sorted({key for others in reached.values() for key in others} - links.keys())
        if not unknown:
            return {root: others for root, others in reached.items() if others}
        heads = store.read_many(unknown)
        for key in unknown:
            candidate = store.version(heads[key]) if key in heads and not heads[key].deleted else None
            links[key] = linked(candidate.body, REPLACES) if candidate and fence(candidate) else []


def _reached(start: str, links: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What can be reached by the links that are known, each once, the nearest first."""
    reached = {start: None}
    frontier = [start]
    while frontier:
        frontier = [other for key in frontier for other in links.get(key, ()) if other not in reached]
        reached |= dict.fromkeys(frontier)
        if len(reached) > MOST + 1:
            raise TooCostly(f"{start} replaces more than {MOST} Patients: correct its links", expression=start)
    return tuple(reached)[1:]


def agreed(store: Store, patient: str) -> frozenset[str]:
    """The Patients that `patient` replaces, and that say so themselves: 1 `replaces` 2, and 2 is `replaced-by` 1.

    For who is fenced to a Patient's compartment, and may have written the one side of the link. Chains are followed
    until they come round, or lead to 40 Patients.
    """
    start = store.read(patient)
    found = {patient}
    frontier = [start] if start and not start.deleted else []
    while frontier and len(found) <= MOST:
        claimed = {head.key: linked(store.decode(head), REPLACES) for head in frontier}
        others = store.read_many({key for keys in claimed.values() for key in keys} - found)
        frontier = [
            head
            for head in others.values()
            if not head.deleted
            and any(head.key in claimed.get(by, ()) for by in linked(store.decode(head), REPLACED_BY))
        ]
        found |= {head.key for head in frontier}
    return frozenset(found - {patient})
