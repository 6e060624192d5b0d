"""Small resources for the tests of search."""

from __future__ import annotations

from typing import Any

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"


def patient(id: str = "1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def observation(id: str = "1", code: str = "1234-5", subject: str = "Patient/1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": subject},
        **more,
    }


def coding(system: str | None, code: str) -> dict[str, Any]:
    return {"code": code} if system is None else {"system": system, "code": code}


def quantity(value: Any, code: str = "mg", system: str = "http://unitsofmeasure.org") -> dict[str, Any]:
    return {"value": value, "unit": code, "system": system, "code": code}
