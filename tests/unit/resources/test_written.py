"""Criteria of every kind among what one bundle writes: value sets, hierarchies, parameters of clients, chains, `_has`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.bundles.identities import SameResource
from bulkhead.errors import BadRequest, NotFound
from bulkhead.resources.conditions import condition_for
from bulkhead.session import Session
from bulkhead.store import Store
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
