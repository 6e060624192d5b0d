"""Which types are shared, and what of them is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkhead.access.shared_types import is_shared, shared_types
from bulkhead.fhir import definitions
from bulkhead.settings import SHARED_TYPES, Settings
from bulkhead.store import Head

HEAD = Head("Practitioner/1", 1, "2026-11-22T00:00:00.000Z", "PUT", b"z")


def test_by_default_directories_conformance_and_terminology() -> None:
    types = shared_types(Settings().shared_types)
    assert types == set(SHARED_TYPES)
    assert types <= definitions.RESOURCE_TYPES
    assert {"Organization", "Practitioner", "Medication", "ValueSet", "StructureDefinition"} <= types


@pytest.mark.parametrize("text", ["off", "", " "])
def test_none(text: str) -> None:
    assert shared_types(text) == frozenset()


@pytest.mark.parametrize("text", ["Practicioner", "Patient", "Observation", "Organization,Binary", "AuditEvent", "*"])
def test_what_cannot_be_shared_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition(",")[2].strip() or text.replace("*", r"\*")):
        shared_types(text)


def test_others_may_be_chosen() -> None:
    assert shared_types("Questionnaire, ActivityDefinition") == {"Questionnaire", "ActivityDefinition"}


def test_is_what_carries_no_account_and_never_lost_one_by_the_clock() -> None:
    types = frozenset({"Practitioner"})
    assert is_shared(HEAD, types)
    assert not is_shared(HEAD, frozenset())
    assert not is_shared(replace(HEAD, explicit=("Organization/a",)), types)
    assert not is_shared(replace(HEAD, inherited={"Practitioner/2": ("Organization/a",)}), types)
    assert not is_shared(replace(HEAD, body=None), types)
    assert not is_shared(replace(HEAD, lapsed=True), types)
