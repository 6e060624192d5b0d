"""Criteria of every kind among what one bundle writes: value sets, hierarchies, parameters of clients, chains, `_has`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY
from bulkhead.bundles import criteria as criteria_module
from bulkhead.bundles.identities import SameResource
from bulkhead.errors import BadRequest, NotFound, TooCostly
from bulkhead.fhir import dates, references
from bulkhead.resources import written as written_module
from bulkhead.resources.conditions import condition, condition_for
from bulkhead.resources.written import Matcher, Written
from bulkhead.search import matching
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.version import Version
from tests.support.bundle_samples import (
    SYSTEM,
    Json,
    create,
    delete,
    key_of,
    observation,
    patient,
    post,
    statuses,
    stored,
    update,
)
from tests.support.counting import counted

SNOMED = "http://snomed.info/sct"
BLUE = [{"url": "http://example.org/eye", "valueString": "blue"}]
HERE: list[Json] = [
    {
        "resourceType": "ValueSet",
        "id": "set",
        "url": "http://example.org/set",
        "status": "active",
        "compose": {"include": [{"system": SNOMED, "concept": [{"code": "1"}, {"code": "2"}]}]},
    },
    {
        "resourceType": "SearchParameter",
        "id": "eye",
        "url": "http://example.org/eye-parameter",
        "name": "eye",
        "status": "active",
        "description": "the colour of the eyes",
        "code": "eye",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.extension.where(url='http://example.org/eye').value",
    },
    {"resourceType": "Location", "id": "house", "name": "house"},
    patient("old", id="old"),
]


def problem(code: str, **content: Any) -> Json:
    return {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/old"},
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        **content,
    }


def provenance(target: str) -> Json:
    return {
        "resourceType": "Provenance",
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "somebody"}}],
        "target": [{"reference": target}],
    }


ROOM = {"resourceType": "Location", "name": "room", "partOf": {"reference": "Location/house"}}
# What is written, with the entry that the criteria mean last; the type and the criteria.
CASES: dict[str, tuple[list[Json], str, str]] = {
    ":in": ([create(problem("1"))], "Condition", "code:in=http://example.org/set"),
    ":not-in": ([create(problem("5"))], "Condition", "code:not-in=http://example.org/set"),
    ":below": ([create(ROOM)], "Location", "partof:below=Location/house"),
    "a parameter of clients": ([create(patient(extension=BLUE))], "Patient", "eye=blue"),
    "a chain": (
        [create(patient("7"), "urn:uuid:p"), create(observation("urn:uuid:p"))],
        "Observation",
        f"subject:Patient.identifier={SYSTEM}|7",
    ),
    "a chain to what is changed": (
        [update(patient("7", id="old")), create(observation("Patient/old"))],
        "Observation",
        f"patient.identifier={SYSTEM}|7",
    ),
    "a chain to what was here": (
        [create(observation("Patient/old"))],
        "Observation",
        f"patient.identifier={SYSTEM}|old",
    ),
    "a chain of two": (
        [
            create(patient("7"), "urn:uuid:p"),
            create(observation("urn:uuid:p"), "urn:uuid:o"),
            create(observation("urn:uuid:p", hasMember=[{"reference": "urn:uuid:o"}])),
        ],
        "Observation",
        f"has-member:Observation.subject:Patient.identifier={SYSTEM}|7",
    ),
    "_has": (
        [
            create(
                observation("urn:uuid:p", identifier=[{"system": SYSTEM, "value": "o"}]),
            ),
            create(patient("7"), "urn:uuid:p"),
        ],
        "Patient",
        f"_has:Observation:patient:identifier={SYSTEM}|o",
    ),
}


@pytest.fixture
def ward(store: Store) -> Store:
    post(store, *(update(resource) for resource in HERE))
    return store


@pytest.mark.parametrize("case", CASES)
def test_conditional_references_find_what_is_written_with_them(ward: Store, case: str) -> None:
    entries, resource_type, criteria = deepcopy(CASES[case])
    answers = post(ward, *entries, create(provenance(f"{resource_type}?{criteria}")))
    assert stored(ward, key_of(answers[-1]))["target"] == [{"reference": key_of(answers[-2])}]


@pytest.mark.parametrize("case", CASES)
def test_a_conditional_create_sees_what_meets_its_criteria(ward: Store, case: str) -> None:
    entries, _, criteria = deepcopy(CASES[case])
    again = create(deepcopy(entries[-1]["resource"]), None, criteria)
    with pytest.raises(SameResource):
        post(ward, *entries, again)


def test_chains_do_not_lead_through_what_is_deleted_or_changed(ward: Store) -> None:
    post(ward, create(observation("Patient/old", identifier=[{"system": SYSTEM, "value": "o"}])))
    criteria = f"Observation?patient.identifier={SYSTEM}|old&identifier={SYSTEM}|o2"
    member = create(observation("Patient/old", identifier=[{"system": SYSTEM, "value": "o2"}]))
    for gone in (delete("Patient/old"), update(patient("new", id="old"))):
        with pytest.raises(NotFound):
            post(ward, gone, member, create(provenance(criteria)))
    answers = post(ward, member, create(provenance(criteria)))
    assert stored(ward, key_of(answers[1]))["target"] == [{"reference": key_of(answers[0])}]


def test_what_cannot_be_spelt_out_is_at_its_place(ward: Store) -> None:
    with pytest.raises(BadRequest) as caught:
        post(ward, create(patient()), create(provenance("Condition?code:in=http://example.org/nowhere")))
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[1].resource.target[0]"]
    with pytest.raises(BadRequest) as caught:
        post(ward, create(problem("1"), None, "code:in=http://example.org/nowhere"))
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[0].request.ifNoneExist"]


@pytest.mark.parametrize(
    "criteria", ["code:in=http://example.org/set", f"identifier={SYSTEM}|c&code:in=http://example.org/set"]
)
def test_a_value_set_beside_an_identifier_finds_what_is_there(ward: Store, criteria: str) -> None:
    session = Session.of(ward, EVERYBODY)
    resource = problem("1", identifier=[{"system": SYSTEM, "value": "c"}])

    def made() -> tuple[str, bool]:
        wanted = condition_for(session, "Condition", criteria, expression="If-None-Exist", base="")
        head, new = resources.create(session, resource, wanted)
        return head.key, new

    first, second = made(), made()
    assert first[1]
    assert second == (first[0], False)


def test_a_batch_with_criteria_by_chain_makes_one(ward: Store) -> None:
    both = ["subject:Patient.identifier=old", f"patient.identifier={SYSTEM}|old"]
    answers = post(ward, *(create(observation("Patient/old"), None, text) for text in both), kind="batch")
    assert statuses(answers) == ["201", "200"]
    assert key_of(answers[0]) == key_of(answers[1])


PEOPLE = [
    patient(
        str(n),
        id=f"p{n}",
        birthDate=f"19{50 + n % 7}-0{1 + n % 3}-11",
        gender=("female", "male")[n % 2],
        name=[{"family": f"{('Muller', 'Möller', 'Ng', 'o')[n % 4]}{n % 5}", "given": ["Ann", "Bo"][: n % 3]}],
        address=[{"city": f"Town {n % 6}"}] if n % 4 else [],
        telecom=[{"system": "phone", "value": f"555 {n % 9}"}],
        managingOrganization={"reference": f"Organization/{n % 3}"},
        meta={"tag": [{"system": "urn:tag", "code": f"T{n % 4}"}], "profile": [f"http://profile/{n % 2}"]},
        link=[{"type": "refer", "other": {"reference": f"Patient/p{n // 2}"}}],
    )
    for n in range(40)
]
PEOPLE_ASKED = [
    f"identifier={SYSTEM}|7", "identifier=7", f"identifier={SYSTEM}|7,{SYSTEM}|9", f"identifier={SYSTEM}|", "identifier=|7",
    "gender=male", "gender:not=male", "gender:missing=true", "family=mull", "family=Möller", "family=muller1", "family:exact=Ng2",
    "family:contains=ll", "family=n", "family=o", "name=ann", "given=Bo", "name=mull,ng", "phonetic=Muller", "birthdate=1950-01-11",
    "birthdate=1951", "birthdate=lt1955&birthdate=gt1951", "address-city=town", "address=Town 3", "telecom=555 3", "phone=phone|555 3",
    "organization=Organization/1", "organization=1", "organization=Organization/1,Organization/2", "organization:missing=false",
    "_tag=urn:tag|T2", "_tag=t2", "_profile=http://profile/1", "link=Patient/p3", "_id=p7", "_id=p7,p8", "_lastUpdated=gt2000",
    "family=mull&gender=male", "gender=male&birthdate=1953-01-11&organization=Organization/0",
]  # fmt: skip


@pytest.mark.parametrize("criteria", PEOPLE_ASKED)
def test_what_an_index_would_leave_out_meets_nothing(store: Store, criteria: str) -> None:
    """Only some of the resources are compared: those that all of them give are found, in any order."""
    found_by = policy.fence(store, EVERYBODY, policy.SEARCH)
    query = condition("Patient", criteria, "x", base="").query
    by_key = {f"Patient/{one['id']}": one for one in PEOPLE}
    written = Written(store, found_by, by_key, gone=())
    heads = [Head(key, 1, dates.now(), "POST", b"x") for key in by_key]
    candidates = [Version(head, lambda head: by_key[head.key]) for head in heads]
    expected = [one.key for one in Matcher(store, found_by).kept(query, candidates)]
    assert sorted(written.meeting(query)) == sorted(expected)


def test_thousands_of_criteria_are_compared_with_few_resources_each(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with all would be some hours for a bundle of some megabytes."""
    compare, compared = counted(matching.matches)
    monkeypatch.setattr(matching, "matches", compare)
    entries = [
        create(
            patient(birthDate="2000-01-01", name=[{"family": f"x{n:02}"}]), None, f"birthdate=2000-01-01&family=x{n:02}"
        )
        for n in range(40)
    ]
    assert statuses(post(store, *entries)) == ["201"] * 40
    assert len(compared) < 40 * 12


def test_what_criteria_are_compared_with_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_module, "MATCHED", 300)
    entries = [create(patient(birthDate=f"2000-01-{n:02}"), None, f"birthdate=2000-01-{n:02}") for n in range(1, 21)]
    with pytest.raises(TooCostly):
        post(store, *entries)


def test_each_resource_is_gone_through_once_for_the_places_of_its_criteria(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(store, *(update(patient(str(n), id=f"p{n}")) for n in range(20)))
    walk, walked = counted(references.walk)
    monkeypatch.setattr(references, "walk", walk)
    members = [{"entity": {"reference": f"Patient?identifier={SYSTEM}|{n}"}} for n in range(20)]
    post(store, create({"resourceType": "Group", "type": "person", "actual": True, "member": members}))
    assert len(walked) < 15


def test_criteria_that_name_each_other_in_a_long_row_are_settled_one_after_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, asked = counted(criteria_module._numbers)
    monkeypatch.setattr(criteria_module, "_numbers", numbers)
    entries = [create(patient("0"), "urn:uuid:0")]
    for n in range(1, 20):
        linked = [{"type": "refer", "other": {"reference": f"urn:uuid:{n - 1}"}}]
        entries.append(create(patient(str(n), link=linked), f"urn:uuid:{n}", f"link=urn:uuid:{n - 1}"))
    assert statuses(post(store, *entries)) == ["201"] * 20
    assert len(asked) < 20 * 4
