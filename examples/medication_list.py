"""A shared medication list: one List of the patient, which everybody who prescribes reads first and changes as a whole.

python examples/medication_list.py --base http://127.0.0.1:8000/fhir/R4 --token "$TOKEN"
"""

from __future__ import annotations

from uuid import uuid4

import httpx
from fhir.resources.R4B.list import List
from fhir.resources.R4B.medicationdispense import MedicationDispense
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.patient import Patient
from fhir_client import (
    accepted,
    arguments,
    changed,
    coded,
    connect,
    key,
    model,
    read,
    search,
    send,
    to_post,
    to_put,
    version,
)

LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
FLAGS = "urn:oid:1.2.36.1.2001.1001.101.104.16592"
LISINOPRIL, METFORMIN, LOSARTAN = "lisinopril 10 MG", "metformin 500 MG", "losartan potassium 50 MG"
MEDICATIONS = coded(LOINC, "10160-0", "History of medication use")


def prescription(patient: str, code: str, name: str) -> MedicationRequest:
    return MedicationRequest(
        status="active",
        intent="order",
        medicationCodeableConcept=coded(RXNORM, code, name),
        subject={"reference": patient},
        authoredOn="2026-03-01",
    )


def begin(client: httpx.Client) -> str:
    """A patient, two prescriptions and the List that holds them, in one transaction. Returns `Patient/id`."""
    patient, lisinopril, metformin = (f"urn:uuid:{uuid4()}" for _ in range(3))
    medications = List(
        status="current",
        mode="working",
        code=MEDICATIONS,
        subject={"reference": patient},
        date="2026-03-01",
        entry=[{"item": {"reference": lisinopril}}, {"item": {"reference": metformin}}],
    )
    made = send(
        client,
        to_post(Patient(active=True, name=[{"family": "Example", "given": ["Nora"]}]), patient),
        to_post(prescription(patient, "314076", LISINOPRIL), lisinopril),
        to_post(prescription(patient, "860975", METFORMIN), metformin),
        to_post(medications),
    )
    return key(made[0])


def current_list(client: httpx.Client, patient: str) -> List:
    """The patient's medication list: by its code, as anybody who knows LOINC finds it."""
    [found] = search(client, List, f"{patient}/List", code=f"{LOINC}|10160-0", status="current")
    return found


def takes(client: httpx.Client, patient: str) -> list[MedicationRequest]:
    """What the patient takes: the prescriptions that the current list names."""
    return search(client, MedicationRequest, f"{patient}/MedicationRequest", _list="$current-medications")


def change(client: httpx.Client, patient: str) -> None:
    """Stop one medication, add another: both prescriptions and the List change together, or not at all."""
    medications = current_list(client, patient)
    old, kept = sorted(takes(client, patient), key=lambda one: one.medicationCodeableConcept.text != LISINOPRIL)
    losartan = f"urn:uuid:{uuid4()}"
    entries = [
        {"item": {"reference": f"MedicationRequest/{old.id}"}, "deleted": True, "flag": coded(FLAGS, "03", "Ceased")},
        {"item": {"reference": f"MedicationRequest/{kept.id}"}, "flag": coded(FLAGS, "05", "Unchanged")},
        {"item": {"reference": losartan}, "flag": coded(FLAGS, "01", "Prescribed")},
    ]
    send(
        client,
        to_put(changed(old, status="stopped"), if_match=version(old)),
        to_post(prescription(patient, "979480", LOSARTAN), losartan),
        # Only a List of mode `changes` has deleted entries. Who has read an older List than this gets 412, and reads it again.
        to_put(changed(medications, mode="changes", date="2026-04-01", entry=entries), if_match=version(medications)),
    )


def timeline(client: httpx.Client, medications: List) -> list[str]:
    """What the List held in each of its versions, the oldest first: its history, and one read of each version."""
    history = accepted(client.get(f"List/{medications.id}/_history")).json()
    lines = []
    for entry in reversed(history["entry"]):
        number = entry["resource"]["meta"]["versionId"]
        then = read(client, List, f"List/{medications.id}/_history/{number}")
        items = [f"{'-' if item.deleted else '+'}{item.item.reference}" for item in then.entry]
        lines.append(f"version {number}, {then.mode}: {', '.join(items)}")
    return lines


def dispense(client: httpx.Client, patient: str) -> list[MedicationDispense]:
    """A pharmacy tells of a month's dispenses in a batch, whose entries stand alone; then, what was handed over in May."""
    days = ("2026-04-03", "2026-05-04", "2026-05-30", "2026-06-02")
    dispenses = [
        MedicationDispense(
            status="completed",
            medicationCodeableConcept=coded(RXNORM, "979480", LOSARTAN),
            subject={"reference": patient},
            whenHandedOver=day,
        )
        for day in days
    ]
    send(client, *(to_post(one) for one in dispenses), kind="batch")
    period = {"whenhandedover": ["ge2026-05-01", "lt2026-06-01"]}
    found = accepted(client.get(f"{patient}/MedicationDispense", params=period)).json()
    return [model(MedicationDispense, entry["resource"]) for entry in found["entry"]]


def run(client: httpx.Client) -> str:
    """The whole story. Returns the patient, as `Patient/id`."""
    patient = begin(client)
    change(client, patient)
    medications = current_list(client, patient)
    for line in timeline(client, medications):
        print(line)
    print("takes:", ", ".join(sorted(one.medicationCodeableConcept.text for one in takes(client, patient))))
    stale = changed(medications, note=[{"text": "made from an older version"}])
    refused = client.put(f"List/{stale.id}", content=stale.model_dump_json(), headers={"If-Match": 'W/"1"'})
    print("a change that is made from version 1:", refused.status_code)
    print("handed over in May:", ", ".join(sorted(str(one.whenHandedOver) for one in dispense(client, patient))))
    # The same List, for who asks for it by its purpose.
    found = accepted(client.get("List/$find", params={"patient": patient, "name": "$current-medications"})).json()
    print("$find gives the same List:", found["id"] == medications.id)
    return patient


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0])
    with connect(given.base, given.token) as connection:
        run(connection)
