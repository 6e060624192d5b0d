import pytest

from bulkhead.compartments import membership
from bulkhead.errors import NotSupported
from bulkhead.search import drivers
from bulkhead.search.dated import Dated, Gathered, Line
from bulkhead.search.drivers import Account, Branch, Created, Itself, Keys, Merged, Pointers, Updated, Values
from bulkhead.search.parse import parse
from bulkhead.search.plan import Complete, Plan, plan

CLINICAL, NONE = Complete(True, True, False), Complete(False, False, False)
NOW = "2026-06-01T00:00:00.000Z"


def planned(resource_type: str | None, *query: tuple[str, str]) -> Plan:
    return plan(parse(list(query), resource_type), None, NOW, has=CLINICAL)


def test_ids_come_first() -> None:
    found = planned("Patient", ("identifier", "s|v"), ("_id", "1,2"))
    assert found.driver == Keys(("Patient/1", "Patient/2"))


def test_an_identifier_leads_before_a_reference() -> None:
    found = planned("Observation", ("subject", "Patient/1"), ("identifier", "s|V"))
    assert found.driver == Values("Observation", (Branch("identifier", "v", prefix="s#"),), once=True)
    assert found.filtered


def test_a_reference_leads_before_a_code() -> None:
    found = planned("Observation", ("code", "1234"), ("subject", "Group/1,Group/2"))
    pointers = (Pointers(f"Group/{number}", "Observation", frozenset({"subject"})) for number in (1, 2))
    assert found.driver == Merged(tuple(pointers))


@pytest.mark.parametrize("patient", [("patient", "1"), ("subject", "Patient/1"), ("subject:Patient", "1")])
def test_a_patient_and_a_code_lead_together(patient: tuple[str, str]) -> None:
    found = planned("Observation", ("code", "s|1234,x"), patient)
    lines = (Line("date", "Patient/1|code|1234"), Line("date", "Patient/1|code|x"))
    assert found.driver == Dated("Observation", "date", lines, newest_first=True)
    assert not found.filtered


def test_a_patient_and_another_code_lead_together() -> None:
    found = planned("Condition", ("evidence", "s|1234,x"), ("patient", "1"))
    ranges = (Branch("evidence", "1234", prefix="Patient/1#"), Branch("evidence", "x", prefix="Patient/1#"))
    assert found.driver == Values("Condition", ranges, owned=True)
    assert not found.filtered


def test_the_codes_of_a_patient_and_of_components_are_listed_together() -> None:
    found = planned("Observation", ("combo-code", "a"), ("patient", "1"))
    lines = (Line("date", "Patient/1|code|a"),)
    others = Values("Observation", (Branch("component-code", "a", prefix="Patient/1#"),))
    assert found.driver == Gathered((Dated("Observation", "date", lines, True), others))


ALL_OF_IT = [("patient", "1"), ("date", "ge2020-01-15"), ("date", "lt2020-03"), ("code", "a"), ("_sort", "date")]


def test_a_patient_a_code_and_dates_are_one_range_in_clinical_order() -> None:
    found = planned("Observation", *ALL_OF_IT)
    bounds = {"first": "2020-01-15T00:00:00.000Z", "last": "2020-03-01T00:00:00.000Z"}
    assert found.driver == Dated("Observation", "date", (Line("date", "Patient/1|code|a"),), False, **bounds)
    assert found.ordered
    assert not found.filtered


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ([("patient", "1"), ("_sort", "-date")], Line("date", "Patient/1")),
        ([("patient", "1"), ("_sort", "-date,_id"), ("status", "final")], Line("date", "Patient/1")),
        ([("patient", "1"), ("date", "ge2020")], Line("date", "Patient/1")),
        ([("code", "a"), ("_sort", "-date")], Line("code", "a", of_code=True)),
        ([("code", "a"), ("date", "ge2020")], Line("code", "a", of_code=True)),
    ],
)
def test_a_patient_or_a_code_leads_in_clinical_order(query: list[tuple[str, str]], line: Line) -> None:
    found = planned("Observation", *query)
    assert found.driver == Dated(
        "Observation", "date", (line,), True, first=SINCE if ("date", "ge2020") in query else None
    )
    assert found.ordered


SINCE = "2020-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "query",
    [
        [("patient", "1")],
        [("patient", "1"), ("_sort", "status")],
        [("patient", "1"), ("_sort", "-date,status")],
        [("patient", "1"), ("_sort", "-date"), ("encounter", "2")],
        [("code", "a"), ("_sort", "-date"), ("_account", "Organization/1")],
        [("code", "a"), ("_sort", "value-date")],
        [("code", "a")],
    ],
)
def test_what_is_about_no_dates_or_selects_more_does_not_lead_in_clinical_order(query: list[tuple[str, str]]) -> None:
    assert not isinstance(planned("Observation", *query).driver, Dated)


@pytest.mark.parametrize(
    "query", [ALL_OF_IT, [("code", "a"), ("_sort", "-date")], [("patient", "1"), ("_sort", "-date")]]
)
def test_until_all_resources_have_their_entries_nothing_leads_in_clinical_order(query: list[tuple[str, str]]) -> None:
    found = plan(parse(query, "Observation"), None, NOW, has=NONE)
    assert isinstance(found.driver, (Gathered, Merged))
    assert not found.ordered


@pytest.mark.parametrize("subject", ["1", "Group/1", "Patient/1,Group/1"])
def test_what_may_not_be_a_patient_does_not_lead_with_a_code(subject: str) -> None:
    assert isinstance(planned("Observation", ("code", "1234"), ("subject", subject)).driver, Merged)


def test_an_id_alone_is_looked_for_under_every_type_it_may_have() -> None:
    driver = planned("Observation", ("subject", "1")).driver
    assert isinstance(driver, Merged)
    assert {stream.target for stream in driver.streams if isinstance(stream, Pointers)} == {
        "Patient/1",
        "Group/1",
        "Device/1",
        "Location/1",
    }


@pytest.mark.parametrize(
    ("query", "branches"),
    [
        (("code", "1234"), [Branch("code", "1234")]),
        (("code", "|A"), [Branch("code", "a")]),
        (("code", "a,s|b"), [Branch("code", "a"), Branch("code", "b")]),
        (("combo-code", "a"), [Branch("code", "a"), Branch("component-code", "a")]),
        (("code-value-quantity", "s|a$gt5"), [Branch("code", "a")]),
    ],
)
def test_codes(query: tuple[str, str], branches: list[Branch]) -> None:
    driver = planned("Observation", query).driver
    assert isinstance(driver, Values)
    assert list(driver.branches) == branches


@pytest.mark.parametrize("name", ["name", "family", "given", "name:exact"])
def test_names_lead_by_their_first_letters(name: str) -> None:
    assert planned("Patient", (name, "Ünal")).driver == Values("Patient", (Branch("name", "un", prefix="unal"),))


def test_a_phone_number_leads_whatever_its_system() -> None:
    assert planned("Patient", ("phone", "phone|555")).driver == Values("Patient", (Branch("telecom", "555"),))


def test_dates_with_both_ends_lead_month_by_month() -> None:
    driver = planned("Encounter", ("date", "ge2020-01-15"), ("date", "lt2020-03")).driver
    last = "2020-03-01T00:00:00.000Z"
    months = ["2020-01", "2020-02", "2020-03", "long"]
    assert driver == Values("Encounter", tuple(Branch("date", month, last=last) for month in months))


@pytest.mark.parametrize(
    "query",
    [
        ("status", "final"),
        ("code:not", "a"),
        ("code:missing", "true"),
        ("code", "s|"),
        ("date", "ge2020"),
        ("date", "ne2020-01-01"),
        ("subject:missing", "false"),
        ("subject", "http://there/Patient/1"),
        ("subject:identifier", "a"),
        ("value-quantity", "5"),
    ],
)
def test_what_no_index_holds_is_found_by_time(query: tuple[str, str]) -> None:
    found = planned("Observation", query)
    assert found.driver == Created(("Observation",), NOW)
    assert found.filtered


@pytest.mark.parametrize("query", [("name", "a"), ("name:contains", "abc")])
def test_names_too_short_or_inside_are_found_by_time(query: tuple[str, str]) -> None:
    assert isinstance(planned("Patient", query).driver, Created)


def test_last_updated_bounds_the_time() -> None:
    driver = planned("Patient", ("_lastUpdated", "ge2026-02"), ("_lastUpdated", "lt2026-03")).driver
    assert driver == Updated(("Patient",), "2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z")


def test_accounts_and_compartments_lead_over_several_types() -> None:
    both = ("_type", "Observation,Patient")
    assert planned(None, both, ("_account", "Organization/a")).driver == Merged((Account("Organization/a", None),))
    driver = planned(None, both, ("_compartment", "Patient/1")).driver
    assert driver == Merged((Pointers("Patient/1", None, None), Account("Patient/1", None), Itself("Patient/1")))


def test_a_compartment_leads_its_own_search() -> None:
    its = membership.built_in()["Patient"]
    query = parse([("status", "final")], "Observation", compartment="Patient/1")
    found = plan(query, its, NOW, has=CLINICAL)
    assert found.driver == Merged((drivers.Compartment("Patient/1", its, ("Observation",)),))
    assert found.membership is its


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ([("_sort", "_lastUpdated")], True),
        ([("_sort", "-_lastUpdated")], True),
        ([("_sort", "_id")], False),
        ([("subject", "Patient/1"), ("_sort", "_id")], True),
        ([("subject", "Patient/1"), ("_sort", "-_id")], False),
        ([("subject", "Patient/1"), ("_sort", "_lastUpdated")], False),
        ([("code", "a"), ("_sort", "_id")], False),
        ([("code", "a")], True),
    ],
)
def test_an_order_that_the_driver_has_not_is_made_afterwards(query: list[tuple[str, str]], ordered: bool) -> None:
    assert planned("Observation", *query).ordered is ordered


def test_a_search_of_the_whole_system_must_say_of_what() -> None:
    with pytest.raises(NotSupported) as caught:
        planned(None, ("_count", "5"))
    assert caught.value.issues[0].expression == "_type"
    assert isinstance(planned(None, ("_id", "1")).driver, Keys)
    assert isinstance(planned(None, ("_account", "Organization/1")).driver, Merged)


def test_several_types_are_driven_one_by_one() -> None:
    driver = planned(None, ("_type", "Condition,Observation"), ("patient", "Patient/1"), ("code", "a")).driver
    assert isinstance(driver, drivers.Each)
    assert [type(one) for one in driver.drivers] == [Dated, Dated]
    assert isinstance(planned(None, ("_type", "Condition,Observation")).driver, Created)
