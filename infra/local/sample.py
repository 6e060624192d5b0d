"""The sample clinic: two organisations and their patients, all invented, the same on every run."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

Resource = dict[str, Any]

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
IDENTIFIERS = "https://bulkhead.example"

ORGANIZATIONS = {"harbour": "Harbour Clinic", "lighthouse": "Lighthouse Hospital"}
PRACTITIONERS = [
    ("moreau", "Moreau", "Camille", "harbour"),
    ("okafor", "Okafor", "Ada", "harbour"),
    ("lindqvist", "Lindqvist", "Nils", "lighthouse"),
]


class Person(NamedTuple):
    """One patient, and the details in which this stay differs from the others'."""

    id: str
    family: str
    given: str
    gender: str
    born: str
    organization: str
    practitioner: str
    conditions: tuple[tuple[str, str], ...]
    medications: tuple[tuple[str, str], ...]


PEOPLE = [
    Person("anna", "Keel", "Anna", "female", "1957-03-14", "harbour", "moreau",
           (("38341003", "Hypertensive disorder"), ("44054006", "Type 2 diabetes mellitus")),
           (("314076", "lisinopril 10 MG Oral Tablet"), ("860975", "metformin hydrochloride 500 MG Extended Release Oral Tablet"))),
    Person("bruno", "Mast", "Bruno", "male", "1984-11-02", "harbour", "okafor",
           (("195967001", "Asthma"),), (("245314", "albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"),)),
    Person("chidi", "Stern", "Chidi", "male", "2011-06-25", "lighthouse", "lindqvist",
           (("65363002", "Otitis media"),), (("308182", "amoxicillin 250 MG Oral Capsule"),)),
    Person("dora", "Halyard", "Dora", "female", "1939-09-08", "lighthouse", "lindqvist",
           (("84114007", "Heart failure"), ("49436004", "Atrial fibrillation")),
           (("855332", "warfarin sodium 5 MG Oral Tablet"), ("310429", "furosemide 20 MG Oral Tablet"))),
]  # fmt: skip

# LOINC code, name, first value, step from visit to visit, unit
VITALS = [
    ("8867-4", "Heart rate", 72, 3, "/min"),
    ("8310-5", "Body temperature", 36.6, 0.1, "Cel"),
    ("29463-7", "Body weight", 68.5, 0.4, "kg"),
    ("2708-6", "Oxygen saturation in Arterial blood", 97, -1, "%"),
]
FIRST_VISIT = date(2026, 1, 12)
VISITS = 3


def bundle() -> Resource:
    """The whole clinic as one transaction. Every entry is an update with a fixed id, so loading it again adds nothing."""
    entries = [
        {"resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}
        for resource in resources()
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def resources() -> Iterator[Resource]:
    """Every resource of the clinic. Patients have their organisation in meta.accounts; the resources in their compartments inherit it."""
    for name, title in ORGANIZATIONS.items():
        yield _resource("Organization", name, active=True, name=title, identifier=_identifier("organization", name))
    for name, family, given, organization in PRACTITIONERS:
        yield from _practitioner(name, family, given, organization=organization)
    for number, person in enumerate(PEOPLE):
        yield from _record(person, number)


def _practitioner(name: str, family: str, given: str, *, organization: str) -> Iterator[Resource]:
    yield _resource(
        "Practitioner",
        name,
        active=True,
        identifier=_identifier("practitioner", name),
        name=[{"family": family, "given": [given], "prefix": ["Dr."]}],
    )
    yield _resource(
        "PractitionerRole",
        name,
        active=True,
        practitioner=_reference("Practitioner", name),
        organization=_reference("Organization", organization),
        code=[_concept(SNOMED, "59058001", "General physician")],
    )


def _record(person: Person, number: int) -> Iterator[Resource]:
    yield _patient(person)
    visits = [FIRST_VISIT + timedelta(days=7 * number + 60 * visit) for visit in range(VISITS)]
    for visit, day in enumerate(visits):
        yield _encounter(person, visit, day)
        for vital in range(len(VITALS)):
            yield _observation(person, visit, day, vital=vital)
    for index, (code, text) in enumerate(person.conditions):
        yield _condition(person, index, code, text=text, day=visits[0])
    for index, (code, text) in enumerate(person.medications):
        yield _medication_request(person, index, code, text=text, day=visits[0])
    yield _medication_list(person, visits[-1])
    yield from _letter(person, visits[-1])


def _patient(person: Person) -> Resource:
    return _resource(
        "Patient",
        person.id,
        meta={"accounts": [_reference("Organization", person.organization)]},
        active=True,
        identifier=_identifier("patient", person.id),
        name=[{"use": "official", "family": person.family, "given": [person.given]}],
        gender=person.gender,
        birthDate=person.born,
        managingOrganization=_reference("Organization", person.organization),
        generalPractitioner=[_reference("Practitioner", person.practitioner)],
    )


def _encounter(person: Person, visit: int, day: date) -> Resource:
    return _resource(
        "Encounter",
        f"{person.id}-{visit}",
        status="finished",
        **{"class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": "AMB", "display": "ambulatory"}},
        type=[_concept(SNOMED, "185349003", "Encounter for check up")],
        subject=_reference("Patient", person.id),
        participant=[{"individual": _reference("Practitioner", person.practitioner)}],
        period={"start": f"{day}T09:00:00Z", "end": f"{day}T09:30:00Z"},
        serviceProvider=_reference("Organization", person.organization),
    )


def _observation(person: Person, visit: int, day: date, *, vital: int) -> Resource:
    code, text, first, step, unit = VITALS[vital]
    return _resource(
        "Observation",
        f"{person.id}-{visit}-{vital}",
        status="final",
        category=[_concept(f"{TERMINOLOGY}/observation-category", "vital-signs", "Vital Signs")],
        code=_concept(LOINC, code, text),
        subject=_reference("Patient", person.id),
        encounter=_reference("Encounter", f"{person.id}-{visit}"),
        effectiveDateTime=f"{day}T09:10:00Z",
        performer=[_reference("Practitioner", person.practitioner)],
        valueQuantity={"value": round(first + step * visit, 1), "unit": unit, "system": UCUM, "code": unit},
    )


def _condition(person: Person, index: int, code: str, *, text: str, day: date) -> Resource:
    return _resource(
        "Condition",
        f"{person.id}-{index}",
        clinicalStatus=_concept(f"{TERMINOLOGY}/condition-clinical", "active", "Active"),
        verificationStatus=_concept(f"{TERMINOLOGY}/condition-ver-status", "confirmed", "Confirmed"),
        code=_concept(SNOMED, code, text),
        subject=_reference("Patient", person.id),
        encounter=_reference("Encounter", f"{person.id}-0"),
        recordedDate=str(day),
    )


def _medication_request(person: Person, index: int, code: str, *, text: str, day: date) -> Resource:
    return _resource(
        "MedicationRequest",
        f"{person.id}-{index}",
        status="active",
        intent="order",
        medicationCodeableConcept=_concept(RXNORM, code, text),
        subject=_reference("Patient", person.id),
        encounter=_reference("Encounter", f"{person.id}-0"),
        authoredOn=str(day),
        requester=_reference("Practitioner", person.practitioner),
        dosageInstruction=[
            {"text": "Once a day", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}
        ],
    )


def _medication_list(person: Person, day: date) -> Resource:
    """The shared medication list, LOINC 10160-0."""
    requests = [_reference("MedicationRequest", f"{person.id}-{index}") for index in range(len(person.medications))]
    return _resource(
        "List",
        f"{person.id}-medications",
        status="current",
        mode="working",
        title="Medication list",
        code=_concept(LOINC, "10160-0", "History of Medication use Narrative"),
        subject=_reference("Patient", person.id),
        date=f"{day}T10:00:00Z",
        source=_reference("Practitioner", person.practitioner),
        entry=[{"item": request} for request in requests],
    )


def _letter(person: Person, day: date) -> Iterator[Resource]:
    text = f"Visit of {day}. Findings as recorded; to be seen again in two months."
    yield _resource(
        "Binary",
        f"{person.id}-letter",
        contentType="text/plain",
        securityContext=_reference("Patient", person.id),
        data=base64.b64encode(text.encode()).decode(),
    )
    yield _resource(
        "DocumentReference",
        f"{person.id}-letter",
        status="current",
        type=_concept(LOINC, "11488-4", "Consult note"),
        subject=_reference("Patient", person.id),
        date=f"{day}T11:00:00Z",
        author=[_reference("Practitioner", person.practitioner)],
        custodian=_reference("Organization", person.organization),
        content=[{"attachment": {"contentType": "text/plain", "url": f"Binary/{person.id}-letter"}}],
        context={"encounter": [_reference("Encounter", f"{person.id}-{VISITS - 1}")]},
    )


def _resource(resource_type: str, resource_id: str, /, **elements: Any) -> Resource:
    return {"resourceType": resource_type, "id": resource_id, **elements}


def _reference(resource_type: str, identifier: str) -> Resource:
    return {"reference": f"{resource_type}/{identifier}"}


def _identifier(kind: str, value: str) -> list[Resource]:
    return [{"system": f"{IDENTIFIERS}/{kind}", "value": value}]


def _concept(system: str, code: str, text: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}
