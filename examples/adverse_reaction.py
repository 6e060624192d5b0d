"""An adverse reaction: a clinician prescribes penicillin, the patient tells of a rash, the clinician makes an allergy of it.

TOKEN=...            # a clinician's
PATIENT_TOKEN=...    # of the patient: make token ARGS="--patient nora-example --scope 'patient/*.rs patient/AllergyIntolerance.cu'"
python examples/adverse_reaction.py --patient nora-example --token "$TOKEN" --patient-token "$PATIENT_TOKEN"
"""

from __future__ import annotations

import httpx
from fhir.resources.R4B.adverseevent import AdverseEvent
from fhir.resources.R4B.allergyintolerance import AllergyIntolerance
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.patient import Patient
from fhir_client import arguments, changed, coded, connect, create, read, search, send, to_post, to_put, update, version

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"
CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
PENICILLIN = coded(RXNORM, "7980", "penicillin G")


def prescribe(clinician: httpx.Client, patient: str) -> MedicationRequest:
    return create(
        clinician,
        MedicationRequest(
            status="active", intent="order", medicationCodeableConcept=PENICILLIN, subject={"reference": patient}
        ),
    )


def tell(person: httpx.Client, patient: str) -> AllergyIntolerance:
    """The patient's own entry: what happened, not confirmed by anybody yet."""
    return create(
        person,
        AllergyIntolerance(
            clinicalStatus=coded(CLINICAL, "active", "Active"),
            verificationStatus=coded(VERIFICATION, "unconfirmed", "Unconfirmed"),
            code=PENICILLIN,
            patient={"reference": patient},
            recorder={"reference": patient},
            asserter={"reference": patient},
            reaction=[{"manifestation": [coded(SNOMED, "271807003", "Rash")], "onset": "2026-05-02"}],
        ),
    )


def reconcile(clinician: httpx.Client, told: AllergyIntolerance, prescribed: MedicationRequest) -> None:
    """The clinician confirms what the patient has told, stops the penicillin and writes down the event: together, or not at all."""
    confirmed = changed(told, verificationStatus=coded(VERIFICATION, "confirmed", "Confirmed"), criticality="high")
    event = AdverseEvent(
        actuality="actual",
        subject=told.patient,
        event=coded(SNOMED, "62014003", "Adverse reaction caused by drug"),
        date="2026-05-02",
        suspectEntity=[{"instance": {"type": "Medication", "display": "penicillin G"}}],
    )
    send(
        clinician,
        to_put(confirmed, if_match=version(told)),
        to_put(changed(prescribed, status="stopped"), if_match=version(prescribed)),
        to_post(event),
    )


def run(clinician: httpx.Client, person: httpx.Client, patient: str) -> AllergyIntolerance:
    """The whole story for `Patient/id`, who uses the client `person`. Returns the allergy."""
    identifier = patient.partition("/")[2]
    update(clinician, Patient(id=identifier, name=[{"family": "Example", "given": ["Nora"]}]))
    prescribed = prescribe(clinician, patient)
    seen = search(person, MedicationRequest, f"{patient}/MedicationRequest")
    print("the patient sees:", seen[-1].medicationCodeableConcept.text)

    told = tell(person, patient)
    # While the clinician looks at it, the patient adds a line: the clinician's change was made from what is not there any more.
    update(person, changed(told, note=[{"text": "It began on the second day."}]), if_match=version(told))
    try:
        reconcile(clinician, told, prescribed)
    except RuntimeError as refused:
        print("made from an older version:", refused)
    [now] = search(clinician, AllergyIntolerance, f"{patient}/AllergyIntolerance", _id=told.id)
    reconcile(clinician, now, prescribed)
    allergy = read(person, AllergyIntolerance, f"AllergyIntolerance/{told.id}")
    print(f"version {allergy.meta.versionId}:", allergy.verificationStatus.text, "-", allergy.note[0].text)
    return allergy


if __name__ == "__main__":
    given = arguments(
        __doc__.splitlines()[0],
        patient="the patient's id; default: nora-example",
        patient_token="the patient's own token; none for a server that was started with --no-auth",
    )
    with connect(given.base, given.token) as one, connect(given.base, given.patient_token) as other:
        run(one, other, f"Patient/{given.patient or 'nora-example'}")
