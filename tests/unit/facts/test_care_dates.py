from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.facts import care_dates, index_facts
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import RESOURCE_TYPES, compartment_parameters

CARE = {
    "AuditEvent": ("date", None),
    "Condition": ("onset-date", "code"),
    "DiagnosticReport": ("date", "code"),
    "DocumentReference": ("date", "type"),
    "Encounter": ("date", None),
    "Immunization": ("date", "vaccine-code"),
    "MedicationAdministration": ("effective-time", "code"),
    "MedicationDispense": ("whenhandedover", "code"),
    "MedicationRequest": ("authoredon", "code"),
    "MedicationStatement": ("effective", "code"),
    "Observation": ("date", "code"),
    "Procedure": ("date", "code"),
    "Patient": (None, None),
    "Organization": (None, None),
    "ValueSet": (None, None),
}


@pytest.mark.parametrize("resource_type", CARE)
def test_the_date_and_the_code_of_the_care(resource_type: str) -> None:
    found = care_dates.care_parameter(resource_type), care_dates.code_parameter(resource_type)
    assert tuple(one.code if one else None for one in found) == CARE[resource_type]


def test_every_type_with_a_care_date_is_of_the_patient_compartment_and_its_code_is_indexed() -> None:
    with_date = {name for name in RESOURCE_TYPES if care_dates.care_parameter(name)}
    assert with_date <= set(compartment_parameters("Patient"))
    assert len(with_date) > 45
    for name in RESOURCE_TYPES:
        code = care_dates.code_parameter(name)
        assert code is None or index_facts.is_dated(name, code), name


moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    dates.text
)


@st.composite
def spans(draw: st.DrawFn) -> tuple[str, str]:
    """A moment, a second, a day, or a period."""
    first = draw(moments)
    match draw(st.integers(0, 3)):
        case 0:
            return first, first
        case 1:
            return dates.bounds(first[:19] + "Z")
        case 2:
            return dates.bounds(first[:10])
    return first, max(first, draw(moments))


@given(st.lists(spans(), min_size=1, max_size=3), moments)
def test_the_texts_of_the_index_are_those_that_are_sorted_by(periods: list[tuple[str, str]], asked: str) -> None:
    found = care_dates.texts(periods)
    assert found
    kept = care_dates.sorts(found)
    assert {text.removeprefix(care_dates.LONG) for text in kept} == set(found)
    assert all(text[0].isdigit() or text.startswith(care_dates.LONG) for text in kept)
    first, last = min(one[0] for one in periods), max(one[1] for one in periods)
    assert first.startswith(found.oldest_first[: len(first)])
    # What ends at a moment or later is never left out by its texts.
    if last >= asked:
        assert all(care_dates.may_reach(text, asked) for text in found)
    if care_dates.is_period(found.oldest_first):
        assert care_dates.end_of(found.oldest_first) == found.newest_first


@given(spans(), spans())
def test_what_is_earlier_sorts_first(one: tuple[str, str], other: tuple[str, str]) -> None:
    if one[1] < other[0]:
        earlier, later = care_dates.texts([one]), care_dates.texts([other])
        assert earlier
        assert later
        assert earlier.oldest_first < later.oldest_first
        assert earlier.newest_first < later.newest_first


def test_without_a_date_is_the_last() -> None:
    assert care_dates.texts([]) is None
    assert care_dates.NONE > dates.LAST
    assert care_dates.later(dates.LAST, days=1) == dates.LAST
    assert care_dates.later(dates.FIRST, seconds=-1) == dates.FIRST


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Observation", "code": {"coding": [{"system": "s", "code": "B"}, {"code": "a"}]}}, ("code", "a", "")),
        ({"resourceType": "Observation", "code": {"coding": [{"system": "t", "code": "A"}, {"system": "s", "code": "a"}]}}, ("code", "a", "s")),
        ({"resourceType": "Immunization", "vaccineCode": {"coding": [{"system": "s", "code": "1"}]}}, ("vaccine-code", "1", "s")),
        ({"resourceType": "Observation", "code": {"text": "x", "coding": [{"system": "s"}]}}, None),
        ({"resourceType": "Encounter", "type": [{"coding": [{"code": "a"}]}]}, None),
        ({"resourceType": "Patient"}, None),
    ],
)  # fmt: skip
def test_counts_know_a_resource_by_one_code(resource: dict[str, Any], expected: tuple[str, str, str] | None) -> None:
    assert care_dates.counted_code(resource) == expected
    known = index_facts.facts(resource).code
    assert known == (None if expected is None else index_facts.Value(*expected))
