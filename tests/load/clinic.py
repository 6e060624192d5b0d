"""Made-up bundles of any size for the figures: one patient with observations, as a Synthea transaction has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

OBSERVATIONS_PER_ENCOUNTER = 10


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": f"urn:uuid:{uuid4()}", "resource": resource, "request": request}


def patient_bundle(resources: int) -> dict[str, Any]:
    """A transaction of `resources` entries: a Patient, and Encounters with ten Observations each."""
    patient = _entry({"resourceType": "Patient", "name": [{"family": "Load", "given": ["Test"]}], "gender": "other"})
    entries = [patient]
    reference = {"reference": patient["fullUrl"]}
    while len(entries) < resources:
        if len(entries) % (OBSERVATIONS_PER_ENCOUNTER + 1) == 1:
            entries.append(_entry(_encounter(reference)))
            encounter = {"reference": entries[-1]["fullUrl"]}
        else:
            entries.append(_entry(observation(len(entries), reference, encounter)))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _encounter(subject: dict[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [{"coding": [{"system": "http://snomed.info/sct", "code": "185345009"}], "text": "Encounter"}],
        "subject": subject,
        "period": {"start": "2026-01-05T10:00:00+01:00", "end": "2026-01-05T10:15:00+01:00"},
    }


def observation(number: int, subject: dict[str, str], encounter: dict[str, str] | None = None) -> dict[str, Any]:
    """A vital sign with a code out of twenty, in one month out of twelve."""
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "vital-signs",
                        "display": "vital-signs",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": f"8302-{number % 20}", "display": "Body Height"}],
            "text": "Body Height",
        },
        "subject": subject,
        "effectiveDateTime": f"2026-{number % 12 + 1:02d}-05T10:00:00+01:00",
        "issued": "2026-01-05T10:00:00.123+01:00",
        "valueQuantity": {
            "value": 150 + number % 50,
            "unit": "cm",
            "system": "http://unitsofmeasure.org",
            "code": "cm",
        },
    }
    if encounter:
        made["encounter"] = encounter
    return made


def bundles(resources: int, each: int) -> Iterator[dict[str, Any]]:
    for start in range(0, resources, each):
        yield patient_bundle(min(each, resources - start))
