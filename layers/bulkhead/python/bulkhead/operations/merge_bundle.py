"""`POST service/patient/merge`: takes a merge that an identity source has made, as a Bundle with both Patients (docs/workflows.md).

An OperationDefinition calls it `$patient-merge`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.compartments.patient_links import REPLACED_BY, REPLACES
from bulkhead.errors import Unprocessable
from bulkhead.fhir import json, references
from bulkhead.operations import care_bundles, patient_merges
from bulkhead.operations.care_bundles import Bundle, Departures, Member
from bulkhead.resources import conditions
from bulkhead.store import Head

PATIENT = "Patient"


def merge_bundle(request: Request) -> Response:
    """`POST service/patient/merge`: 200 with the response Bundle of the transaction.

    The Bundle has two Patients: the target `replaces` the source; the source is `replaced-by` the target and not active. A repeated
    request changes nothing. BadRequest for faults of its form; Unprocessable with every departure from the pattern, and for a merge in
    a circle, into a Patient that is replaced itself, or of one that another replaces; otherwise the errors of a transaction.
    """
    bundle = care_bundles.transaction(request.resource())
    source, target = _pair(request, bundle)

    def checked(bundle: Bundle) -> dict[int, int]:
        return _require_mergeable(request, source, target)

    if _stand_already(request, (source, target)):
        bundle = _without_if_match(bundle)
    return care_bundles.process(request, bundle, checked)


def _pair(request: Request, bundle: Bundle) -> tuple[Member, Member]:
    """The source and the target in a Bundle with the pattern. Unprocessable."""
    departures = Departures()
    listed = care_bundles.members(request, bundle, departures, types=(PATIENT,), what="a merge")
    if len(listed) != 2:
        departures.add(
            "the bundle must have exactly two Patients", listed[2].place if len(listed) > 2 else "Bundle.entry"
        )
        departures.raise_any()
    one, other = listed
    source, target = (one, other) if _has_link(one, REPLACED_BY) and not _has_link(other, REPLACED_BY) else (other, one)
    departures.require(
        condition=care_bundles.linked(target, REPLACES, source),
        text=f"the Patient that stays must have a link of type {REPLACES} to {source.entry.place}",
        place=f"{target.place}.link",
    )
    departures.require(
        condition=care_bundles.linked(source, REPLACED_BY, target),
        text=f"the Patient that is replaced must have a link of type {REPLACED_BY} to {target.entry.place}",
        place=f"{source.place}.link",
    )
    departures.require(
        condition=sum(link.get("type") == REPLACED_BY for link in source.resource.get("link", ())) <= 1,
        text="a Patient can be replaced by only one other",
        place=f"{source.place}.link",
    )
    departures.require(
        condition=source.resource.get("active") is False,
        text="the Patient that is replaced must have active false",
        place=f"{source.place}.active",
    )
    fault = patient_merges.target_fault(target.entry.place, target.resource)
    departures.require(condition=fault is None, text=fault or "", place=f"{target.place}.link")
    departures.raise_any()
    return source, target


def _has_link(member: Member, kind: str) -> bool:
    return any(link.get("type") == kind for link in member.resource.get("link", ()))


def _require_mergeable(request: Request, source: Member, target: Member) -> dict[int, int]:
    """The current versions of both, by entry; a Patient that does not exist yet has none. Unprocessable."""
    heads = {member.entry.index: _head(request, member) for member in (source, target)}
    departures = Departures()
    there = {index: request.store.decode(head) for index, head in heads.items() if head}
    target_head, source_head = heads[target.entry.index], heads[source.entry.index]
    if target_head:
        fault = _replaced(target_head.key, there[target.entry.index])
        departures.require(condition=fault is None, text=fault or "", place=target.place)
    if source_head:
        target_key = target_head.key if target_head else target.entry.key or ""
        fault = patient_merges.source_fault(source_head.key, there[source.entry.index], target_key)
        departures.require(condition=fault is None, text=fault or "", place=source.place)
    departures.raise_any()
    _require_no_circle(request, source, target, heads=heads)
    return {index: head.version for index, head in heads.items() if head}


def _replaced(key: str, stored: dict[str, Any]) -> str | None:
    """The Patient that replaces a stored one, if any. An inactive target may become active again by this very bundle."""
    return patient_merges.target_fault(key, {**stored, "active": True})


def _require_no_circle(request: Request, source: Member, target: Member, *, heads: Mapping[int, Head | None]) -> None:
    """Raises Unprocessable if the Patients that the two would replace, through their chains, lead back to the target."""
    target_head, source_head = heads[target.entry.index], heads[source.entry.index]
    target_key = target_head.key if target_head else target.entry.key
    if target_key is None:
        return
    starts = set(care_bundles.local_links(source, REPLACES)) | set(care_bundles.local_links(target, REPLACES))
    starts -= {source_head.key if source_head else source.entry.key or ""}
    fence = policy.fence(request.store, request.caller, policy.READ)
    if patient_merges.leads_to(request.store, fence, starts, target=target_key):
        raise Unprocessable(f"{target_key} would replace itself, through other Patients", f"{source.place}.link")


def _head(request: Request, member: Member) -> Head | None:
    """The current head of a Patient that the caller may change: by its id, or as the match of the criteria."""
    key = member.entry.key
    if key is None and member.entry.criteria is not None:
        policy.require(request.caller, policy.SEARCH, PATIENT)
        wanted = conditions.condition(
            PATIENT,
            member.entry.criteria,
            member.entry.condition_place,
            base=request.base,
            limits=request.session.settings,
        )
        fence = policy.fence(request.store, request.caller, policy.SEARCH)
        found = conditions.find(request.store, [wanted], fence)[wanted]
        key = found[0].key if len(found) == 1 else None
    return care_bundles.changeable(request, key) if key else None


# A repeated merge


def _stand_already(request: Request, pair: Sequence[Member]) -> bool:
    """Whether both Patients already are as in the Bundle: then its `ifMatch`, which name the versions before, count as met."""
    heads = {member.entry.index: _head(request, member) for member in pair}
    names = {name: head.key for member in pair if (head := heads[member.entry.index]) for name in member.names}
    return all(
        (head := heads[member.entry.index]) is not None and _is_same(request, member, head, names=names)
        for member in pair
    )


def _is_same(request: Request, member: Member, head: Head, *, names: Mapping[str, str]) -> bool:
    given = copy.deepcopy(member.resource)
    for _, reference in references.walk(given):
        if "reference" in reference:
            text = references.relative(reference["reference"], f"{request.base}/")
            reference["reference"] = names.get(text, text)
    asked = resources.stored({**given, "id": head.id})
    return json.canonical(asked) == json.canonical(request.store.decode(head))


def _without_if_match(bundle: Bundle) -> Bundle:
    made = copy.deepcopy(bundle)
    for entry in made["entry"]:
        entry["request"].pop("ifMatch", None)
    return made
