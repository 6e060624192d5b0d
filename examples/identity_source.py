"""An identity source that finds two Patients to be one person, and tells the server: as a pushed Bundle, or by `Patient/$merge`.

python examples/identity_source.py --base http://127.0.0.1:8000/fhir/R4 --token "$TOKEN"
"""

from __future__ import annotations

from uuid import uuid4

import httpx
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.parameters import Parameters
from fhir.resources.R4B.patient import Patient
from fhir_client import accepted, arguments, changed, coded, connect, create, model, read, search, send, to_put, version

SYSTEM = "https://identity.example/person"


def register(client: httpx.Client, family: str) -> Patient:
    """A Patient with one Observation."""
    identifier = {"system": SYSTEM, "value": str(uuid4())}
    patient = create(client, Patient(identifier=[identifier], active=True, name=[{"family": family}]))
    create(
        client,
        Observation(
            status="final",
            code=coded("http://loinc.org", "29463-7", "Body weight"),
            subject={"reference": f"Patient/{patient.id}"},
            valueQuantity={"value": 71, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        ),
    )
    return patient


def link(kind: str, other: Patient) -> dict[str, object]:
    return {"type": kind, "other": {"reference": f"Patient/{other.id}"}}


def push(client: httpx.Client, source: Patient, target: Patient) -> None:
    """Both Patients as they are after the merge. To push it again changes nothing."""
    stays = changed(target, link=[*(target.link or []), link("replaces", source)])
    goes = changed(source, active=False, link=[*(source.link or []), link("replaced-by", target)])
    entries = (to_put(stays, if_match=version(target)), to_put(goes, if_match=version(source)))
    send(client, *entries, to="service/patient/merge")


def merge(client: httpx.Client, source: Patient, target: Patient, *, preview: bool) -> tuple[str, Patient]:
    """The same by identifiers, and the server makes both Patients. Returns what it says, and the target."""
    call = Parameters(
        parameter=[
            {"name": "source-patient-identifier", "valueIdentifier": source.identifier[0]},
            {"name": "target-patient-identifier", "valueIdentifier": target.identifier[0]},
            {"name": "preview", "valueBoolean": preview},
        ]
    )
    answer = accepted(client.post("Patient/$merge", content=call.model_dump_json())).json()
    parts = {part["name"]: part["resource"] for part in answer["parameter"]}
    return model(OperationOutcome, parts["outcome"]).issue[0].diagnostics, model(Patient, parts["result"])


def run(client: httpx.Client) -> tuple[str, str, str]:
    """The whole story. Returns the ids of the three Patients; the first stays."""
    first, second, third = (register(client, family) for family in ("Keel", "Kiel", "Keal"))
    push(client, second, first)
    push(client, second, first)
    target = read(client, Patient, f"Patient/{first.id}")

    for preview in (True, False, False):
        said, result = merge(client, third, target, preview=preview)
        print(f"{said}; it replaces {len(result.link)}")
    observations = search(client, Observation, f"Patient/{first.id}/Observation")
    subjects = sorted({one.subject.reference for one in observations})
    print(f"Patient/{first.id} answers for {len(observations)} Observations, of {len(subjects)} Patients")

    try:
        merge(client, target, third, preview=False)
    except RuntimeError as refused:
        print("the other way round:", refused)
    return first.id, second.id, third.id


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0])
    with connect(given.base, given.token) as connection:
        run(connection)
