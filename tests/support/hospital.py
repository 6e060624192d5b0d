"""A small hospital with something odd in every corner: what the table of cases searches."""

from __future__ import annotations

from typing import Any

from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC, SNOMED, coding, quantity

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
UCUM = "http://unitsofmeasure.org"


def one(resource_type: str, id: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": resource_type, "id": id, **content}


def to(key: str) -> dict[str, Any]:
    return {"reference": key}


def observation(id: str, code: str, subject: Any = "Patient/p1", **content: Any) -> dict[str, Any]:
    concept = {"coding": [{**coding(LOINC, code), "display": "Some thing"}], "text": f"Text of {code}"}
    target = to(subject) if isinstance(subject, str) else subject
    return one("Observation", id, status="final", code=concept, subject=target, **content)


def component(code: str, value: Any) -> dict[str, Any]:
    return {"code": {"coding": [coding(LOINC, code)]}, "valueQuantity": quantity(value, "mm[Hg]")}


def procedure(id: str, **content: Any) -> dict[str, Any]:
    return one("Procedure", id, status="completed", **content)


PEOPLE = [
    one("Organization", "o1", name="Alpha Hospital"),
    one("Organization", "o2", name="Alpha Clinic", partOf=to("Organization/o1")),
    one("Practitioner", "dr1", name=[{"family": "House", "given": ["Greg"]}]),
    one("Practitioner", "dr2", name=[{"family": "Wilson"}]),
    one(
        "Patient",
        "p1",
        name=[{"family": "Müller", "given": ["Jörg", "Peter"], "prefix": ["Dr."]}],
        gender="male",
        birthDate="1970-01-01",
        identifier=[{"system": "urn:mrn", "value": "A1", "type": {"coding": [coding(V2, "MR")], "text": "Record"}}],
        address=[{"city": "St. Gallen", "line": ["Hauptstrasse 1"], "postalCode": "9000", "use": "home"}],
        telecom=[{"system": "phone", "value": "+41 71 000", "use": "home"}, {"system": "email", "value": "j@x.ch"}],
        managingOrganization=to("Organization/o1"),
        generalPractitioner=[to("Practitioner/dr1")],
        active=True,
        meta={
            "tag": [coding("http://tags", "red")],
            "security": [coding("http://sec", "R")],
            "profile": ["http://prof/a|1.0", "http://prof/b"],
            "source": "http://src/1",
        },
    ),
    one(
        "Patient",
        "p2",
        name=[{"family": "MULLER"}],
        gender="female",
        birthDate="1980",
        identifier=[{"system": "urn:mrn", "value": "a1"}],
        active=False,
        deceasedBoolean=True,
    ),
    one(
        "Patient",
        "p3",
        name=[{"text": "van der Berg, Anna", "family": "Berg", "given": ["Anna"]}],
        gender="other",
        birthDate="1990-05",
        deceasedDateTime="2020-01-01",
        identifier=[{"value": "A1"}, {"system": "urn:a|b", "value": "x,y$z\\w"}],
        managingOrganization=to("Organization/o2"),
    ),
    one(
        "Patient",
        "p4",
        name=[{"given": ["Mu ller", "O'Neil"]}],
        identifier=[{"system": "urn:other", "value": "A1"}],
        generalPractitioner=[to("Practitioner/dr1"), to("Practitioner/dr2")],
    ),
    one("Patient", "p5", link=[{"other": to("Patient/p4"), "type": "seealso"}]),
]

CARE = [
    one(
        "Encounter",
        "e1",
        status="finished",
        subject=to("Patient/p1"),
        period={"start": "2020-01-01", "end": "2020-01-02"},
        participant=[{"individual": to("Practitioner/dr1")}],
        **{"class": coding(ACT, "AMB")},
    ),
    one(
        "Encounter",
        "e2",
        status="planned",
        subject=to("Patient/p2"),
        partOf=to("Encounter/e1"),
        **{"class": coding(ACT, "IMP")},
    ),
    observation(
        "bp1",
        "85354-9",
        component=[component("8480-6", 150), component("8462-4", 80)],
        encounter=to("Encounter/e1"),
        effectiveDateTime="2020-01-01",
        performer=[to("Practitioner/dr1")],
    ),
    observation(
        "bp2",
        "85354-9",
        "Patient/p2",
        component=[component("8480-6", 110), component("8462-4", 150)],
        encounter=to("Encounter/e2"),
        effectiveDateTime="2020-02-01",
    ),
    observation("w1", "29463-7", valueQuantity=quantity(70, "kg"), effectiveDateTime="2020-03-01"),
    observation("w2", "29463-7", "Patient/p2", valueQuantity=quantity(70000, "g"), effectiveDateTime="2020-04-01"),
    observation("w3", "29463-7", valueQuantity=quantity(154, "[lb_av]"), effectiveDateTime="2020-05-01"),
    observation("t1", "8310-5", valueQuantity=quantity(37, "Cel")),
    observation(
        "cc",
        "cc",
        valueCodeableConcept={"coding": [{**coding(SNOMED, "260385009"), "display": "Negative"}], "text": "neg"},
    ),
    observation("st", "st", valueString="Positive reaction"),
    observation("lid", "lid", {"identifier": {"system": "urn:mrn", "value": "A1"}}),
    observation("abs", "abs", "http://other.org/fhir/Patient/p1"),
    observation("ver", "ver", "Patient/p1/_history/1"),
    one("List", "l1", status="current", mode="working", entry=[{"item": to("Patient/p1")}, {"item": to("Patient/p3")}]),
    one("Questionnaire", "q1", status="active", url="http://q/1", version="1.2.3", title="First"),
    one("Questionnaire", "q2", status="active", url="http://q/1", version="2.0.0", title="Second"),
    one("Questionnaire", "q3", status="draft", title="Nameless"),
    one("Library", "lib", status="active", url="http://lib/1", title="Logic"),
    one("Measure", "me", status="active", url="http://m/1", library=["http://lib/1"]),
    one("MeasureReport", "mr", status="complete", measure="http://m/1"),
    one("QuestionnaireResponse", "r1", status="completed", questionnaire="http://q/1|1.2.3"),
    one("QuestionnaireResponse", "r2", status="completed", questionnaire="http://q/1"),
    one("QuestionnaireResponse", "r3", status="in-progress", questionnaire="http://q/1|2.0.0"),
    one("QuestionnaireResponse", "r4", status="in-progress", questionnaire="Questionnaire/q3"),
    one("QuestionnaireResponse", "r5", status="stopped", questionnaire="http://nowhere/1"),
]

NUMBERS = {"a": "99.4", "b": "99.5", "c": "100", "d": "100.4", "e": "100.5", "f": "110", "g": "90", "h": "111"}
DATES: dict[str, dict[str, Any]] = {
    "1": {"performedDateTime": "2020"},
    "2": {"performedDateTime": "2020-03"},
    "3": {"performedDateTime": "2020-03-10"},
    "4": {"performedDateTime": "2020-03-10T10:00:00Z"},
    "5": {"performedDateTime": "2020-03-10T23:30:00-05:00"},
    "6": {"performedPeriod": {"start": "2020-03-01", "end": "2020-03-31"}},
    "7": {"performedPeriod": {"start": "2020-03-10"}},
    "8": {"performedPeriod": {"end": "2020-03-10"}},
    "9": {"performedString": "march"},
    "a": {"performedDateTime": "2020-03-10T10:00:00.123Z"},
    "b": {"performedDateTime": "2020-03-11T00:00:00Z"},
}


def hospital() -> MemoryStore:
    store = MemoryStore()
    for resource in [*PEOPLE, *CARE]:
        store.put(resource, ("Organization/o1",) if resource["id"] in ("p1", "w1") else ())
    for name, value in NUMBERS.items():
        store.put(observation(name, "num", "Patient/none", valueQuantity=quantity(float(value))))
    for name, content in DATES.items():
        store.put(procedure(name, **content))
    return store
