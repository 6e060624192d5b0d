"""The conditions under which one Patient may be merged into another, and the result for both (R4 patient.html#merge).

References to the source stay unchanged: the target answers for both, by its link (`compartments.patient_links`).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from bulkhead.compartments.patient_links import REPLACED_BY, REPLACES, followed

if TYPE_CHECKING:
    from bulkhead.store import Store
    from bulkhead.store.version import Fence

Patient = dict[str, Any]
_OLD = "old"


def target_fault(target: str, patient: Patient) -> str | None:
    """The reason why `patient`, the current version of `target` (`Patient/1`), cannot replace another; None if it can."""
    replaced_by = others(patient, REPLACED_BY)
    if replaced_by:
        return f"{target} is replaced itself, by {replaced_by[0]}: merge into that one"
    return f"{target} is not active, so nothing can be merged into it" if patient.get("active") is False else None


def source_fault(source: str, patient: Patient, target: str) -> str | None:
    """The reason why `patient`, the current version of `source`, cannot be merged into `target`; None if it can, or already is."""
    elsewhere = [other for other in others(patient, REPLACED_BY) if other != target]
    return f"{source} is already replaced, by {elsewhere[0]}" if elsewhere else None


def others(patient: Patient, kind: str) -> list[str]:
    """The targets of a Patient's links of a kind: `Patient/1`, or the text of any other reference."""
    links = (link.get("other", {}) for link in patient.get("link", ()) if link.get("type") == kind)
    return [other.get("reference", "another Patient").partition("/_history/")[0] for other in links]


def leads_to(store: Store, fence: Fence, starts: Collection[str], *, target: str) -> bool:
    """Whether `target` is among these Patients, or those that they replace, as far as `fence` shows them. TooCostly as `followed`."""
    if target in starts:
        return True
    versions = [store.version(head) for head in store.read_many(starts).values() if not head.deleted]
    return any(target in found for found in followed(store, [one for one in versions if fence(one)], fence).values())


def merged_target(target: Patient, source: Patient, *, keeps_source: bool) -> Patient:
    """The target with the identifiers of the source as old ones, and with a link to it if the source is kept."""
    made = copy.deepcopy(target)
    own = {_value(identifier) for identifier in made.get("identifier", ())}
    taken_over = [
        {**copy.deepcopy(identifier), "use": _OLD}
        for identifier in source.get("identifier", ())
        if _value(identifier) not in own
    ]
    if taken_over:
        made["identifier"] = [*made.get("identifier", ()), *taken_over]
    return _with_link(made, REPLACES, f"Patient/{source['id']}", wanted=keeps_source)


def merged_source(source: Patient, target: str) -> Patient:
    """The source after the merge: not active, with a link to `target`."""
    return _with_link({**copy.deepcopy(source), "active": False}, REPLACED_BY, target, wanted=True)


def has_all(patient: Patient, identifiers: Iterable[dict[str, Any]]) -> bool:
    """Whether a Patient has these identifiers, by system and value."""
    own = {_value(identifier) for identifier in patient.get("identifier", ())}
    return all(_value(identifier) in own for identifier in identifiers)


def _with_link(patient: Patient, kind: str, other: str, *, wanted: bool) -> Patient:
    """The Patient with one link of the kind to the other if it is `wanted`, and with none otherwise."""
    links = patient.get("link", [])
    there = [link for link in links if link.get("type") == kind and other in others({"link": [link]}, kind)]
    if wanted and not there:
        patient["link"] = [*links, {"other": {"reference": other}, "type": kind}]
    elif there and not wanted:
        left = [link for link in links if link not in there]
        patient = {name: value for name, value in patient.items() if name != "link"} | ({"link": left} if left else {})
    return patient


def _value(identifier: dict[str, Any]) -> tuple[str | None, str | None]:
    return identifier.get("system"), identifier.get("value")
