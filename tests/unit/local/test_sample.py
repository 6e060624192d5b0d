from __future__ import annotations

import json
from collections import Counter

import pytest

from bulkhead.fhir import references, validation
from infra.local import sample

RESOURCES = list(sample.resources())


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: f"{resource['resourceType']}/{resource['id']}")
def test_every_resource_is_valid_r4(resource: sample.Resource) -> None:
    validation.check({name: value for name, value in resource.items() if name != "meta"})


def test_every_reference_leads_to_a_resource_of_the_clinic() -> None:
    keys = {f"{resource['resourceType']}/{resource['id']}" for resource in RESOURCES}
    assert len(keys) == len(RESOURCES)
    named = {found["reference"] for resource in RESOURCES for _, found in references.walk(resource)}
    assert named <= keys


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(sample.bundle()) == json.dumps(sample.bundle())


def test_it_has_what_the_examples_speak_of() -> None:
    counts = Counter(resource["resourceType"] for resource in RESOURCES)
    assert counts["Organization"] == 2
    assert counts["Patient"] == counts["List"] == counts["DocumentReference"] == counts["Binary"] == len(sample.PEOPLE)
    assert (
        min(counts[name] for name in ("Practitioner", "Encounter", "Condition", "Observation", "MedicationRequest")) > 2
    )
