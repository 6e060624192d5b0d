"""Patients that replace others: a request for `Patient/1`, which `replaces` Patient/2, is answered for both.

R4 patient.html#links. References to the replaced Patient stay unchanged. Links form chains, which end where they meet
a Patient again. A search and a fence may follow different links: see `followed` and `agreed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.errors import TooCostly
from bulkhead.fhir import references

if TYPE_CHECKING:
    from bulkhead.store import ReadStore
    from bulkhead.store.version import Fence, Version

REPLACES, REPLACED_BY = "replaces", "replaced-by"
MOST = 40
"""The limit on Patients that one may replace, through all chains together; with the Patient itself, one search merges as many."""

_PREFIX = "Patient/"


def linked(patient: Mapping[str, Any], kind: str) -> list[str]:
    """The Patients of this server to which a Patient has a link of this kind, each once, in their order."""
    others = (link.get("other", {}) for link in patient.get("link", ()) if link.get("type") == kind)
    keys = (references.local(other.get("reference", "")) for other in others)
    return list(dict.fromkeys(key for key in keys if key and key.startswith(_PREFIX)))


def followed(store: ReadStore, patients: Iterable[Version], fence: Fence) -> dict[str, tuple[str, ...]]:
    """The Patients that each of these visible Patients replaces, by its key; Patients that replace none are left out.

    A chain continues from a replaced Patient only if the caller sees that one too. One BatchGet per step of the chains,
    none if no Patient replaces another. TooCostly above 40 replaced ones.
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
    """The Patients that the known links lead to, each once, the nearest first."""
    reached = {start: None}
    frontier = [start]
    while frontier:
        frontier = [other for key in frontier for other in links.get(key, ()) if other not in reached]
        reached |= dict.fromkeys(frontier)
        if len(reached) > MOST + 1:
            raise TooCostly(f"{start} replaces more than {MOST} Patients: correct its links", expression=start)
    return tuple(reached)[1:]


def agreed(store: ReadStore, patient: str) -> frozenset[str]:
    """The Patients that `patient` replaces, and that say so themselves: 1 `replaces` 2, and 2 is `replaced-by` 1.

    For a caller who is fenced to a Patient's compartment, and may have written one side of the link. Chains are followed
    until they meet a Patient again, or lead to 40 Patients.
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
