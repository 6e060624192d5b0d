"""What clinicians and billing offices ask of Synthea's data, counted by the server and by plain Python over the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running import pages
from tests.support.synthea import (
    Records,
    Resource,
    amount,
    begins,
    codes,
    components,
    kilometres,
    names,
    subject,
    when,
    within,
)

pytestmark = pytest.mark.xdist_group("real data")

BRUEN, TERRY = "Bruen238", "Terry864"
LOINC, NPI, RXNORM = "http://loinc.org", "http://hl7.org/fhir/sid/us-npi", "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"

Count = Callable[[Records, Resource], Any]
"""(records, one resource) -> whether it counts."""


@pytest.fixture(scope="module")
def records(synthea: Path) -> Records:
    return Records(synthea)


@pytest.fixture(scope="module")
def ids(loaded: httpx.Client) -> dict[str, str]:
    """The ids that the server has given to patients, by family name."""
    entries = pages(loaded, "/Patient?_count=100&_elements=name")
    return {entry["resource"]["name"][0]["family"]: entry["resource"]["id"] for entry in entries}


def total(client: httpx.Client, query: str) -> int:
    answer = client.get(f"{query}&_summary=count").raise_for_status()
    return int(answer.json()["total"])


def of(family: str) -> Count:
    return lambda records, one: subject(one) == records.patient(family)


def patient(records: Records, resource: Resource) -> Resource:
    return records.by_name[subject(resource)]


def about(records: Records, kind: str, patient: Resource) -> Iterable[Resource]:
    return (one for one in records.of(kind) if subject(one) == patient["@name"])


# /Type?query -> which resources of the type count.
QUERIES: list[tuple[str, Count]] = [
    # Vital signs and laboratory values.
    (f"Observation?code={LOINC}|29463-7", lambda r, o: "29463-7" in codes(o["code"])),
    ("Observation?code=8302-2,29463-7", lambda r, o: codes(o["code"]) & {"8302-2", "29463-7"}),
    ("Observation?code=29463-7&value-quantity=gt90||kg", lambda r, o: "29463-7" in codes(o["code"]) and amount(o) > 90),
    (
        f"Observation?code=29463-7&value-quantity=gt90000|{UCUM}|g",
        lambda r, o: "29463-7" in codes(o["code"]) and amount(o) > 90,
    ),
    (
        "Observation?code=29463-7&date=ge2015-01-01&date=lt2019-01-01",
        lambda r, o: "29463-7" in codes(o["code"]) and within(o["effectiveDateTime"], "2015-01-01", "2019-01-01"),
    ),
    (
        f"Observation?component-code-value-quantity={LOINC}|8480-6$gt130",
        lambda r, o: any(value > 130 for value in components(o, "8480-6")),
    ),
    (
        "Observation?component-code-value-quantity=8480-6$gt120&component-code-value-quantity=8462-4$gt80",
        lambda r, o: any(v > 120 for v in components(o, "8480-6")) and any(v > 80 for v in components(o, "8462-4")),
    ),
    (
        "Observation?code=72166-2&value-concept=266919005",
        lambda r, o: "72166-2" in codes(o["code"]) and "266919005" in codes(o.get("valueCodeableConcept")),
    ),
    (
        "Observation?category=vital-signs&date=ge2018&date=lt2019",
        lambda r, o: (
            "vital-signs" in codes(o.get("category")) and within(o.get("effectiveDateTime"), "2018-01-01", "2019-01-01")
        ),
    ),
    (
        "Observation?code=2339-0&value-quantity=ge80&value-quantity=le100",
        lambda r, o: "2339-0" in codes(o["code"]) and 80 <= amount(o) <= 100,
    ),
    (
        "Observation?code=29463-7&patient.gender=female",
        lambda r, o: "29463-7" in codes(o["code"]) and patient(r, o)["gender"] == "female",
    ),
    (
        "Observation?code=8302-2&encounter.class=AMB",
        lambda r, o: "8302-2" in codes(o["code"]) and r.to(o.get("encounter")).get("class", {}).get("code") == "AMB",
    ),
    (
        "Observation?code:text=body&status=final&value-quantity=lt20",
        lambda r, o: (
            begins(
                {c.get("display", "").lower() for c in o["code"]["coding"]} | {o["code"].get("text", "").lower()},
                "body",
            )
            and float("-inf") < amount(o) < 20
        ),
    ),
    # Conditions.
    ("Condition?clinical-status=active", lambda r, c: "active" in codes(c.get("clinicalStatus"))),
    (
        "Condition?clinical-status=active&onset-date=ge2010-01-01",
        lambda r, c: "active" in codes(c.get("clinicalStatus")) and when(c.get("onsetDateTime")) >= when("2010-01-01"),
    ),
    ("Condition?abatement-date:missing=true", lambda r, c: not any(name.startswith("abatement") for name in c)),
    (
        "Condition?code=444814009&patient.gender=male",
        lambda r, c: "444814009" in codes(c["code"]) and patient(r, c)["gender"] == "male",
    ),
    (
        "Condition?code:text=acute",
        lambda r, c: begins(
            {coding.get("display", "").lower() for coding in c["code"].get("coding", ())}
            | {c["code"].get("text", "").lower()},
            "acute",
        ),
    ),
    (
        "Condition?clinical-status:not=active&patient.name=bruen",
        lambda r, c: "active" not in codes(c.get("clinicalStatus")) and of(BRUEN)(r, c),
    ),
    # Medication.
    (f"MedicationRequest?code={RXNORM}|314076", lambda r, m: "314076" in codes(m.get("medicationCodeableConcept"))),
    ("MedicationRequest?status=active&intent=order", lambda r, m: (m["status"], m["intent"]) == ("active", "order")),
    (
        "MedicationRequest?authoredon=ge2000&authoredon=lt2010",
        lambda r, m: within(m.get("authoredOn"), "2000-01-01", "2010-01-01"),
    ),
    (
        "MedicationRequest?code=310798&patient.name=Christian753",
        lambda r, m: "310798" in codes(m.get("medicationCodeableConcept")) and of(BRUEN)(r, m),
    ),
    (
        f"MedicationRequest?requester:Practitioner.identifier={NPI}|9999907059",
        lambda r, m: "9999907059" in {i["value"] for i in r.to(m.get("requester")).get("identifier", ())},
    ),
    # Encounters.
    ("Encounter?class=EMER", lambda r, e: e["class"]["code"] == "EMER"),
    ("Encounter?class:not=AMB", lambda r, e: e["class"]["code"] != "AMB"),
    (
        "Encounter?class=AMB&date=ge2015-01-01&date=lt2017-01-01",
        lambda r, e: (
            e["class"]["code"] == "AMB"
            and when(e["period"]["end"]) >= when("2015-01-01")
            and when(e["period"]["start"]) < when("2017-01-01")
        ),
    ),
    (
        "Encounter?class=IMP&patient.birthdate=lt1945",
        lambda r, e: e["class"]["code"] == "IMP" and patient(r, e)["birthDate"] < "1945",
    ),
    (
        "Encounter?service-provider.address-city=boston",
        lambda r, e: any(
            a.get("city", "").lower().startswith("boston") for a in r.to(e.get("serviceProvider")).get("address", ())
        ),
    ),
    # What was done.
    (
        "Procedure?code=127783003&date=ge2012",
        lambda r, p: (
            "127783003" in codes(p["code"]) and when(p.get("performedPeriod", {}).get("start")) >= when("2012-01-01")
        ),
    ),
    (
        "Immunization?vaccine-code=140&date=ge2015-06-01",
        lambda r, i: "140" in codes(i["vaccineCode"]) and when(i["occurrenceDateTime"]) >= when("2015-06-01"),
    ),
    (
        "Immunization?vaccine-code=140,113&patient.birthdate=lt1950",
        lambda r, i: codes(i["vaccineCode"]) & {"140", "113"} and patient(r, i)["birthDate"] < "1950",
    ),
    (
        "DiagnosticReport?result.code=2093-3",
        lambda r, d: any("2093-3" in codes(r.to(one).get("code")) for one in d.get("result", ())),
    ),
    (
        "DiagnosticReport?code=57698-3&issued=ge2010",
        lambda r, d: "57698-3" in codes(d["code"]) and when(d.get("issued")) >= when("2010-01-01"),
    ),
    (
        "DocumentReference?type=34117-2&status=current",
        lambda r, d: "34117-2" in codes(d["type"]) and d["status"] == "current",
    ),
    ("CarePlan?category=134435003", lambda r, p: "134435003" in codes(p.get("category"))),
    ("CareTeam?participant=Patient/{Bruen238}", of(BRUEN)),
    # Money.
    (
        "Claim?provider.name=cape cod",
        lambda r, c: begins(names(r.to(c.get("provider"))), "cape cod"),
    ),
    (
        "Claim?created=ge2018-01-01&use=claim",
        lambda r, c: when(c.get("created")) >= when("2018-01-01") and c["use"] == "claim",
    ),
    (
        "ExplanationOfBenefit?claim.use=claim&patient=Patient/{Terry864}",
        lambda r, e: r.to(e.get("claim")).get("use") == "claim" and of(TERRY)(r, e),
    ),
    # People and places.
    ("Patient?gender=female&birthdate=lt1970", lambda r, p: p["gender"] == "female" and p["birthDate"] < "1970"),
    ("Patient?name=b", lambda r, p: begins(names(p), "b")),
    ("Patient?deceased=true", lambda r, p: "deceasedDateTime" in p),
    ("Patient?death-date=ge2000", lambda r, p: when(p.get("deceasedDateTime")) >= when("2000-01-01")),
    (
        "Patient?_has:Condition:patient:code=444814009",
        lambda r, p: any("444814009" in codes(c["code"]) for c in about(r, "Condition", p)),
    ),
    (
        "Patient?_has:Observation:patient:code=29463-7&gender=male",
        lambda r, p: p["gender"] == "male" and any("29463-7" in codes(o["code"]) for o in about(r, "Observation", p)),
    ),
    (
        "Patient?_has:Encounter:patient:class=EMER&_has:Immunization:patient:vaccine-code=113",
        lambda r, p: (
            any(e["class"]["code"] == "EMER" for e in about(r, "Encounter", p))
            and any("113" in codes(i["vaccineCode"]) for i in about(r, "Immunization", p))
        ),
    ),
    ("Practitioner?family=fisher", lambda r, p: begins({n.get("family", "").lower() for n in p["name"]}, "fisher")),
    (
        "Practitioner?_has:Encounter:participant:class=IMP",
        lambda r, p: any(
            e["class"]["code"] == "IMP"
            and any((one.get("individual") or {}).get("reference") == p["@name"] for one in e.get("participant", ()))
            for e in r.of("Encounter")
        ),
    ),
    (
        "Organization?address-city=boston",
        lambda r, o: any(a.get("city", "").lower().startswith("boston") for a in o["address"]),
    ),
    ("Location?near=42.36|-71.06|10|km", lambda r, place: kilometres(place, 42.36, -71.06) <= 10),
    (
        f"PractitionerRole?practitioner:identifier={NPI}|9999999989",
        lambda r, role: role.get("practitioner", {}).get("identifier", {}).get("value") == "9999999989",
    ),
    # In one patient's compartment.
    (
        "Patient/{Bruen238}/Observation?category=laboratory",
        lambda r, o: "laboratory" in codes(o.get("category")) and of(BRUEN)(r, o),
    ),
    (
        "Patient/{Terry864}/Immunization?date=lt2015",
        lambda r, i: when(i["occurrenceDateTime"]) < when("2015-01-01") and of(TERRY)(r, i),
    ),
    ("Patient/{Terry864}/Encounter?_sort=-date", of(TERRY)),
]


@pytest.mark.parametrize(("query", "counts"), QUERIES, ids=[query for query, _ in QUERIES])
def test_the_server_counts_what_the_files_hold(
    loaded: httpx.Client, records: Records, ids: dict[str, str], query: str, counts: Count
) -> None:
    kind = query.partition("?")[0].rpartition("/")[2]
    expected = sum(1 for one in records.of(kind) if counts(records, one))
    assert expected > 0, "the query should find something"
    assert total(loaded, f"/{query.format(**ids)}") == expected


def test_several_types_of_one_patient(loaded: httpx.Client, records: Records, ids: dict[str, str]) -> None:
    kinds = ["Condition", "Procedure", "Immunization"]
    expected = sum(1 for kind in kinds for one in records.of(kind) if of(BRUEN)(records, one))
    assert total(loaded, f"/?_type={','.join(kinds)}&patient={ids[BRUEN]}") == expected
    assert total(loaded, f"/Patient/{ids[BRUEN]}/*?_type={','.join(kinds)}") == expected


def test_the_course_of_a_value_in_order_over_pages(loaded: httpx.Client, records: Records, ids: dict[str, str]) -> None:
    query = f"/Observation?patient={ids[BRUEN]}&code=29463-7&_sort=date&_count=3"
    found = [entry["resource"] for entry in pages(loaded, query)]
    wanted = [one for one in records.of("Observation") if of(BRUEN)(records, one) and "29463-7" in codes(one["code"])]
    wanted.sort(key=lambda one: when(one["effectiveDateTime"]))
    assert [amount(one) for one in found] == [amount(one) for one in wanted]
    assert len(found) > 3


def test_what_an_encounter_brings_along(loaded: httpx.Client, records: Records, ids: dict[str, str]) -> None:
    query = f"/Encounter?patient={ids[TERRY]}&class=IMP&_count=100"
    more = "&_include=Encounter:patient&_include=Encounter:participant&_revinclude=Observation:encounter"
    brought = [entry["resource"] for entry in pages(loaded, query + more) if entry["search"]["mode"] == "include"]
    stays = [e for e in records.of("Encounter") if of(TERRY)(records, e) and e["class"]["code"] == "IMP"]
    assert stays
    doctors = {records.to(one["individual"])["@name"] for e in stays for one in e["participant"]}
    observed = [
        o for o in records.of("Observation") if o.get("encounter", {}).get("reference") in {e["@name"] for e in stays}
    ]
    kinds = [one["resourceType"] for one in brought]
    counted = {kind: kinds.count(kind) for kind in ("Patient", "Practitioner", "Observation")}
    assert counted == {"Patient": 1, "Practitioner": len(doctors), "Observation": len(observed)}
