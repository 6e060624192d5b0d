"""Writes that would leave a CompartmentDefinition with a search parameter that nothing defines: refused at the commit. Semantics, section 2.

A definition may name a parameter of the project's own only while a SearchParameter in force for everybody defines it, and such a
SearchParameter stays in force while a definition names it: to retire or to delete it, to give it an account, or to change it so that
it does not fit is refused. All definitions and parameters of one commit are looked at together, as they will stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bulkhead.compartments import compartment_definitions, own_parameters
from bulkhead.compartments.compartment_definitions import Definition, Definitions, Lookup, deciding
from bulkhead.compartments.governing import governs
from bulkhead.compartments.membership import stored
from bulkhead.errors import BulkheadError, Conflict, Unprocessable
from bulkhead.store import Store, Write

_TYPES = {compartment_definitions.TYPE, own_parameters.TYPE}
_OLDER_ENTRIES = (
    "this table has resources from before the server kept every reference in its index: run the integrity check, then "
    "write the definition again"
)


def faults(store: Store, writes: Sequence[Write]) -> dict[int, BulkheadError]:
    """The faults of `writes`, by position: Unprocessable of a definition, Conflict of a SearchParameter that a definition names.

    Reads nothing unless a CompartmentDefinition or a SearchParameter is among them.
    """
    touched = {n: write for n, write in enumerate(writes) if write.key.partition("/")[0] in _TYPES}
    if not touched:
        return {}
    before = stored(store)
    after = _written(store, before, compartment_definitions.TYPE, writes=touched.values())
    codes = {code for known in (deciding(before.values()), deciding(after.values())) for code in _codes(known)}
    codes |= {code for body in after.values() for _, code in compartment_definitions.defined(body).unknown}
    if not codes:
        return {}
    defining = own_parameters.defining(store, sorted(codes))
    stood, stands = own_parameters.lookup(defining), own_parameters.lookup(_defining(store, defining, touched.values()))
    found: dict[int, BulkheadError] = {}
    for n, write in touched.items():
        if write.key.partition("/")[0] == own_parameters.TYPE:
            error = _of_parameter(store, write, deciding(after.values()), stood=stood, stands=stands)
        else:
            error = _of_definition(store, write, after.get(write.key), look=stands)
        if error:
            found[n] = error
    return found


def _codes(known: Definitions) -> set[str]:
    return {code for its in known.values() for _, code in its.unknown}


def _of_definition(store: Store, write: Write, body: dict[str, Any] | None, *, look: Lookup) -> BulkheadError | None:
    """The fault of a definition that will be in force: it names what is not, or the index does not have what it needs."""
    if body is None or not write.changes_content:
        return None
    issues = list(compartment_definitions.faults(body, look))
    if issues:
        return Unprocessable(issues[0].diagnostics, issues=issues)
    if compartment_definitions.defined(body).unknown and not store.has_literals():
        return Unprocessable(_OLDER_ENTRIES, f"{compartment_definitions.TYPE}.resource")
    return None


def _of_parameter(
    store: Store, write: Write, known: Definitions, *, stood: Lookup, stands: Lookup
) -> BulkheadError | None:
    """The fault of a SearchParameter that will not serve a definition any more, though it did, or another with its code."""
    codes = {body.get("code") for body in _bodies(store, write)}
    for its in known.values():
        for resource_type, code in sorted(its.unknown):
            if (
                code in codes
                and _fits(its, resource_type, code, look=stood)
                and not _fits(its, resource_type, code, look=stands)
            ):
                text = f"{its.name} names {code} of {resource_type}: change or retire that definition first"
                return Conflict(text, write.key)
    return None


def _fits(its: Definition, resource_type: str, code: str, *, look: Lookup) -> bool:
    return compartment_definitions.own_fault(its.code, resource_type, code, look=look) is None


def _bodies(store: Store, write: Write) -> list[dict[str, Any]]:
    """What a write changes and what it makes, where either is in force for everybody."""
    heads = [write.base, write.head("")]
    return [
        _body(store, write) if head is not write.base else store.decode(head)
        for head in heads
        if head and governs(head)
    ]


def _body(store: Store, write: Write) -> dict[str, Any]:
    return {**store.decode(write.head("")), "id": write.key.partition("/")[2]}


def _written(
    store: Store, standing: Mapping[str, dict[str, Any]], resource_type: str, *, writes: Iterable[Write]
) -> dict[str, dict[str, Any]]:
    """The resources of a type in force, by key, once the writes are done."""
    found = dict(standing)
    for write in writes:
        if write.key.partition("/")[0] == resource_type:
            found.pop(write.key, None)
            if governs(write.head("")):
                found[write.key] = _body(store, write)
    return found


def _defining(
    store: Store, standing: own_parameters.Defining, writes: Iterable[Write]
) -> dict[str, list[dict[str, Any]]]:
    """The SearchParameters in force by code, once the writes are done."""
    listed = {f"{own_parameters.TYPE}/{body['id']}": body for found in standing.values() for body in found}
    after = _written(store, listed, own_parameters.TYPE, writes=writes)
    by_id = sorted(after.values(), key=lambda body: str(body["id"]))
    return {code: [body for body in by_id if body.get("code") == code] for code in standing}
