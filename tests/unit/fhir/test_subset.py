"""`_summary` and `_elements`."""

from __future__ import annotations

import copy
import zipfile
from typing import Any

import pytest

from bulkhead.errors import BadRequest
from bulkhead.fhir import json, subset, validation
from tests.support.shared_data import shared

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "1",
    "meta": {"versionId": "3", "tag": [{"code": "t"}], "accounts": [{"reference": "Organization/a"}]},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"/>'},
    "extension": [{"url": "http://x.example", "valueCode": "a"}],
    "status": "final",
    "_status": {"id": "s"},
    "code": {"text": "x"},
    "valueQuantity": {"value": 1},
    "note": [{"text": "n"}],
    "component": [{"code": {"text": "a"}, "interpretation": [{"text": "i"}]}],
}


def names(resource: dict[str, Any]) -> set[str]:
    return set(resource) - {"resourceType", "id", "meta"}


def test_summary_at_every_depth() -> None:
    found = subset.summary(OBSERVATION, "true")
    assert names(found) == {"status", "_status", "code", "valueQuantity", "component"}
    assert found["component"] == [{"code": {"text": "a"}}]


def test_the_other_modes() -> None:
    assert names(subset.summary(OBSERVATION, "text")) == {"text", "status", "_status", "code"}
    assert names(subset.summary(OBSERVATION, "data")) == names(OBSERVATION) - {"text"}
    assert subset.summary(OBSERVATION, "false") is OBSERVATION


@pytest.mark.parametrize("mode", ["count", "", "TRUE"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(BadRequest) as caught:
        subset.summary(OBSERVATION, mode)
    assert caught.value.issues[0].expression == "_summary"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["note"], {"note"}),
        ([" note ", "valueQuantity"], {"note", "valueQuantity"}),
        (["value"], {"valueQuantity"}),
        (["value[x]"], {"valueQuantity"}),
        (["Observation.component.code"], {"component"}),
        (["Patient.note", "nothing"], set()),
    ],
)
def test_elements_and_the_mandatory_ones(given: list[str], expected: set[str]) -> None:
    assert names(subset.elements(OBSERVATION, given)) == expected | {"status", "_status", "code"}


def test_a_subset_is_tagged_once_and_the_resource_stays_as_it_was() -> None:
    before = copy.deepcopy(OBSERVATION)
    once = subset.summary(OBSERVATION, "data")
    assert subset.elements(once, ["note"])["meta"]["tag"] == [{"code": "t"}, subset.SUBSETTED]
    assert once["meta"]["accounts"] == before["meta"]["accounts"]
    assert before == OBSERVATION


@pytest.mark.parametrize("mode", ["true", "text", "data"])
def test_subsets_of_valid_resources_have_what_is_mandatory(mode: str) -> None:
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".json"))[::5]:
            resource = json.loads(archive.read(name))
            if not validation.faults(resource):
                assert not [
                    fault for fault in validation.faults(subset.summary(resource, mode)) if fault.code == "required"
                ], name
