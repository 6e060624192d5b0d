from decimal import Decimal
from typing import Any

import pytest

from bulkhead.compartments.membership import built_in
from bulkhead.facts import expressions, normalise
from bulkhead.search import matching
from bulkhead.search.matching import matches
from bulkhead.search.parse import parse
from bulkhead.store.version import Version
from tests.support.counting import counted
from tests.support.memory_store import head_of
from tests.support.search_samples import LOINC, coding, observation, patient, quantity


def found(resource: dict[str, Any], name: str, text: str, **head: Any) -> bool:
    (clause,) = parse([(name, text)], resource["resourceType"], base="http://here/fhir").clauses
    return matches(Version(head_of(resource, **head), lambda _: resource), clause, built_in())


CONCEPT = {
    "resourceType": "Observation",
    "id": "1",
    "code": {"coding": [{**coding(LOINC, "A-1"), "display": "Heart rate"}, coding(None, "b")], "text": "Pulse"},
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("code", "A-1", True),
        ("code", "a-1", True),
        ("code", f"{LOINC}|A-1", True),
        ("code", f"{LOINC.upper()}|A-1", False),
        ("code", "|A-1", False),
        ("code", "|b", True),
        ("code", "b", True),
        ("code", f"{LOINC}|", True),
        ("code", f"{LOINC}|b", False),
        ("code", "A", False),
        ("code", "z,A-1", True),
        ("code:not", "A-1", False),
        ("code:not", "z", True),
        ("code:text", "heart", True),
        ("code:text", "PULSE", True),
        ("code:text", "rate", False),
        ("code:missing", "false", True),
        ("method:missing", "true", True),
        ("method:not", "z", True),
    ],
)
def test_tokens_of_a_concept(name: str, text: str, expected: bool) -> None:
    assert found(CONCEPT, name, text) is expected


PERSON = patient(
    active=True,
    gender="male",
    identifier=[{"system": "s", "value": "V1", "type": {"coding": [coding("t", "MR")]}}],
    telecom=[{"system": "phone", "value": "555-1"}, {"system": "email", "value": "A@x.org"}],
    name=[{"family": "Müller", "given": ["Anna Maria", "Eva"], "text": "Dr. Anna Müller"}],
    address=[{"city": "Zürich", "line": ["Main Street 1"], "use": "home"}],
    birthDate="1980-05",
    managingOrganization={"reference": "Organization/o", "identifier": {"system": "i", "value": "9"}},
    generalPractitioner=[{"reference": "http://there/Practitioner/p"}, {"reference": "Practitioner/q/_history/3"}],
    meta={
        "tag": [coding("t", "tag1")],
        "profile": ["http://p", "http://q|1.0"],
        "source": "http://src",
        "security": [coding("s", "R")],
    },
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("identifier", "V1", True),
        ("identifier", "s|V1", True),
        ("identifier", "s|v1", False),
        ("identifier", "s|", True),
        ("identifier:of-type", "t|MR|V1", True),
        ("identifier:of-type", "t|SS|V1", False),
        ("active", "true", True),
        ("active", "false", False),
        ("active", "http://terminology.hl7.org/CodeSystem/special-values|true", True),
        ("active", "|true", True),
        ("active", "http://wrong|true", False),
        ("gender", "male", True),
        ("gender", "http://hl7.org/fhir/administrative-gender|male", True),
        ("gender", "http://wrong|male", False),
        ("gender:not", "female", True),
        ("phone", "555-1", True),
        ("email", "a@x.org", True),
        ("telecom", "phone|555-1", True),
        ("address-use", "home", True),
        ("deceased", "false", True),
        ("name", "mull", True),
        ("name", "MÜLLER", True),
        ("name", "maria", False),
        ("name:contains", "maria", True),
        ("name:contains", "ULLE", True),
        ("family", "anna", False),
        ("given", "eva", True),
        ("family:exact", "Müller", True),
        ("family:exact", "Muller", False),
        ("family:exact", "Mül", False),
        ("address", "zur", True),
        ("address", "main  street", True),
        ("address-city", "zurich", True),
        ("birthdate", "1980", True),
        ("birthdate", "1980-05", True),
        ("birthdate", "1980-05-01", False),
        ("birthdate", "ne1980-05-01", True),
        ("organization", "Organization/o", True),
        ("organization", "o", True),
        ("organization", "http://here/fhir/Organization/o", True),
        ("organization", "Organization/O", False),
        ("organization:identifier", "i|9", True),
        ("organization:identifier", "i|8", False),
        ("general-practitioner", "http://there/Practitioner/p", True),
        ("general-practitioner", "Practitioner/p", False),
        ("general-practitioner", "Practitioner/q", True),
        ("general-practitioner", "Practitioner/q/_history/3", True),
        ("general-practitioner", "Practitioner/q/_history/4", False),
        ("general-practitioner:Practitioner", "q", True),
        ("_id", "1", True),
        ("_id", "2,1", True),
        ("_tag", "t|tag1", True),
        ("_profile", "http://p", True),
        ("_profile", "http://q", True),
        ("_profile", "http://q|1.0", True),
        ("_profile", "http://q|2.0", False),
        ("_source", "http://src", True),
        ("_security", "R", True),
        ("_account", "Organization/a", True),
        ("_account", "Organization/o", False),
        ("_compartment", "Patient/1", True),
        ("_compartment", "Organization/a", True),
        ("_compartment", "Patient/2", False),
        ("_lastUpdated", "2026-01-01", True),
        ("_lastUpdated", "lt2026-01-01", False),
    ],
)
def test_a_patient(name: str, text: str, expected: bool) -> None:
    assert found(PERSON, name, text, explicit=("Organization/a",)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-03-10", False),
        ("2020-03", True),
        ("2020", True),
        ("ne2020-03", False),
        ("gt2020-03-12", True),
        ("gt2020-03-20", False),
        ("ge2020-03-19", True),
        # Neither ends after that day nor lies within it: R4 to the letter.
        ("ge2020-03-20", False),
        ("lt2020-03-10", False),
        ("lt2020-03-12", True),
        ("le2020-03-11", True),
        ("le2020-03-10", False),
        ("sa2020-03-09", True),
        ("sa2020-03-10", False),
        ("eb2020-03-21", True),
        ("eb2020-03-20", False),
        ("ap2020-03-15", True),
    ],
)
def test_a_period_under_every_prefix(text: str, expected: bool) -> None:
    resource = observation(effectivePeriod={"start": "2020-03-10", "end": "2020-03-20"})
    assert found(resource, "date", text) is expected


def test_an_instant_within_the_day_is_ge_and_le_that_day() -> None:
    resource = observation(effectiveDateTime="2020-03-10T12:00:00Z")
    assert found(resource, "date", "ge2020-03-10")
    assert found(resource, "date", "le2020-03-10")
    assert not found(resource, "date", "gt2020-03-10")


def test_an_open_period_goes_on_for_ever() -> None:
    resource = observation(effectivePeriod={"start": "2020-03-10"})
    assert found(resource, "date", "ge2090")
    assert not found(resource, "date", "2020")
    assert not found(resource, "date", "lt2020")


def test_time_zones_are_told_apart() -> None:
    resource = observation(effectiveDateTime="2020-01-01T00:30:00+02:00")
    assert found(resource, "date", "2019-12-31")
    assert found(resource, "date", "2019-12-31T22:30:00Z")
    assert not found(resource, "date", "2020-01-01")


def test_a_timing_spans_its_events() -> None:
    resource = observation(effectiveTiming={"event": ["2020-01-05", "2020-02-05"]})
    assert found(resource, "date", "sa2020-01-04")
    assert found(resource, "date", "eb2020-02-06")
    assert not found(resource, "date", "eb2020-02-05")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", True),
        ("100.0", False),
        ("1e2", True),
        ("99.6", True),
        ("99", False),
        ("ne100", False),
        ("gt99", True),
        ("gt99.6", False),
        ("ge99.6", True),
        ("lt100", True),
        ("le99.5", False),
        ("sa99", True),
        ("eb99.6", False),
        ("ap90.6", True),
        ("ap90", False),
        ("99.6||mg", True),
        ("99.6|http://unitsofmeasure.org|mg", True),
        ("99.6|http://unitsofmeasure.org|g", False),
        ("99.6|http://other|mg", False),
        ("99.6||kg", False),
    ],
)
def test_quantities_have_the_precision_they_are_asked_in(text: str, expected: bool) -> None:
    assert found(observation(valueQuantity=quantity(Decimal("99.6"))), "value-quantity", text) is expected


@pytest.mark.parametrize(
    ("comparator", "met"),
    [
        ("<", "gt4 ge4 lt4 lt5 lt6 le4 le5 le6 eb5 eb6"),
        ("<=", "gt4 ge4 ge5 lt4 lt5 lt6 le4 le5 le6 eb6"),
        (">", "gt4 gt5 gt6 ge4 ge5 ge6 lt6 le6 sa4 sa5"),
        (">=", "gt4 gt5 gt6 ge4 ge5 ge6 lt6 le5 le6 sa4"),
    ],
)
def test_a_comparator_leaves_one_end_open(comparator: str, met: str) -> None:
    resource = observation(valueQuantity={**quantity(5), "comparator": comparator})
    asked = [f"{prefix}{number}" for prefix in ("gt", "ge", "lt", "le", "sa", "eb", "eq") for number in (4, 5, 6)]
    assert [text for text in asked if found(resource, "value-quantity", text)] == met.split()


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("100", "99.5", "100.5"), ("100.00", "99.995", "100.005"), ("1e2", "95", "105"), ("1.0e2", "95", "105")],
)
def test_the_ranges_that_r4_gives_for_numbers(text: str, low: str, high: str) -> None:
    for value, expected in ((Decimal(low), True), (Decimal(high), False), (Decimal(high) - Decimal("0.001"), True)):
        assert found(observation(valueQuantity=quantity(value)), "value-quantity", text) is expected
    assert not found(observation(valueQuantity=quantity(Decimal(low) - Decimal("0.001"))), "value-quantity", text)


def test_a_range_and_an_age_and_money() -> None:
    ranged = {
        "resourceType": "Condition",
        "id": "1",
        "onsetRange": {"low": quantity(10, "a"), "high": quantity(20, "a")},
    }
    assert found(ranged, "onset-age", "gt15")
    assert not found(ranged, "onset-age", "gt20")
    aged = {"resourceType": "Condition", "id": "1", "onsetAge": quantity(12, "a")}
    assert found(aged, "onset-age", "12||a")
    invoice = {"resourceType": "Invoice", "id": "1", "totalNet": {"value": 7, "currency": "EUR"}}
    assert found(invoice, "totalnet", "7|urn:iso:std:iso:4217|EUR")
    assert not found(invoice, "totalnet", "7||USD")


def test_plain_numbers() -> None:
    resource = {"resourceType": "RiskAssessment", "id": "1", "prediction": [{"probabilityDecimal": Decimal("0.8")}]}
    assert found(resource, "probability", "gt0.79")
    assert found(resource, "probability", "0.8")
    assert not found(resource, "probability", "0.80001")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("url", "http://acme.org/fhir/a", True),
        ("url", "http://acme.org/fhir/A", False),
        ("url:below", "http://acme.org/fhir", True),
        ("url:below", "http://acme.org/fhir/", True),
        ("url:below", "http://acme.org/fh", False),
        ("url:above", "http://acme.org/fhir/a/b", True),
        ("url:above", "http://acme.org/fhir", False),
        ("url:missing", "true", False),
    ],
)
def test_uris(name: str, text: str, expected: bool) -> None:
    assert found({"resourceType": "ValueSet", "id": "1", "url": "http://acme.org/fhir/a"}, name, text) is expected


def test_what_says_something_of_time_and_is_no_date_is_no_date() -> None:
    resource = {"resourceType": "Procedure", "id": "1", "performedString": "in March"}
    assert found(resource, "date:missing", "true")
    assert not found(resource, "date", "ge1900")


def test_a_canonical_has_no_identifier() -> None:
    resource = {"resourceType": "MeasureReport", "id": "1", "measure": "http://identifier/m"}
    assert not found(resource, "measure:identifier", "x")


def test_one_of_thousands_of_values() -> None:
    many = ",".join(f"c{number}" for number in range(4000))
    assert found(CONCEPT, "code", f"{many},A-1")
    assert found(CONCEPT, "code", f"{many},{LOINC}|a-1")
    assert not found(CONCEPT, "code", many)
    assert found(CONCEPT, "code:not", many)
    subject = observation(subject="Patient/77")
    patients = ",".join(f"Patient/{number}" for number in range(100, 4000))
    assert found(subject, "subject", f"{patients},77")
    assert found(subject, "subject", f"http://there/Patient/77,{patients},Patient/77")
    assert not found(subject, "subject", f"{patients},Group/77,Patient/77/_history/1")


def test_canonicals_are_references_with_or_without_version() -> None:
    resource = {"resourceType": "MeasureReport", "id": "1", "measure": "http://m|1.0"}
    assert found(resource, "measure", "http://m")
    assert found(resource, "measure", "http://m|1.0")
    assert not found(resource, "measure", "http://m|2.0")


BLOOD_PRESSURE = observation(
    code="85354-9",
    component=[
        {"code": {"coding": [coding(LOINC, "8480-6")]}, "valueQuantity": quantity(140, "mm[Hg]")},
        {"code": {"coding": [coding(LOINC, "8462-4")]}, "valueQuantity": quantity(90, "mm[Hg]")},
    ],
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("component-code-value-quantity", "8480-6$gt130", True),
        ("component-code-value-quantity", "8462-4$gt130", False),
        ("component-code-value-quantity", "8462-4$gt130,8480-6$140||mm[Hg]", True),
        ("combo-code-value-quantity", f"{LOINC}|8462-4$lt100", True),
        ("code-value-quantity", "85354-9$gt1", False),
    ],
)
def test_composites_are_met_within_one_element(name: str, text: str, expected: bool) -> None:
    assert found(BLOOD_PRESSURE, name, text) is expected


def test_a_composite_whose_part_is_in_the_resource() -> None:
    resource = {
        "resourceType": "Observation",
        "id": "1",
        "code": {"coding": [coding(LOINC, "a")]},
        "valueString": "Big one",
    }
    assert found(resource, "code-value-string", "a$big")
    assert not found(resource, "code-value-string", "a$small")


NAMED = patient("1", name=[{"family": f"Smith-Jones{n}", "given": ["Ann"]} for n in range(20)])


@pytest.mark.parametrize("name", ["name", "name:contains", "name:text", "family:exact"])
def test_a_text_is_spelt_once_for_thousands_of_values(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each value anew would be minutes for one resource, and hours for a search that comes upon thousands."""
    spell, spelt = counted(normalise.spellings)
    monkeypatch.setattr(matching, "spellings", spell)
    many = ",".join(f"x{n}" for n in range(200))
    assert not found(NAMED, name, many)
    assert found(NAMED, name, f"{many},Smith-Jones7")
    assert len(spelt) <= 4 * 20


def test_the_components_of_a_composite_are_read_once_for_thousands_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_once, compiled = counted(expressions.compiled)
    monkeypatch.setattr(matching, "compiled", compile_once)
    many = ",".join(f"8480-6${n}" for n in range(100))
    assert not found(BLOOD_PRESSURE, "component-code-value-quantity", many)
    assert found(BLOOD_PRESSURE, "component-code-value-quantity", f"{many},8462-4$90")
    assert len(compiled) <= 2 * 4
