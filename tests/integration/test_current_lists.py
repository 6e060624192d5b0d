"""`$current-medications` and its kin: in `_list`, and by `List/$find`; what a merged patient and a fenced caller are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.store import Store
from tests.support.door import Door

LOINC = "http://loinc.org"
NAME = "$current-medications"


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door(store, keys_folder, monkeypatch)
    with made.client() as admin:
        for name in ("a", "b"):
            put(admin, {"resourceType": "Organization", "id": name, "name": name})
        for patient in ("1", "2"):
            put(admin, {"resourceType": "Patient", "id": patient})
            for n in range(3):
                put(admin, prescription(f"{patient}{n}", patient))
    return made


@pytest.fixture
def admin(door: Door) -> httpx.Client:
    return door.client(subject="admin")


def put(client: httpx.Client, resource: dict[str, Any]) -> None:
    answer = client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def prescription(name: str, patient: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": name,
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


def medication_list(name: str, *entries: str, patient: str = "1", code: str = "10160-0", **more: Any) -> dict[str, Any]:
    """A List; an entry whose name begins with `-` is marked as deleted."""
    listed = [
        {
            "item": {"reference": f"MedicationRequest/{entry.removeprefix('-')}"},
            **({"deleted": True} if entry.startswith("-") else {}),
        }
        for entry in entries
    ]
    base = {
        "resourceType": "List",
        "id": name,
        "status": "current",
        "mode": "changes" if any(entry.startswith("-") for entry in entries) else "working",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
    }
    return base | ({"entry": listed} if listed else {}) | more


def listed(client: httpx.Client, url: str) -> set[str]:
    bundle = client.get(url).raise_for_status().json()
    return {
        entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry.get("search", {}).get("mode") == "match"
    }


def found(client: httpx.Client, patient: str = "1", name: str = NAME) -> str | None:
    answer = client.get("List/$find", params={"patient": patient, "name": name})
    assert answer.status_code in (200, 404), answer.text
    return answer.json()["id"] if answer.status_code == 200 else None


@pytest.mark.parametrize(
    "url",
    [
        f"MedicationRequest?patient=1&_list={NAME}",
        f"MedicationRequest?subject=Patient/1&_list={NAME}",
        f"Patient/1/MedicationRequest?_list={NAME}",
    ],
)
def test_the_entries_of_the_current_list(admin: httpx.Client, url: str) -> None:
    assert listed(admin, url) == set()
    put(admin, medication_list("l", "10", "11"))
    assert listed(admin, url) == {"10", "11"}
    assert found(admin) == "l"
    put(admin, medication_list("l", "12"))
    assert listed(admin, url) == {"12"}


def test_the_newest_current_list_with_the_code_wins(admin: httpx.Client) -> None:
    put(admin, medication_list("retired", status="retired", date="2029"))
    put(admin, medication_list("problems", code="11450-4", date="2029"))
    assert found(admin) is None
    put(admin, medication_list("changes", "-10", "11", date="2029"))
    assert (found(admin), listed(admin, f"MedicationRequest?patient=1&_list={NAME}")) == ("changes", {"11"})
    put(admin, medication_list("undated"))
    assert found(admin) == "undated"
    put(admin, medication_list("new", date="2026-01-02T00:00:00+02:00"))
    put(admin, medication_list("old", date="2026-01-01"))
    assert (found(admin), found(admin, name="$current-problems")) == ("new", "problems")
    put(admin, medication_list("other", patient="2", date="2030"))
    assert (found(admin), found(admin, patient="Patient/2"), found(admin, "nobody")) == ("new", "other", None)


def test_a_patient_answers_for_the_one_that_it_replaces(admin: httpx.Client) -> None:
    """Its own list comes first, however old."""
    put(admin, medication_list("of-2", "20", patient="2", date="2026"))
    links = [{"type": "replaces", "other": {"reference": "Patient/2"}}]
    put(admin, {"resourceType": "Patient", "id": "1", "link": links})
    url = f"MedicationRequest?patient=1&_list={NAME}"
    assert (found(admin), listed(admin, url)) == ("of-2", {"20"})
    put(admin, medication_list("of-1", "10", "20", date="2001"))
    assert (found(admin), listed(admin, url)) == ("of-1", {"10", "20"})


def test_a_list_outside_of_the_fence_is_none(door: Door, admin: httpx.Client) -> None:
    put(admin, medication_list("l", "10"))
    for name, account in (("Patient/1", "a"), ("MedicationRequest/10", "b")):
        parameter = {"name": "accounts", "valueReference": {"reference": f"Organization/{account}"}}
        body = {"resourceType": "Parameters", "parameter": [parameter]}
        admin.post(f"{name}/$set-accounts", json=body).raise_for_status()
    other = door.client(accounts=["Organization/b"])
    assert listed(other, "MedicationRequest?patient=1") == {"10"}
    assert (found(other), listed(other, f"MedicationRequest?patient=1&_list={NAME}")) == (None, set())
    requests_only = door.client("system/MedicationRequest.rs")
    assert listed(requests_only, f"MedicationRequest?patient=1&_list={NAME}") == set()
    assert requests_only.get("List/$find", params={"patient": "1", "name": NAME}).status_code == 403
    patient = door.client("patient/*.rs", patient="1")
    assert (found(patient), listed(patient, f"MedicationRequest?patient=1&_list={NAME}")) == ("l", {"10"})


def test_a_list_is_found_by_a_form(admin: httpx.Client) -> None:
    put(admin, medication_list("l", "10"))
    answer = admin.post("List/$find", data={"patient": "1", "name": NAME})
    assert (answer.status_code, answer.json()["id"]) == (200, found(admin))


def test_finding_a_list_is_audited(admin: httpx.Client) -> None:
    put(admin, medication_list("l"))
    assert found(admin) == "l"
    events = admin.get("AuditEvent?entity=List/l&_sort=date").json()["entry"]
    assert [entry["resource"]["subtype"][0]["code"] for entry in events] == ["create", "operation"]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"MedicationRequest?_list={NAME}", "_list"),
        (f"MedicationRequest?_list={NAME}&patient=1,2", "_list"),
        (f"Patient/1/MedicationRequest?_list={NAME}&patient=2", "_list"),
        ("MedicationRequest?_list=$nothing&patient=1", "_list"),
        (f"List/$find?name={NAME}", "patient"),
        (f"List/$find?name={NAME}&patient=1&patient=2", "patient"),
        (f"List/$find?name={NAME}&patient=Group/1", "patient"),
        ("List/$find?patient=1", "name"),
        ("List/$find?patient=1&name=medications", "name"),
        (f"List/$find?patient=1&name={NAME}&surprise=1", "surprise"),
    ],
)
def test_what_is_not_understood(admin: httpx.Client, url: str, place: str) -> None:
    answer = admin.get(url)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [place])


def test_find_by_post(admin: httpx.Client) -> None:
    put(admin, medication_list("l"))
    given = [{"name": "patient", "valueId": "1"}, {"name": "name", "valueCode": NAME}]
    answer = admin.post("List/$find", json={"resourceType": "Parameters", "parameter": given})
    assert (answer.status_code, answer.json()["id"]) == (200, "l")
    twice = {"resourceType": "Parameters", "parameter": [*given, given[0]]}
    refused = admin.post("List/$find", json=twice)
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, ["Parameters.parameter[2]"])
    assert admin.get(f"Patient/$find?patient=1&name={NAME}").status_code == 404
