"""`Patient/$merge`, HL7's operation of R5 and R6, which HAPI serves too: one Patient takes over another.

R4 does not have it. The server builds the transaction that a client could have sent: both Patients in one commit. References to
the source stay unchanged; the target answers for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

from bulkhead import bundles, resources
from bulkhead.access import policy
from bulkhead.access.visibility import last_living
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.bundles.context import REPRESENTATION
from bulkhead.compartments.patient_links import REPLACES
from bulkhead.errors import BadRequest, Forbidden, InvalidResource, Issue, NotFound, PreconditionFailed, Unprocessable
from bulkhead.facts.audit_names import is_trail
from bulkhead.fhir import outcome, references, validation
from bulkhead.interactions.contexts import context
from bulkhead.operations import care_bundles, parameters, patient_merges
from bulkhead.operations.care_bundles import Departures, MovedOn
from bulkhead.operations.parameters import Given, Taken
from bulkhead.operations.patient_merges import Patient
from bulkhead.resources import conditions
from bulkhead.store import Head

PATIENT = "Patient"
_LISTED = 100

TAKEN = {
    "source-patient": Taken("valueReference"),
    "source-patient-identifier": Taken("valueIdentifier", repeated=True),
    "target-patient": Taken("valueReference"),
    "target-patient-identifier": Taken("valueIdentifier", repeated=True),
    "result-patient": Taken("resource"),
    "preview": Taken("valueBoolean"),
    "delete-source": Taken("valueBoolean"),
    "batch-size": Taken("valueInteger"),
}


@dataclass(frozen=True, slots=True)
class Side:
    """How a call names one of the two Patients: by `key`, by identifiers, or by both, which must agree. `place` is the parameter."""

    key: str | None
    identifiers: tuple[dict[str, Any], ...]
    place: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One call."""

    source: Side
    target: Side
    result: Patient | None
    result_place: str
    preview: bool
    deletes_source: bool


def merge_patients(request: Request) -> Response:
    """`POST Patient/$merge`: 200 with a Parameters of `input`, `outcome` and `result`: the target as it is now, or would be for `preview`.

    The repetition of an earlier merge gets the same response and changes nothing. BadRequest for the parameters; Unprocessable, at the
    parameter, for a Patient that the caller does not see, and for two that cannot be merged; Forbidden; Conflict for too many writers.
    """
    if resources.known_type(request.parameters["type"]) != PATIENT:
        raise NotFound("$merge is an operation of Patient", "operation")
    for right in (policy.UPDATE, policy.READ):
        policy.require(request.caller, right, PATIENT)
    body = request.resource()
    asked = read(body, request.base)
    if asked.deletes_source and not policy.sees_all(request.caller, policy.DELETE, PATIENT):
        # A fenced caller must not learn whether other tenants' resources point at the source.
        raise Forbidden("only a caller who may see and delete every Patient can use delete-source", "delete-source")
    return care_bundles.retried(lambda: _Merge(request, body, asked).answer())


# The call


def read(body: dict[str, Any], base: str) -> Asked:
    """The call in a Parameters resource. BadRequest, with an issue for each fault."""
    given = parameters.read(body, "$merge", TAKEN)
    result = given["result-patient"]
    if result:
        _require_patient(result[0])
    return Asked(
        source=_side("source", given, base),
        target=_side("target", given, base),
        result=result[0].value if result else None,
        result_place=result[0].place if result else "",
        preview=_flag(given["preview"]),
        deletes_source=_flag(given["delete-source"]),
    )


def _flag(given: Sequence[Given]) -> bool:
    return any(one.value is True for one in given)


def _require_patient(given: Given) -> None:
    """Raises InvalidResource if the result is not a valid Patient, with the faults at their places."""
    issues = validation.faults(given.value, PATIENT)
    if issues:
        moved = [
            replace(issue, expression=given.place + (issue.expression or PATIENT).removeprefix(PATIENT))
            for issue in issues
        ]
        raise InvalidResource("result-patient is not a valid Patient", issues=moved)


def _side(name: str, given: dict[str, list[Given]], base: str) -> Side:
    by_reference, by_identifier = given[f"{name}-patient"], given[f"{name}-patient-identifier"]
    found = [*by_reference, *by_identifier]
    if not found:
        raise BadRequest(f"$merge needs {name}-patient, or {name}-patient-identifier", "Parameters.parameter")
    identifiers = [one.value for one in by_identifier]
    key = None
    for one in by_reference:
        text = one.value.get("reference")
        if text is None and "identifier" in one.value:
            identifiers.append(one.value["identifier"])
            continue
        key = references.local(references.relative(text or "", f"{base}/"))
        if key is None or not key.startswith(f"{PATIENT}/"):
            raise BadRequest(f"{name}-patient must be a reference Patient/id on this server", one.place)
    if not all(identifier.get("value") for identifier in identifiers):
        raise BadRequest("an identifier must have a value", found[-1].place)
    return Side(key, tuple(identifiers), found[0].place)


# The merge


@dataclass
class _Merge:
    """One attempt: the versions that it reads must still be current when it commits."""

    request: Request
    body: dict[str, Any]
    asked: Asked

    def answer(self) -> Response:
        target = self._target
        source = self._found(self.asked.source, beside=target.key)
        if source is None:
            return self._answer_for_deleted(target)
        self._require_mergeable(source, target)
        stored = self.request.store.decode(source)
        made = self._made_of(target, stored, source.key)
        if self.asked.preview:
            shown = self.request.represent(target, made)
            return self._response("Preview only: the Patients can be merged, and nothing was changed", shown)
        return self._commit(source, target, stored, made=made)

    @cached_property
    def _target(self) -> Head:
        found = self._found(self.asked.target, beside=None)
        if found is None:
            raise Unprocessable("there is no such Patient", self.asked.target.place)
        return found

    def _found(self, side: Side, beside: str | None) -> Head | None:
        """The Patient that a side names; None if the caller sees none. Unprocessable for several, or two that differ.

        Forbidden if the caller may not change it. If there are several, the one whose identifiers are its own and not old: a merge
        passes them on to the target, `beside`.
        """
        if not side.identifiers:
            return care_bundles.changeable(self.request, side.key or "")
        heads = self._identified(side)
        if side.key is not None:
            heads = [head for head in heads if head.key == side.key]
        if len(heads) > 1:
            own = [head for head in heads if self._has_as_its_own(head, side)]
            heads = own or [head for head in heads if head.key != beside]
        if len(heads) > 1:
            raise Unprocessable("several Patients have these identifiers", side.place)
        return care_bundles.changeable(self.request, heads[0].key) if heads else None

    def _identified(self, side: Side) -> list[Head]:
        """The Patients that have all identifiers of a side and that the caller may see."""
        policy.require(self.request.caller, policy.SEARCH, PATIENT)
        criteria = "&".join(f"identifier={quote(_token(identifier))}" for identifier in side.identifiers)
        wanted = conditions.condition(
            PATIENT, criteria, side.place, base=self.request.base, limits=self.request.session.settings
        )
        fence = policy.fence(self.request.store, self.request.caller, policy.SEARCH)
        return conditions.find(self.request.store, [wanted], fence, limit=_LISTED)[wanted]

    def _has_as_its_own(self, head: Head, side: Side) -> bool:
        stored = self.request.store.decode(head)
        own = [identifier for identifier in stored.get("identifier", ()) if identifier.get("use") != "old"]
        return patient_merges.has_all({"identifier": own}, side.identifiers)

    def _require_mergeable(self, source: Head, target: Head) -> None:
        if source.key == target.key:
            raise Unprocessable(f"source and target are the same, {source.key}", self.asked.source.place)
        store, departures = self.request.store, Departures()
        fault = patient_merges.target_fault(target.key, store.decode(target))
        departures.require(condition=fault is None, text=fault or "", place=self.asked.target.place)
        fault = patient_merges.source_fault(source.key, store.decode(source), target.key)
        departures.require(condition=fault is None, text=fault or "", place=self.asked.source.place)
        fence = policy.fence(store, self.request.caller, policy.READ)
        departures.require(
            condition=not patient_merges.leads_to(store, fence, [source.key], target=target.key),
            text=f"{source.key} replaces {target.key} already, so each would replace the other",
            place=self.asked.source.place,
        )
        if self.asked.deletes_source and self._is_pointed_at(source, target):
            text = f"resources refer to {source.key}: leave out delete-source, and {target.key} answers for both"
            departures.add(text, "delete-source")
        departures.raise_any()

    def _is_pointed_at(self, source: Head, target: Head) -> bool:
        """Whether anything refers to the source, other than itself, the target and the audit trail."""
        after: str | None = None
        while True:
            listed = self.request.store.pointing_at(source.key, after=after, limit=_LISTED)
            keys = {pointer.source for pointer in listed if not is_trail(pointer.source)} - {source.key, target.key}
            heads = self.request.store.read_many(keys).values()
            if any(source.key in self.request.store.version(head).named for head in heads if not head.deleted):
                return True
            if len(listed) < _LISTED:
                return False
            after = listed[-1].source

    def _made_of(self, target: Head, source: Patient, source_key: str) -> Patient:
        """The target after the merge: the client's version or the current one, with what comes from the source."""
        keeps_source = not self.asked.deletes_source
        if self.asked.result is None:
            return patient_merges.merged_target(
                self.request.store.decode(target),
                {**source, "id": source_key.partition("/")[2]},
                keeps_source=keeps_source,
            )
        result, place, departures = self.asked.result, self.asked.result_place, Departures()
        departures.require(
            condition=result.get("id") == target.id,
            text=f"result-patient must have the id of {target.key}",
            place=f"{place}.id",
        )
        departures.require(
            condition=patient_merges.has_all(result, self.asked.target.identifiers),
            text="result-patient must have the identifiers that the target is named by",
            place=f"{place}.identifier",
        )
        links = patient_merges.others(result, REPLACES).count(source_key)
        wanted = f"one link of type {REPLACES}" if keeps_source else "no link"
        departures.require(
            condition=links == int(keeps_source),
            text=f"result-patient must have {wanted} to {source_key}",
            place=f"{place}.link",
        )
        fault = patient_merges.target_fault("result-patient", result)
        departures.require(condition=fault is None, text=fault or "", place=place)
        departures.raise_any()
        return dict(result)

    def _commit(self, source: Head, target: Head, stored: Patient, *, made: Patient) -> Response:
        replaced: dict[str, Any] = {"request": {"method": "DELETE", "url": source.key}}
        if not self.asked.deletes_source:
            replaced = {
                "resource": {**patient_merges.merged_source(stored, target.key), "id": source.id},
                "request": {"method": "PUT", "url": source.key},
            }
        entries = [replaced, {"resource": {**made, "id": target.id}, "request": {"method": "PUT", "url": target.key}}]
        for entry, head in zip(entries, (source, target), strict=True):
            entry["request"]["ifMatch"] = f'W/"{head.version}"'
        transaction = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        try:
            done = bundles.process(transaction, replace(context(self.request), returns=REPRESENTATION))
        except PreconditionFailed:
            raise MovedOn from None
        versions = [entry["response"].get("etag") for entry in done["entry"]]
        again = versions == [f'W/"{head.version}"' for head in (source, target)]
        text = (
            f"{source.key} was merged into {target.key} before: nothing was changed"
            if again
            else "The Patients are merged"
        )
        return self._response(text, done["entry"][1]["resource"])

    def _answer_for_deleted(self, target: Head) -> Response:
        """The response for an absent source: as before, if a merge deleted it and the target has its identifiers. Otherwise Unprocessable."""
        side, store = self.asked.source, self.request.store
        head = store.read(side.key) if side.key and self.asked.deletes_source else None
        last = last_living(store, head) if head and head.deleted else None
        identifiers = store.decode(last).get("identifier", ()) if last else ()
        if head is None or not identifiers or not patient_merges.has_all(store.decode(target), identifiers):
            raise Unprocessable("there is no such Patient", side.place)
        text = f"{head.key} is deleted, and {target.key} has its identifiers: nothing was changed"
        return self._response(text, self.request.represent(target))

    def _response(self, text: str, result: dict[str, Any]) -> Response:
        told = outcome.outcome([Issue("informational", text, severity="information")])
        parts = (("input", self.body), ("outcome", told), ("result", result))
        listed = [{"name": name, "resource": resource} for name, resource in parts]
        return Response(200, {"resourceType": "Parameters", "parameter": listed})


def _token(identifier: dict[str, Any]) -> str:
    """An identifier as the value of a search parameter."""
    from bulkhead.search.literals import escape

    value = escape(identifier["value"])
    return f"{escape(identifier['system'])}|{value}" if identifier.get("system") else value
