"""Finds the stored List that serves as a patient's `$current-medications`, `$current-problems` and so on: the rule of docs/workflows.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.compartments import patient_links
from bulkhead.fhir import dates
from bulkhead.search.functional_lists import CODES
from bulkhead.search.parse import parse
from bulkhead.search.serving import Find
from bulkhead.store.version import Fence, Version

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

_CHANGES = "changes"
_LOOKED_AT = 1_000


def current(store: ReadStore, fence: Fence, find: Find, *, patient: str, name: str) -> Version | None:
    """The List that is `name` (a key of CODES) of `patient`, such as `Patient/1`; None if `fence` lets none through.

    Its status is current, and its code is one of the name's. If there are several, the newest `date` wins, then the latest update;
    Lists of changes only (`mode`) come after all others. The patient's own come before those of a patient that it
    replaces. TooCostly above 1,000 Lists.
    """
    for key in _answered_for(store, fence, patient):
        pairs = [("subject", key), ("status", "current"), ("code", ",".join(CODES[name]))]
        found = find(store, parse(pairs, "List"), _LOOKED_AT, fence=fence)
        if found:
            return max(found, key=_newest)
    return None


def _answered_for(store: ReadStore, fence: Fence, patient: str) -> tuple[str, ...]:
    """The patient, and those that it replaces, the nearest first."""
    head = store.read(patient)
    version = store.version(head) if head and not head.deleted else None
    if version is None or not fence(version):
        return (patient,)
    return (patient, *patient_links.followed(store, [version], fence).get(patient, ()))


def _newest(version: Version) -> tuple[bool, str, str, str]:
    """The sort key whose greatest value wins: whether the List is complete, then its date."""
    date = version.body.get("date")
    return version.body["mode"] != _CHANGES, dates.bounds(date)[0] if date else "", version.head.updated, version.key
