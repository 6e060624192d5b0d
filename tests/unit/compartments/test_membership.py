from typing import Any

import pytest

from bulkhead.compartments import membership
from bulkhead.errors import BadRequest
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore, head_of
from tests.support.search_samples import observation, patient
from tests.support.searches import pages

ENCOUNTER = {
    "resourceType": "Encounter",
    "id": "e",
    "subject": {"reference": "Patient/1"},
    "participant": [{"individual": {"reference": "Practitioner/p"}}],
    "serviceProvider": {"reference": "Organization/o"},
}


def version(resource: dict[str, Any]) -> Version:
    return Version(head_of(resource), lambda head: resource)


def bare(key: str) -> Version:
    """A resource that says nothing."""
    resource_type, _, identifier = key.partition("/")
    return version({"resourceType": resource_type, "id": identifier})


def clinic() -> MemoryStore:
    store = MemoryStore()
    for resource in (
        patient("1"),
        patient("2", link=[{"other": {"reference": "Patient/1"}, "type": "seealso"}]),
        ENCOUNTER,
        observation("a", subject="Patient/1", encounter={"reference": "Encounter/e"}),
        observation("b", subject="Patient/2", performer=[{"reference": "Patient/1"}]),
        observation("c", subject="Patient/2", focus=[{"reference": "Patient/1"}]),
    ):
        store.put(resource)
    return store


def test_the_five_of_r4() -> None:
    counts = {code: len(its.parameters) for code, its in membership.built_in().items()}
    assert counts.keys() == {"Patient", "Encounter", "Practitioner", "Device", "RelatedPerson"}
    assert membership.built_in()["Patient"].parameters["Communication"] == {"subject", "sender", "recipient"}


def test_memberships_follow_the_parameters_of_each_definition() -> None:
    assert membership.memberships(version(ENCOUNTER), membership.built_in()) == [
        "Encounter/e",
        "Patient/1",
        "Practitioner/p",
    ]


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("Patient/1", ["Patient/1"]),
        ("Encounter/1", ["Encounter/1"]),
        ("Practitioner/1", ["Practitioner/1"]),
        ("Device/1", []),
        ("Organization/1", []),
    ],
)
def test_a_resource_is_in_its_own_where_the_definition_lists_its_type(key: str, own: list[str]) -> None:
    assert membership.memberships(bare(key), membership.built_in()) == own


def test_a_parameter_outside_the_definition_makes_no_member() -> None:
    focused = observation("c", subject="Patient/2", focus=[{"reference": "Patient/1"}])
    assert membership.memberships(version(focused), membership.built_in()) == ["Patient/2"]


def test_definitions_given_decide() -> None:
    known = {"Organization": membership.Definition("Organization", {"Encounter": frozenset({"service-provider"})})}
    assert membership.memberships(version(ENCOUNTER), known) == ["Organization/o"]


def listed(store: MemoryStore, target: str, resource_type: str | None = None, limit: int = 1000) -> list[str]:
    found: list[str] = []
    after: str | None = None
    while True:
        page = membership.members(store, target, resource_type, after=after, limit=limit)
        found += [member.source for member in page.members]
        after = page.next
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_members_page_by_type_and_id(limit: int) -> None:
    store = clinic()
    expected = ["Encounter/e", "Observation/a", "Observation/b", "Patient/2"]
    assert listed(store, "Patient/1", limit=limit) == expected
    assert listed(store, "Patient/1", "Observation", limit) == ["Observation/a", "Observation/b"]


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_definition_that_says_so_lists_the_target_itself(limit: int) -> None:
    store = clinic()
    assert listed(store, "Encounter/e", limit=limit) == ["Encounter/e", "Observation/a"]
    assert listed(store, "Encounter/e", "Encounter", limit) == ["Encounter/e"]
    assert listed(store, "Encounter/e", "Observation", limit) == ["Observation/a"]
    assert listed(store, "Practitioner/p", limit=limit) == ["Encounter/e", "Practitioner/p"]


def test_a_member_is_told_by_what_it_points_at_now() -> None:
    its = membership.built_in()["Encounter"]
    here = {"reference": "Encounter/e"}
    assert membership.is_member(its, "Encounter/e", bare("Encounter/e"))
    assert membership.is_member(its, "Encounter/e", version(observation("a", encounter=here)))
    assert not membership.is_member(its, "Encounter/e", version(observation("a", focus=[here])))
    assert not membership.is_member(its, "Encounter/e", bare("Encounter/f"))


def test_a_type_without_compartment_is_refused() -> None:
    store = clinic()
    with pytest.raises(BadRequest):
        membership.members(store, "Organization/o")
    with pytest.raises(BadRequest):
        membership.checked(store, "Organization", None)


def test_a_type_outside_the_definition_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as caught:
        membership.checked(clinic(), "Patient", "Practitioner")
    assert caught.value.issues[0].expression == "Practitioner"


def trail(id: str) -> dict[str, Any]:
    """An AuditEvent about Patient/1."""
    return {"resourceType": "AuditEvent", "id": id, "entity": [{"what": {"reference": "Patient/1"}}]}


def test_what_the_server_has_recorded_is_listed_where_it_is_asked_for() -> None:
    store = clinic()
    store.put(trail("audit-1"))
    store.put(trail("by-a-client"))
    assert "AuditEvent/audit-1" not in listed(store, "Patient/1")
    assert "AuditEvent/by-a-client" in listed(store, "Patient/1")
    page = membership.members(store, "Patient/1", "AuditEvent", trail=True)
    assert [member.source for member in page.members] == ["AuditEvent/audit-1", "AuditEvent/by-a-client"]
    assert "AuditEvent/audit-1" not in pages(store, "Patient/1/*", "")
    for path, query in (("Patient/1/AuditEvent", ""), ("Patient/1/*", "_type=AuditEvent"), ("AuditEvent", "patient=1")):
        assert sorted(pages(store, path, query)) == ["AuditEvent/audit-1", "AuditEvent/by-a-client"], path
