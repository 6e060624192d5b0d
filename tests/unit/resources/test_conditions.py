"""Criteria: normal form, what is refused, and what they find."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access.policy import EVERYBODY
from bulkhead.errors import BadRequest
from bulkhead.facts.normalise import fold
from bulkhead.resources import conditions
from bulkhead.resources.conditions import condition, conditional_reference
from bulkhead.resources.written import Written
from bulkhead.search.parse import parse
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store.version import everything
from tests.support.bundle_samples import BASE, SYSTEM, create, key_of, observation, patient, post

VALUES = st.text(min_size=1, max_size=20).filter(
    lambda text: (
        text.strip(",|\\ $") == text and "\\" not in text and all(fold(part) for part in text.split(",") if part)
    )
)


@given(
    st.lists(st.tuples(st.sampled_from(["name", "address-city", "family"]), VALUES), min_size=1, unique=True),
    st.randoms(),
)
def test_order_and_encoding_do_not_matter(pairs: list[tuple[str, str]], random: Random) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    one = condition("Patient", urlencode(pairs), "x", base="")
    other = condition("Patient", "Patient?" + "&".join(f"{n}={quote(v, safe='')}" for n, v in shuffled), "x", base="")
    assert one == other
    assert one.text == other.text


@given(st.lists(VALUES, min_size=2, max_size=2, unique=True))
def test_different_criteria_differ(values: list[str]) -> None:
    one, other = (condition("Patient", urlencode({"name": value}), "x", base="") for value in values)
    assert one.text != other.text


def test_the_pipe_may_be_encoded_or_not() -> None:
    assert condition("Patient", "identifier=s|v", "x", base="") == condition(
        "Patient", "?identifier=s%7Cv", "x", base=""
    )
    assert condition("Patient", "identifier=s|v", "x", base="") != condition(
        "Practitioner", "identifier=s|v", "x", base=""
    )


@pytest.mark.parametrize(
    "criteria",
    ["", "?", "identifier", "identifier=", "identifier=a&name=", "nonsense=1", "_count=1", "identifier=a&_sort=_id",
     "_include=Patient:organization", "Practitioner?identifier=a", "birthdate=never", "name:nonsense=a"],
)  # fmt: skip
def test_criteria_that_select_nothing_in_particular_are_refused(criteria: str) -> None:
    with pytest.raises(BadRequest) as caught:
        condition("Patient", criteria, "Bundle.entry[3].request.ifNoneExist", base="")
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[3].request.ifNoneExist"]


@pytest.mark.parametrize(
    "text", ["Patient/1", "urn:uuid:1", "http://x.org/Patient?identifier=1", "Nonsense?identifier=1"]
)
def test_other_references_are_not_conditional(store: Store, text: str) -> None:
    assert conditional_reference(Session.of(store, EVERYBODY), text, BASE, expression="x") is None


@pytest.mark.parametrize(
    "text", ["Patient?identifier=s|v", "Patient/?identifier=s%7Cv", f"{BASE}/Patient?identifier=s|v"]
)
def test_forms_of_conditional_references(store: Store, text: str) -> None:
    assert conditional_reference(Session.of(store, EVERYBODY), text, BASE, expression="x") == condition(
        "Patient", "identifier=s|v", "x", base=""
    )


def test_what_conditions_find(store: Store) -> None:
    names = [
        patient("1", gender="male"),
        patient("1", gender="female"),
        patient("2"),
        patient("3"),
        {"resourceType": "Basic", "code": {}},
    ]
    keys = [key_of(content) for content in post(store, *(create(resource) for resource in names[:4]))]
    criteria = {
        f"identifier={SYSTEM}|1": {keys[0], keys[1]},
        f"identifier={SYSTEM}|2": {keys[2]},
        f"identifier={SYSTEM}|4": set(),
        "identifier=http://other|1": set(),
        "identifier=3": {keys[3]},
        f"identifier={SYSTEM}|1&gender=female": {keys[1]},
        f"_id={keys[3].partition('/')[2]}": {keys[3]},
    }
    wanted = {text: condition("Patient", text, "x", base="") for text in criteria}
    found = conditions.find(store, wanted.values(), everything)
    assert {text: {head.key for head in found[one]} for text, one in wanted.items()} == criteria


def test_what_a_caller_may_not_see_is_not_found(store: Store) -> None:
    post(store, create(patient("1")))
    wanted = [condition("Patient", text, "x", base="") for text in (f"identifier={SYSTEM}|1", "identifier=1")]
    assert conditions.find(store, wanted, lambda _: False) == {wanted[0]: [], wanted[1]: []}


def test_resources_about_to_be_written_are_met(store: Store) -> None:
    written = Written(
        store,
        everything,
        {
            "Patient/a": patient("1"),
            "Patient/b": patient("1", gender="female"),
            "Observation/a": observation("Patient/a"),
        },
        gone=(),
    )
    assert sorted(written.meeting(condition("Patient", f"identifier={SYSTEM}|1", "x", base="").query)) == [
        "Patient/a",
        "Patient/b",
    ]
    assert written.meeting(condition("Patient", "gender=female", "x", base="").query) == ["Patient/b"]
    assert written.meeting(condition("Patient", "_id=a", "x", base="").query) == ["Patient/a"]
    assert written.meeting(condition("Observation", "patient=Patient/a", "x", base="").query) == ["Observation/a"]
    assert written.meeting(condition("Encounter", "patient=Patient/a", "x", base="").query) == []


@pytest.mark.parametrize(
    ("resource_type", "element", "parameter", "stored", "asked"),
    [
        (
            "QuestionnaireResponse",
            "questionnaire",
            "questionnaire",
            f"{BASE}/Questionnaire/q",
            f"{BASE}/Questionnaire/q",
        ),
        ("QuestionnaireResponse", "questionnaire", "questionnaire", f"{BASE}/Questionnaire/q|1", "Questionnaire/q"),
        ("QuestionnaireResponse", "questionnaire", "questionnaire", "http://e/Q|1.0#frag", "http://e/Q|1.0"),
        ("Observation", "subject", "subject", {"reference": "Patient/1"}, f"{BASE}/Patient/1"),
    ],
)
def test_criteria_and_searches_agree_on_what_is_below_the_base(
    store: Store, resource_type: str, element: str, parameter: str, stored: Any, asked: str
) -> None:
    resource = {"resourceType": resource_type, "id": "1", element: stored}
    one = condition(resource_type, urlencode({parameter: asked}), "x", base=BASE)
    assert one.query.clauses == parse([(parameter, asked)], resource_type, base=BASE).clauses
    assert Written(store, everything, {f"{resource_type}/1": resource}, gone=()).meeting(one.query) == [
        f"{resource_type}/1"
    ]
