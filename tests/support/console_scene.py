"""A scene for the console: Anna is with Lighthouse; her letter is Harbour's alone; others have looked, and were refused."""

from __future__ import annotations

from typing import Any

import httpx

LETTER = "DocumentReference/anna-letter"
PULSE = "Observation/anna-2-0"


def accounts(*references: str, **more: bool) -> dict[str, Any]:
    """The body of a `$set-accounts`; `more` are its other parameters."""
    given: list[dict[str, Any]] = [{"name": "accounts", "valueReference": {"reference": each}} for each in references]
    given += [{"name": name, "valueBoolean": value} for name, value in more.items()]
    return {"resourceType": "Parameters", "parameter": given}


def play(admin: httpx.Client, harbour: httpx.Client, lighthouse: httpx.Client) -> None:
    """Bring the sample clinic into the scene. Done again, it changes nothing."""
    admin.post(f"{LETTER}/$set-accounts", json=accounts("Organization/harbour", inherit=False)).raise_for_status()
    admin.post(
        "Patient/anna/$set-accounts", json=accounts("Organization/lighthouse", propagate=True)
    ).raise_for_status()
    pulse = admin.get(PULSE).raise_for_status().json()
    if pulse["valueQuantity"]["value"] != 81:
        pulse["valueQuantity"]["value"] = 81
        pulse["note"] = [{"text": "Measured again, at rest."}]
        admin.put(PULSE, json=pulse).raise_for_status()
    assert lighthouse.get(PULSE).status_code == 200
    assert lighthouse.get(LETTER).status_code == 404
    assert harbour.get("Patient/anna").status_code == 404


def crowd(admin: httpx.Client, patient: str, size: int) -> None:
    """A patient of Lighthouse with `size` Observations."""
    account = {"accounts": [{"reference": "Organization/lighthouse"}]}
    person = {"resourceType": "Patient", "id": patient, "name": [{"family": "Crowd"}], "meta": account}
    admin.put(f"Patient/{patient}", json=person).raise_for_status()
    entries = [
        {
            "resource": {
                "resourceType": "Observation",
                "id": f"{patient}-{number}",
                "status": "final",
                "code": {"text": f"Measurement {number}"},
                "subject": {"reference": f"Patient/{patient}"},
                "effectiveDateTime": f"{2016 + number % 10}-{1 + number % 12:02}-{1 + number % 28:02}",
            },
            "request": {"method": "PUT", "url": f"Observation/{patient}-{number}"},
        }
        for number in range(size)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    admin.post("", json=bundle, headers={"Prefer": "return=minimal"}).raise_for_status()
