"""Names of parameters that are written wrongly are refused: nothing that a client asked for is left out without a word."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.search import parameter_names
from bulkhead.search.parse import parse


def refusal(name: str, text: str, *, resource_type: str | None = "Patient", types: str = "") -> BadRequest:
    pairs = [("_type", types), (name, text)] if types else [("_id", "1"), (name, text)]
    with pytest.raises(BadRequest) as caught:
        parse(pairs, resource_type)
    return caught.value


@pytest.mark.parametrize("text", ["zzzz", ""])
@pytest.mark.parametrize(
    "name",
    [
        "name:contains:exact",
        "name:exact:missing",
        "name:",
        "name::exact",
        ":exact",
        "gender:not:in",
        "gender:foo",
        "organization:Organization:foo",
        "organization:Patient",
        "organization:",
        "organization:Organization:",
        "_id:",
        "_id:exact:missing",
        "nobody-knows:",
        "nobody-knows:exact:missing",
        "nobody-knows:foo",
        "nobody-knows.name:exact:missing",
        "_sort:desc",
        "_count:exact",
        "_summary:x",
        "_total:x",
        "_elements:x",
        "_format:x",
        "_pretty:x",
        "_type:x",
        "_since:x",
        "_cursor:x",
        "_explain:x",
    ],
)
def test_a_modifier_that_is_not_understood_is_refused_wherever_it_stands(name: str, text: str) -> None:
    assert refusal(name, text).issues[0].expression == name


@pytest.mark.parametrize(
    "name",
    [
        "organization.name:exact:missing",
        "organization.name:",
        "organization:Organization:x.name",
        "organization:.name",
        "_has:Observation:patient:code:not:in",
        "_has:Observation:patient:code:",
        "_has",
        "_has:",
        "_include:",
        "_include::iterate",
        "_include:iterate:iterate",
    ],
)
def test_so_are_those_in_chains_has_and_includes(name: str) -> None:
    assert refusal(name, "x").issues[0].expression == name


@given(st.sampled_from(["name", "gender", "_id", "birthdate", "organization", "unknown"]), st.text(":ab", min_size=1))
def test_whatever_follows_a_colon_is_a_modifier_or_refused(code: str, modifier: str) -> None:
    refusal(f"{code}:{modifier}", "true")


@pytest.mark.parametrize(("types", "name"), [("Patient,Observation", "code"), ("Patient,Observation", "code.x")])
def test_a_parameter_that_only_some_of_the_types_have_is_refused(types: str, name: str) -> None:
    assert refusal(name, "x", resource_type=None, types=types).issues[0].expression == name


def test_so_is_one_in_a_compartment_of_all_types() -> None:
    with pytest.raises(BadRequest, match="not every type in this search has the parameter code"):
        parse([("code", "x")], None, compartment="Patient/1", compartment_types=["Observation", "Encounter"])


def test_what_no_type_knows_is_still_passed_over() -> None:
    assert parse([("_type", "Patient,Observation"), ("nonsense", "x")], None).ignored == ("nonsense",)


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("period > 2013-01-01", "", "date=gt2020-01-31"),
        ("period>", "2013-01-01", "date=gt2020-01-31"),
        ("period <", " 2013-01-01", "date=lt2020-01-31"),
        ("period[$gt]", "2013-01-01", "date=gt2020-01-31"),
        ("period[gte]", "2013-01-01", "date=ge2020-01-31"),
        ("period:$lte", "2013-01-01", "date=le2020-01-31"),
        ("period$gt", "2013-01-01", "date=gt2020-01-31"),
    ],
)
def test_an_operator_in_a_name_is_refused_with_the_form_of_r4(name: str, text: str, form: str) -> None:
    with pytest.raises(BadRequest, match=form) as caught:
        parse([(name, text)], "CarePlan")
    assert caught.value.issues[0].expression == "period"
    assert "2013" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["> 2013-01-01", ">2013-01-01", "gt 2013-01-01", " gt 2013-01-01", "$gt2013-01-01", '{"$gt": 2013}']
)
@pytest.mark.parametrize(("resource_type", "name"), [("Encounter", "date"), ("RiskAssessment", "probability")])
def test_so_is_one_in_a_value(resource_type: str, name: str, text: str) -> None:
    with pytest.raises(BadRequest, match="in R4 the prefix is directly before the value: gt2020-01-31"):
        parse([(name, text)], resource_type)


@pytest.mark.parametrize(
    ("resource_type", "name", "form"),
    [
        ("AuditEvent", "period", "date"),
        ("AuditEvent", "object", "entity"),
        ("AuditEvent", "user", "agent"),
        ("MedicationRequest", "dateWritten", "authoredon"),
        ("MedicationAdministration", "whenGiven", "effective-time"),
        ("DocumentReference", "created", "date"),
        ("Procedure", "performed", "date"),
        ("Condition", "onset", "onset-date"),
        ("Condition", "dateAsserted", "recorded-date"),
    ],
)
def test_a_name_of_an_older_version_is_refused_with_that_of_r4(resource_type: str, name: str, form: str) -> None:
    for given_name, text in ((name, "2020"), (f"{name} > 2013-01-01", "")):
        with pytest.raises(BadRequest, match=rf"R4.*\b{form}\b") as caught:
            parse([(given_name, text)], resource_type)
        assert caught.value.issues[0].expression == name


def test_a_name_that_r4_still_has_is_taken() -> None:
    """DocumentReference has a `period` of its own, and MedicationDispense no parameter that it could mean."""
    assert parse([("period", "gt2013")], "DocumentReference").ignored == ()
    assert parse([("period", "gt2013")], "MedicationDispense").ignored == ("period",)


@pytest.mark.parametrize(
    ("name", "form"),
    [("whenHandedOver", "whenhandedover"), ("when-handed-over", "whenhandedover"), ("_lastupdated", "_lastUpdated")],
)
def test_a_name_in_the_wrong_case_is_refused_with_the_right_one(name: str, form: str) -> None:
    with pytest.raises(BadRequest, match=f"R4.s name is {form}"):
        parse([(name, "2020")], "MedicationDispense")


def test_sorts_that_are_given_twice_are_one_after_the_other() -> None:
    twice = parse([("_sort", "family"), ("_sort", "-given")], "Patient").results.sort
    assert twice == parse([("_sort", "family,-given")], "Patient").results.sort


@pytest.mark.parametrize("name", ["_count", "_summary", "_total", "_format", "_pretty", "_cursor"])
def test_any_other_result_parameter_is_given_once(name: str) -> None:
    values = {"_count": "1", "_summary": "true", "_total": "none"}
    with pytest.raises(BadRequest, match=f"{name} may occur only once"):
        parse([(name, values.get(name, "x"))] * 2, "Patient")


@given(st.text())
def test_any_name_has_a_form_or_is_a_bad_request(name: str) -> None:
    with suppress(BadRequest):
        parameter_names.require_form(name, frozenset({"_sort"}), str)
        assert "_has:" in name or all(step.count(":") <= 1 for step in name.split("."))


@pytest.mark.parametrize("text", ['{"resourceType": "Patient"}', "<Patient/>", "a b", "a\nb"])
def test_what_is_no_name_is_refused_and_not_repeated(text: str) -> None:
    """A form may be a resource that was sent as one."""
    with pytest.raises(BadRequest) as refused:
        parameter_names.require_form(text, (), str)
    assert text not in str(refused.value)
    assert text != refused.value.issues[0].expression


@pytest.mark.parametrize("resource_type", ["Patient", None])
def test_a_parameter_without_a_name_is_refused_at_the_query(resource_type: str | None) -> None:
    refused = refusal("", "x", resource_type=resource_type, types="" if resource_type else "Patient")
    assert refused.issues[0].expression == "query"
    assert "name=value" in refused.issues[0].diagnostics
