from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest, NotFound, NotSupported, TooCostly
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.literals import split, unescape
from bulkhead.search.parse import parse
from bulkhead.search.query import (
    CompositeValue,
    DateValue,
    Include,
    Link,
    MissingValue,
    NumberValue,
    OfTypeValue,
    QuantityValue,
    ReferenceValue,
    Sort,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from bulkhead.settings import Settings

BASE = "http://here/fhir/R4"


def value(resource_type: str, name: str, text: str) -> Value:
    (only,) = parse([(name, text)], resource_type, base=BASE).clauses[0].values
    return only


@pytest.mark.parametrize(
    ("resource_type", "name", "text", "expected"),
    [
        ("Observation", "code", "a", TokenValue(None, "a")),
        ("Observation", "code", "s|a", TokenValue("s", "a")),
        ("Observation", "code", "|a", TokenValue("", "a")),
        ("Observation", "code", "s|", TokenValue("s", None)),
        ("Observation", "code", r"s\|x|a\,b", TokenValue("s|x", "a,b")),
        ("Patient", "identifier:of-type", "s|MR|7", OfTypeValue("s", "MR", "7")),
        ("Patient", "name", r"a\\b", StringValue("a\\b")),
        ("Observation", "code:text", "head|ache", StringValue("head|ache")),
        ("Patient", "birthdate", "2020-03", DateValue("eq", "2020-03-01T00:00:00.000Z", "2020-03-31T23:59:59.999Z")),
        ("Patient", "birthdate", "lt2020", DateValue("lt", "2020-01-01T00:00:00.000Z", "2020-12-31T23:59:59.999Z")),
        (
            "Observation",
            "date",
            "ge2020-01-01T10:00 02:00",
            DateValue("ge", "2020-01-01T08:00:00.000Z", "2020-01-01T08:00:59.999Z"),
        ),
        ("RiskAssessment", "probability", "100", NumberValue("eq", Decimal(100), Decimal("0.5"))),
        ("RiskAssessment", "probability", "gt0.80", NumberValue("gt", Decimal("0.80"), Decimal("0.005"))),
        ("RiskAssessment", "probability", "1e2", NumberValue("eq", Decimal("1e2"), Decimal(5))),
        (
            "Observation",
            "value-quantity",
            "le5.4|http://unitsofmeasure.org|mg",
            QuantityValue(NumberValue("le", Decimal("5.4"), Decimal("0.05")), "http://unitsofmeasure.org", "mg"),
        ),
        (
            "Observation",
            "value-quantity",
            "5||mg",
            QuantityValue(NumberValue("eq", Decimal(5), Decimal("0.5")), None, "mg"),
        ),
        ("ValueSet", "url", "http://x/a", UriValue("http://x/a")),
        ("Observation", "subject", "Patient/1", ReferenceValue("Patient", "1")),
        ("Observation", "subject", "1", ReferenceValue(None, "1")),
        ("Observation", "subject:Patient", "1", ReferenceValue("Patient", "1")),
        ("Observation", "subject", "Patient/1/_history/2", ReferenceValue("Patient", "1", "2")),
        ("Observation", "subject", f"{BASE}/Patient/1", ReferenceValue("Patient", "1")),
        ("Observation", "subject", "http://there/Patient/1", ReferenceValue(url="http://there/Patient/1")),
        ("Observation", "subject:identifier", "s|v", TokenValue("s", "v")),
        ("Patient", "gender:missing", "true", MissingValue(True)),
        (
            "Observation",
            "code-value-string",
            "s|c$abc",
            CompositeValue((TokenValue("s", "c"), StringValue("abc"))),
        ),
        ("Patient", "_account", "Organization/a", ReferenceValue("Organization", "a")),
        ("Patient", "_compartment", "Patient/1", ReferenceValue("Patient", "1")),
    ],
)
def test_values(resource_type: str, name: str, text: str, expected: Value) -> None:
    assert value(resource_type, name, text) == expected


def test_commas_are_or_and_repetition_is_and() -> None:
    query = parse([("code", r"a,s|b\,c"), ("code", "d")], "Observation")
    assert [clause.values for clause in query.clauses] == [
        (TokenValue(None, "a"), TokenValue("s", "b,c")),
        (TokenValue(None, "d"),),
    ]


@pytest.mark.parametrize(
    ("resource_type", "name", "text"),
    [
        ("Patient", "birthdate", "2020-13"),
        ("Patient", "birthdate", "2021-02-29"),
        ("Patient", "birthdate", "xx2020"),
        ("Patient", "birthdate", "ge"),
        ("Observation", "code", "|"),
        ("Observation", "code", "a|b|c"),
        ("Observation", "value-quantity", "a"),
        ("Observation", "value-quantity", "5|mg"),
        ("Observation", "subject", "Patient/1/2"),
        ("Observation", "subject:Patient", "Group/1"),
        ("Observation", "subject:Encounter", "1"),
        ("Observation", "code-value-string", "a"),
        ("Observation", "code-value-string", "a$"),
        ("Patient", "gender:missing", "maybe"),
        ("Patient", "name", ","),
        ("Patient", "name:fuzzy", "a"),
        ("Patient", "birthdate:exact", "2020"),
        ("Patient", "identifier:of-type", "a|b"),
        ("Patient", "_sort", "nonsense"),
        ("Patient", "_count", "-1"),
        ("Patient", "_count", "1.5"),
        ("Patient", "_total", "some"),
        ("Patient", "_summary", "short"),
        ("Patient", "_include", "Patient"),
        ("Patient", "_include", "Patient:name"),
        ("Patient", "_include", "Nonsense:x"),
        ("Patient", "_include:often", "Patient:link"),
        ("Patient", "_since", "2020"),
        ("Patient", "_has:Observation:patient", "x"),
        ("Location", "near", "1"),
        ("Location", "near", "1|2|3|km|5"),
        ("Location", "near", "91|0"),
        ("Location", "near", "0|-181"),
        ("Location", "near", "north|2"),
        ("Location", "near", "1|2|-3"),
        ("Location", "near", "1|2|far"),
        ("Location", "near", "1|2|3|mg"),
        ("Location", "near", "|2"),
        ("Location", "near:missing", "true"),
        ("Location", "_sort", "near"),
    ],
)
def test_what_is_malformed_names_its_parameter_and_not_its_value(resource_type: str, name: str, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse([(name, text)], resource_type)
    assert caught.value.issues[0].expression == name
    assert caught.value.status == 400


@pytest.mark.parametrize("name", ["_text", "_content", "_filter", "_query", "_contained", "derived-from:below"])
def test_what_is_not_supported_says_so(name: str) -> None:
    with pytest.raises(NotSupported) as caught:
        parse([(name, "x")], "Observation")
    assert caught.value.issues[0].expression == name


@pytest.mark.parametrize(
    ("setting", "parameters", "place"),
    [
        ("parameter_limit", [("name", "a")] * 3 + [("given", "b")], "given"),
        ("value_limit", [("name", "a,b,c,d")], "name"),
        ("value_limit", [("_id", "a,b,c,d")], "_id"),
        ("value_limit", [("_has:Observation:patient:code", "a,b,c,d")], "_has:Observation:patient:code"),
        ("chain_limit", [("link:Patient." * 4 + "name", "a")], "link:Patient." * 4 + "name"),
        ("chain_limit", [("_has:Patient:link:" * 4 + "name", "a")], "_has:Patient:link:" * 4 + "name"),
        ("include_limit", [("_include", "*")] * 2 + [("_revinclude", "Observation:subject")] * 2, "_revinclude"),
        ("sort_limit", [("_sort", "name,-name,given,family")], "_sort"),
    ],
)
def test_each_limit_is_a_setting_and_names_where_it_was_passed(
    setting: str, parameters: list[tuple[str, str]], place: str
) -> None:
    parse(parameters, "Patient")
    limits = Settings(**{setting: 3})  # type: ignore[arg-type] # numbers all
    with pytest.raises(TooCostly) as caught:
        parse(parameters, "Patient", limits=limits)
    assert caught.value.issues[0].expression == place
    assert "3" in caught.value.issues[0].diagnostics


def test_a_chain_of_any_length_is_refused_not_followed() -> None:
    for name in ("link:Patient." * 5000 + "name", "_has:Patient:link:" * 5000 + "name"):
        with pytest.raises(TooCostly):
            parse([(name, "x")], "Patient")


def test_an_unknown_parameter_is_passed_over_and_left_out_of_what_was_used() -> None:
    query = parse([("nonsense", "x"), ("gender", "male"), ("name", "")], "Patient")
    assert query.used == (("gender", "male"),)
    assert query.ignored == ("nonsense",)


def test_a_chain_that_begins_with_nothing_known_is_an_unknown_parameter() -> None:
    assert parse([("nonsense.name", "x")], "Patient").ignored == ("nonsense.name",)


def test_an_unknown_parameter_is_an_error_under_strict_handling() -> None:
    with pytest.raises(BadRequest) as caught:
        parse([("nonsense", "x")], "Patient", strict=True)
    assert caught.value.issues[0].expression == "nonsense"


def test_an_unknown_type_is_not_found() -> None:
    with pytest.raises(NotFound):
        parse([], "Nonsense")


def test_how_results_are_to_be_given() -> None:
    query = parse(
        [
            ("_count", "5" * 20),
            ("_sort", "-birthdate,_id"),
            ("_total", "accurate"),
            ("_summary", "count"),
            ("_include", "Patient:organization:Organization"),
            ("_include", "*"),
            ("_revinclude:iterate", "Observation:subject"),
            ("_elements", "id,name"),
            ("_cursor", "abc"),
            ("_format", "json"),
        ],
        "Patient",
    )
    results = query.results
    assert results.count == 1000
    assert ("_count", "1000") in query.used
    known = search_parameters("Patient")
    assert results.sort == (Sort("birthdate", True, known["birthdate"]), Sort("_id", False, known["_id"]))
    assert (results.total, results.summary, results.elements, results.cursor) == (
        "accurate",
        "count",
        ("id", "name"),
        "abc",
    )
    subject = search_parameters("Observation")["subject"]
    assert results.include == (
        Include("_include", "Patient", "organization", "Organization", parameter=known["organization"]),
        Include("_include", "Patient", "*", None),
    )
    assert results.revinclude == (Include("_revinclude:iterate", "Observation", "subject", None, True, subject),)
    assert ("_format", "json") in query.used
    assert not any(name == "_cursor" for name, _ in query.used)


def test_chains_are_taken_apart() -> None:
    (forward,) = parse([("subject:Patient.organization.name:exact", "x")], "Encounter").chains
    subject = search_parameters("Encounter")["subject"]
    assert forward.links == (Link("subject", "Patient", parameter=subject), Link("organization", None))
    assert (forward.parameter, forward.rest) == ("name:exact", "organization.name:exact")
    assert [name for name, _ in forward.inner] == ["Patient"]
    (back,) = parse([("_has:Observation:patient:_has:AuditEvent:entity:agent", "y")], "Patient").chains
    its_patient = search_parameters("Observation")["patient"]
    assert back.links == (Link("patient", "Observation", True, its_patient), Link("entity", "AuditEvent", True))
    assert (back.parameter, back.rest) == ("agent", "_has:AuditEvent:entity:agent")


def test_a_chain_without_a_type_goes_to_every_type_that_has_the_parameter() -> None:
    (chain,) = parse([("subject.birthdate", "2020")], "Observation").chains
    assert [name for name, _ in chain.inner] == ["Patient"]
    (chain,) = parse([("subject.identifier", "x")], "Observation").chains
    assert {name for name, _ in chain.inner} == {"Patient", "Group", "Device", "Location"}


@pytest.mark.parametrize(
    ("resource_type", "name"),
    [
        ("Observation", "code.name"),
        ("Observation", "subject.nonsense"),
        ("Observation", "subject:Nonsense.name"),
        ("Observation", "subject:Medication.code"),
        ("Observation", "_list._id"),
        ("Observation", "_account:Organization.name"),
        ("Observation", "_compartment:Patient.name"),
        ("Encounter", "_has:Observation:patient:code"),
        ("Patient", "_has:Observation:patient"),
        ("Patient", "_has:Observation:code:code"),
        ("Patient", "_has:Nonsense:patient:code"),
        ("Patient", "_has:Observation:patient:date"),
    ],
)
def test_a_chain_that_leads_nowhere_is_an_error(resource_type: str, name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse([(name, "x")], resource_type)
    assert caught.value.issues[0].expression == name


def test_a_compartment_search_knows_its_types() -> None:
    query = parse(
        [("_type", "Observation,Condition"), ("_since", "2020")],
        None,
        compartment="Patient/1",
        compartment_types=["Observation", "Condition"],
    )
    assert (query.types, query.path) == (("Condition", "Observation"), "Patient/1/*")
    assert query.clauses[0].values == (DateValue("ge", "2020-01-01T00:00:00.000Z", "2020-12-31T23:59:59.999Z"),)
    with pytest.raises(BadRequest):
        parse([("_type", "Device")], None, compartment="Patient/1", compartment_types=["Observation"])


def test_several_types_share_their_common_parameters() -> None:
    assert parse([("_type", "Patient,Observation"), ("_id", "1")], None, strict=True).types == (
        "Observation",
        "Patient",
    )
    with pytest.raises(BadRequest):
        parse([("_type", "Patient,Observation"), ("birthdate", "2020")], None, strict=True)


@given(st.lists(st.text("ab\\,|$"), min_size=1))
def test_escaped_parts_come_back(parts: list[str]) -> None:
    escaped = [part.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$") for part in parts]
    assert [unescape(part) for part in split(",".join(escaped), ",")] == parts


def test_a_long_value_with_escapes_is_split_in_one_pass() -> None:
    """In a body there is room for it. If each character copied what came before, this would not end."""
    text = "\\," * 1_000_000
    assert split(f"{text},a|b", ",") == [text, "a|b"]


@pytest.mark.parametrize("value", ["|" * 3, "a|b|c|d"])
@pytest.mark.parametrize("name", ["code", "identifier:of-type", "value-quantity"])
def test_too_many_bars_are_refused(name: str, value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse([(name, value)], "Observation")
    assert refused.value.issues[0].expression == name


@given(
    st.text(), st.sampled_from(["code", "subject", "date", "value-quantity", "code-value-quantity", "_id", "_include"])
)
def test_any_text_is_a_value_or_a_bad_request(text: str, name: str) -> None:
    expressions: list[str | None] = [name]
    try:
        parse([(name, text)], "Observation")
    except BadRequest as error:
        expressions = [issue.expression for issue in error.issues]
    assert expressions == [name]
