"""Validation of single documents: what is valid, and every fault with its code and its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import InvalidResource
from bulkhead.fhir import definitions, outcome, validation
from bulkhead.fhir.rules.faults import MAXIMUM_FAULTS
from tests.support.faulty_structure import FAULTY_STRUCTURE
from tests.support.faulty_values import FAULTY_VALUES
from tests.support.probes import VALID, Probe, observation, patient

INVALID = [*FAULTY_STRUCTURE, *FAULTY_VALUES]

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["male", "2020-01-01", "#a"])
)
ELEMENT_NAMES = st.sampled_from(
    [*definitions.elements("Patient").properties, "_birthDate", "given", "reference", "url"]
)
NONSENSE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ELEMENT_NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("probe", VALID, ids=lambda probe: probe.name)
def test_valid(probe: Probe) -> None:
    assert validation.faults(probe.document) == []
    validation.check(probe.document, probe.document["resourceType"])


@pytest.mark.parametrize("probe", INVALID, ids=lambda probe: probe.name)
def test_invalid(probe: Probe) -> None:
    found = validation.faults(probe.document)
    assert [(issue.code, issue.expression) for issue in found] == list(probe.faults)
    assert all(issue.severity == "error" and issue.diagnostics.startswith(f"{issue.expression}: ") for issue in found)


def test_check_carries_every_fault_as_an_outcome() -> None:
    document = patient(gender="x", birthDate="y", name=[{"given": ["a", ""]}, {"family": 1}], active="true")
    with pytest.raises(InvalidResource) as caught:
        validation.check(document)
    issues = outcome.from_error(caught.value)["issue"]
    assert [issue["expression"][0] for issue in issues] == [
        "Patient.gender",
        "Patient.birthDate",
        "Patient.name[0].given[1]",
        "Patient.name[1].family",
        "Patient.active",
    ]


def test_another_type_than_expected() -> None:
    (issue,) = validation.faults(patient(), "Observation")
    assert (issue.code, issue.expression) == ("value", "Patient.resourceType")


@pytest.mark.parametrize("probe", INVALID, ids=lambda probe: probe.name)
def test_diagnostics_never_repeat_values(probe: Probe) -> None:
    """Words of the messages are Bulkhead's own, type names or value sets, unless the document has them by chance."""
    said = " ".join(issue.diagnostics + str(issue.expression) for issue in validation.faults(probe.document))
    telling = {value for value in texts(probe.document) if len(value) > 8 and value not in definitions.RESOURCE_TYPES}
    assert [value for value in telling if value in said] == []


def texts(value: Any) -> Iterator[str]:
    """Every string in a document that may be a person's; keys count where they are no element names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from [] if re.fullmatch(r"\w+", key) else [key]
            yield from [] if key == "resourceType" else texts(item)


@pytest.mark.parametrize(
    "name",
    [{"given": [""] * 5000}, {"_given": [None] * 5000}, {f"x{number}": 1 for number in range(5000)}],
)
def test_faults_beyond_the_limit_are_not_listed(name: dict[str, Any]) -> None:
    found = validation.faults(patient(name=[name], contact=[{"name": name}]))
    assert len(found) == MAXIMUM_FAULTS + 1
    assert found[-1].code == "too-long"


def test_a_rule_does_not_remember_earlier_documents() -> None:
    """Rules share constant faults; a nested fault must not grow into the next answer."""
    document = patient(name=[{"given": [""]}], contact=[{"name": {"given": [""]}}])
    assert validation.faults(document) == validation.faults(document)
    assert [issue.expression for issue in validation.faults(document)] == [
        "Patient.name[0].given[0]",
        "Patient.contact[0].name.given[0]",
    ]


@given(st.dictionaries(ELEMENT_NAMES, NONSENSE, max_size=4))
def test_nonsense_is_judged_without_a_crash(elements: dict[str, Any]) -> None:
    document = {**elements, "resourceType": "Patient"}
    found = validation.faults(document)
    assert all(str(issue.expression).startswith("Patient") for issue in found)
    assert bool(found) == bool(validation.faults(document, "Patient"))


@given(st.text(max_size=30))
def test_any_text_in_any_primitive_is_judged_without_a_crash(value: str) -> None:
    for name, known in definitions.elements("Extension").properties.items():
        if name.startswith("value") and known.type in definitions.PRIMITIVES:
            (found, *_) = validation.faults(observation(extension=[{"url": "u", name: {"value": value}}]))
            assert found.expression == "Observation.extension[0].value"
            for issue in validation.faults(observation(extension=[{"url": "u", name: value}])):
                assert issue.expression == "Observation.extension[0].value"
