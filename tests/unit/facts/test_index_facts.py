from typing import Any

import pytest

from bulkhead.errors import PayloadTooLarge
from bulkhead.facts.index_facts import Value, drivers, facts, index_values, is_indexed, month_buckets
from bulkhead.facts.selectivity import NON_SELECTIVE
from bulkhead.fhir.definitions import RESOURCE_TYPES, search_parameters
from tests.support.counting import contained_and_named
from tests.support.search_samples import LOINC, SNOMED, coding, observation, patient


def values(resource: dict[str, Any], parameter: str) -> set[tuple[str, str]]:
    return {(value.value, value.sort) for value in facts(resource).values if value.parameter == parameter}


def test_a_target_knows_every_parameter_that_leads_to_it() -> None:
    resource = observation(
        subject="Patient/1",
        performer=[{"reference": "Patient/1"}, {"reference": "Practitioner/2"}],
        encounter={"reference": "Encounter/3/_history/4"},
    )
    assert facts(resource).targets == {
        "Patient/1": {"subject", "patient", "performer"},
        "Practitioner/2": {"performer"},
        "Encounter/3": {"encounter"},
    }


@pytest.mark.parametrize(
    "reference", ["http://elsewhere/Patient/1", "urn:uuid:1", "#p", "Patient?identifier=x", "Nonsense/1", "Patient/"]
)
def test_what_is_not_an_id_of_this_server_is_no_target(reference: str) -> None:
    assert facts(observation(subject=reference)).targets == {}


def test_a_reference_that_no_parameter_covers_is_no_target() -> None:
    extension = [{"url": "u", "valueReference": {"reference": "Patient/9"}}]
    assert facts(observation(extension=extension)).targets.keys() == {"Patient/1"}


def test_the_resource_that_begins_a_document_is_a_target() -> None:
    document: dict[str, Any] = {"resourceType": "Bundle", "id": "1", "type": "document"}
    document["entry"] = [{"resource": {"resourceType": "Composition", "id": "c"}}]
    # With the mark that leads chains into the entries of documents.
    assert facts(document).targets == {"Composition/c": {"composition"}, "#Composition": {"composition"}}


def test_codes_have_patient_and_system_to_sort_by_and_no_case() -> None:
    evidence = [{"code": [{"coding": [coding(LOINC, "A1"), coding(None, "b2")], "text": "not indexed"}]}]
    condition = {"resourceType": "Condition", "id": "1", "subject": {"reference": "Patient/1"}, "evidence": evidence}
    assert values(condition, "evidence") == {("a1", f"Patient/1#{LOINC}"), ("b2", "Patient/1#")}
    assert values(condition | {"subject": {"reference": "Group/1"}}, "evidence") == {("a1", f"#{LOINC}"), ("b2", "#")}
    without = {"resourceType": "Medication", "code": evidence[0]["code"][0]}
    assert values(without, "code") == {("a1", LOINC), ("b2", "")}


def test_codes_are_sorted_by_each_patient() -> None:
    evidence = [{"code": [{"coding": [coding(LOINC, "a")]}]}]
    condition = {"resourceType": "Condition", "id": "1", "subject": {"reference": "Patient/2"}, "evidence": evidence}
    condition["asserter"] = {"reference": "Patient/1"}
    assert values(condition, "evidence") == {("a", f"Patient/{number}#{LOINC}") for number in (1, 2)}


def test_the_code_of_the_care_is_sorted_by_its_date() -> None:
    code = {"coding": [coding(LOINC, "A1"), coding(None, "b2")]}
    moment = observation(effectiveDateTime="2020-01-02T03:04:05+01:00", subject="Group/1") | {"code": code}
    assert values(moment, "code") == {("a1", "2020-01-02T02:04:05.000Z"), ("b2", "2020-01-02T02:04:05.000Z")}
    assert not facts(moment).dated
    assert values(observation(code="a"), "code") == {("a", "none")}
    period = observation(code="a", effectivePeriod={"start": "2020-01-02", "end": "2020-02-03"})
    first, last = "2020-01-02T00:00:00.000Z", "2020-02-03T23:59:59.999Z"
    assert values(period, "code") == {("a", f"long#{first}-{last}"), ("a", f"{last}+")}


def test_a_patient_and_a_patient_with_a_code_have_entries_in_clinical_order() -> None:
    resource = observation(code="a", effectiveDateTime="2020-01-02", performer=[{"reference": "Patient/2"}])
    expected = {"Patient/1", "Patient/1|code|a", "Patient/2", "Patient/2|code|a"}
    assert facts(resource).dated == {Value("date", value, "2020-01-02") for value in expected}


def test_identifiers() -> None:
    resource = patient(identifier=[{"system": "s", "value": "V"}, {"value": "w"}, {"system": "no value"}])
    assert values(resource, "identifier") == {("v", "s"), ("w", "")}


def test_names_are_folded_and_cut() -> None:
    resource = patient(name=[{"family": "Ünal", "given": ["Jo", "B" * 150]}])
    assert values(resource, "name") == {("un", "unal"), ("jo", "jo"), ("bb", "b" * 100)}
    assert not values(resource, "family")


def test_contact_points_have_no_system() -> None:
    resource = patient(telecom=[{"system": "phone", "value": "555"}])
    assert values(resource, "telecom") == {("555", "")}


def test_uris() -> None:
    assert values({"resourceType": "ValueSet", "id": "1", "url": "http://x/vs"}, "url") == {("http://x/vs", "")}


def test_dates_are_sorted_by_their_start_within_their_months() -> None:
    resource = observation(effectivePeriod={"start": "2020-01-31T23:00:00Z", "end": "2020-02-01"})
    start = "2020-01-31T23:00:00.000Z"
    end = "2020-02-01T23:59:59.999Z"
    assert values(resource, "date") == {("2020-01", start), ("2020-02", start), ("2020-02+", f"{end}+{start}")}


@pytest.mark.parametrize(
    ("first", "last", "buckets"),
    [
        ("2019-12-01", "2020-02-29", ["2019-12", "2020-01", "2020-02"]),
        ("2019-12-01", "2020-03-01", ["long"]),
        ("2020-05-05", "2020-05-05", ["2020-05"]),
        ("0001-01-01", "9999-12-31", ["long"]),
    ],
)
def test_three_months_at_most_are_spelt_out(first: str, last: str, buckets: list[str]) -> None:
    assert month_buckets(first, last) == buckets


@pytest.mark.parametrize(
    ("resource_type", "code"),
    [
        ("Observation", "status"),
        ("Observation", "category"),
        ("Patient", "gender"),
        ("Patient", "active"),
        ("Patient", "deceased"),
        ("Patient", "language"),
        ("Patient", "address-city"),
        ("MedicationRequest", "intent"),
        ("Encounter", "class"),
        ("Observation", "value-quantity"),
        ("Patient", "_lastUpdated"),
        ("CodeSystem", "code"),
    ],
)
def test_what_nearly_everything_shares_is_not_indexed(resource_type: str, code: str) -> None:
    assert not is_indexed(resource_type, search_parameters(resource_type)[code])


def test_the_table_of_what_is_widely_shared_names_token_parameters() -> None:
    tokens = {
        parameter.code
        for resource_type in RESOURCE_TYPES
        for parameter in search_parameters(resource_type).values()
        if parameter.type == "token"
    }
    assert tokens >= NON_SELECTIVE


def test_a_parameter_that_another_covers_is_driven_by_it() -> None:
    codes = {
        name: [driver.code for driver in drivers("Patient", search_parameters("Patient")[name])]
        for name in ("family", "given", "phonetic", "email", "name", "gender")
    }
    name, telecom = ["name"], ["telecom"]
    assert codes == {
        "family": name,
        "given": name,
        "phonetic": ["phonetic"],
        "email": telecom,
        "name": name,
        "gender": [],
    }
    combo = drivers("Observation", search_parameters("Observation")["combo-code"])
    assert [driver.code for driver in combo] == ["code", "component-code"]


def test_the_values_of_one_parameter_are_those_among_the_facts() -> None:
    resource = observation(effectiveDateTime="2020-01-02")
    every = {value for one in search_parameters("Observation").values() for value in index_values(resource, one)}
    assert every == facts(resource).values
    assert Value("date", "2020-01", "2020-01-02T00:00:00.000Z") in every


def test_an_observation_costs_few_entries() -> None:
    resource = observation(
        category=[{"coding": [coding(SNOMED, "1")]}],
        effectiveDateTime="2020-01-02",
        valueQuantity={"value": 1},
        meta={"profile": ["p"]},
    )
    assert len(facts(resource).values) == 3


def test_a_provenance_with_25000_targets() -> None:
    targets = [{"reference": f"Observation/{number}"} for number in range(24_999)]
    resource = {"resourceType": "Provenance", "id": "1", "target": [*targets, {"reference": "Patient/1"}]}
    found = facts(resource).targets
    assert len(found) == 25_000
    assert found["Patient/1"] == {"target", "patient"}


def test_many_patients_with_many_codes_are_refused_before_each_is_listed_with_each() -> None:
    """60 KB of JSON would make 360,000 entries, and a megabyte as many as no memory holds."""
    codings = [{"system": "s", "code": f"c{number}"} for number in range(600)]
    performers = [{"reference": f"Patient/{number}"} for number in range(600)]
    many = observation(performer=performers, category=[{"coding": codings}], effectiveDateTime="2020")
    with pytest.raises(PayloadTooLarge, match="so many patients and codes") as caught:
        facts(many)
    assert caught.value.issues[0].expression == "Observation"
    many["component"] = [{"code": {"coding": codings}}]
    del many["category"]
    with pytest.raises(PayloadTooLarge):
        facts(many)
    # Many of one kind are listed.
    assert len(facts({**many, "performer": []}).values) > 600
    del many["component"]
    assert len(facts(many).dated) > 600


def test_thousands_of_references_into_a_resource_go_through_what_it_contains_once() -> None:
    resource, inside = contained_and_named(50)
    assert facts(resource).targets == {"#Basic": {"item"}}
    assert inside.passes < 5
