"""Stored CompartmentDefinitions: in force at once here and within DEFINITIONS_TTL elsewhere, R4's own as if they were stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bulkhead import bundles, resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.compartments import membership
from bulkhead.compartments.membership import built_in
from bulkhead.errors import Forbidden, NotFound, PreconditionFailed, Unprocessable
from bulkhead.fhir import json
from bulkhead.resources import conditional, conditions
from bulkhead.resources.patches import json_patch
from bulkhead.search import parse, run
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.capacity import metered
from bulkhead.store.version import everything
from tests.support.faults import Failing, unreachable
from tests.support.searches import unrecorded
from tests.unit.compartments.test_compartment_definitions import definition

Json = dict[str, Any]

PATIENT = "CompartmentDefinition/patient"
FENCED = Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))


def put(store: Store, resource: Json, **more: Any) -> Head:
    key = f"{resource['resourceType']}/{resource['id']}"
    return resources.update(Session.of(store, more.pop("who", EVERYBODY)), resource, key, **more)[0]


def elsewhere(store: Store, **settings: Any) -> Store:
    """Another process on the same table."""
    return Store(store.table.client, store.s3, replace(store.settings, **settings))


def members_of(store: Store, code: str) -> set[str]:
    its = membership.definition(store, code)
    return set(its.parameters) if its else set()


# In force


def test_without_any_those_of_r4_are_in_force(store: Store) -> None:
    assert membership.in_force(store) == built_in()


def test_a_stored_one_is_in_force_at_once_and_deleting_ends_it(store: Store) -> None:
    membership.in_force(store)
    put(store, definition("x", "Organization", Encounter=["service-provider"]))
    assert members_of(store, "Organization") == {"Encounter"}
    put(store, definition("x", "Organization", Patient=["organization"]))
    assert members_of(store, "Organization") == {"Patient"}
    resources.delete(Session.of(store, EVERYBODY), "CompartmentDefinition/x")
    assert membership.definition(store, "Organization") is None


def test_a_new_one_of_r4s_gives_way_and_comes_back(store: Store) -> None:
    put(store, definition("patient", "Patient", Task=["patient"]))
    assert members_of(store, "Patient") == {"Task"}
    resources.delete(Session.of(store, EVERYBODY), PATIENT)
    assert membership.definition(store, "Patient") == built_in()["Patient"]


def test_elsewhere_it_is_in_force_when_what_was_read_is_too_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("bulkhead.compartments.membership.time.monotonic", lambda: now)
    other = elsewhere(store, definitions_ttl=1)
    assert membership.in_force(other) == built_in()
    put(store, definition("x", "Organization", Encounter=["service-provider"]))
    assert members_of(other, "Organization") == set()
    assert membership.in_force(other, fresh=True).keys() - built_in().keys() == {"Organization"}
    put(store, definition("y", "Location", Encounter=["location"]))
    now += 0.9
    assert members_of(other, "Location") == set()
    now += 0.1
    assert members_of(other, "Location") == {"Encounter"}


def test_a_read_and_a_create_cost_one_request_more_in_a_second_at_most(store: Store) -> None:
    put(store, definition("x", "Organization", Encounter=["service-provider"]))
    membership.in_force(store)
    with metered(store.table.client) as meter:
        for _ in range(20):
            membership.in_force(store)
    assert meter.total == 0
    with metered(store.table.client) as meter:
        membership.in_force(store, fresh=True)
    assert dict(meter.requests) == {"Query": 1, "BatchGetItem": 1}
    with metered(store.table.client) as meter:
        membership.in_force(elsewhere(store))
    assert meter.total == 2


def test_where_none_was_ever_written_they_cost_one_query(store: Store) -> None:
    with metered(store.table.client) as meter:
        membership.in_force(store)
    assert dict(meter.requests) == {"Query": 1}


def test_a_commit_whose_answer_is_lost_counts(store: Store) -> None:
    """Whatever call it is whose answer is lost: what is in force is what stands in the table."""
    membership.in_force(store)
    resource = definition("x", "Organization", Encounter=["service-provider"])
    client = store.table.client
    for at in range(20):
        failing: Any = Failing(client, at, unreachable(), after=True)
        store.table.client = failing
        try:
            put(store, resource)
        except Exception:
            continue
        finally:
            store.table.client = client
            head = store.read("CompartmentDefinition/x")
            assert (head is not None) == (members_of(store, "Organization") == {"Encounter"})
        if not failing.struck:
            return
    raise AssertionError("every call failed")


def test_a_definition_that_could_not_be_committed_does_no_harm(store: Store) -> None:
    client, resource = store.table.client, definition("x", "Organization", Encounter=["service-provider"])
    for at in range(3):
        failing: Any = Failing(client, at, unreachable(), for_ever=True)
        store.table.client = failing
        with pytest.raises(Exception, match="endpoint"):
            put(store, resource)
        store.table.client = client
        assert membership.in_force(store, fresh=True) == built_in()


def test_two_hundred_in_one_transaction(store: Store) -> None:
    """More than one TransactWriteItems takes: R4's own are among them, which are no items of the table yet."""
    entries = [definition(f"x{n:03}", "Organization", Encounter=["service-provider"]) for n in range(198)]
    entries += [definition("patient", "Patient", Task=["patient"]), definition("device", "Device", Task=["subject"])]
    transaction(store, *entries)
    assert members_of(store, "Patient") == members_of(store, "Device") == {"Task"}
    assert membership.in_force(store)["Organization"].url == "http://x.example/x000"
    assert [head.version for head in store.versions(PATIENT, None, 10)] == [2, 1]
    assert membership.in_force(elsewhere(store)) == membership.in_force(store)


# R4's own, as resources


def listed(store: Store, query: str = "", resource_type: str = "CompartmentDefinition") -> list[str]:
    found = run.search(
        store,
        parse.parse(parse_qsl(query), resource_type or None),
        base="http://here",
        represent=lambda version: {**version.body, "id": version.head.id},
        fence=everything,
        consulted=unrecorded,
    )
    return [entry["resource"]["id"] for entry in found.get("entry", ())]


FIVE = ["device", "encounter", "patient", "practitioner", "relatedPerson"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", FIVE),
        ("code=Patient", ["patient"]),
        ("resource=Task", FIVE),
        ("url=http://hl7.org/fhir/CompartmentDefinition/relatedPerson", ["relatedPerson"]),
        ("name=base fhir&_sort=-_id", FIVE[::-1]),
        ("_id=patient,nobody", ["patient"]),
        ("status=active", []),
        ("_lastUpdated=lt2020", FIVE),
    ],
)
def test_those_of_r4_are_found(store: Store, query: str, found: list[str]) -> None:
    assert listed(store, query) == found


def test_they_are_found_beside_others(store: Store) -> None:
    put(store, definition("a", "Organization"))
    put(store, {"resourceType": "Patient", "id": "p"})
    assert listed(store) == ["a", *FIVE]
    assert listed(store, "_type=CompartmentDefinition,Patient", "") == ["a", *FIVE, "p"]
    assert listed(store, "_type=CompartmentDefinition,Patient&_sort=-_id", "") == ["relatedPerson", "practitioner", "patient", "p", "encounter", "device", "a"]  # fmt: skip
    resources.delete(Session.of(store, EVERYBODY), "CompartmentDefinition/a")
    assert listed(store) == FIVE


def test_one_of_r4_is_version_one_of_what_is_written_over_it(store: Store) -> None:
    original = resources.read(Session.of(store, EVERYBODY), PATIENT)
    assert (original.version, original.updated) == (1, "2019-10-31T22:29:23.356Z")
    with pytest.raises(PreconditionFailed):
        put(store, definition("patient", "Patient"), if_match='W/"2"')
    with pytest.raises(PreconditionFailed):
        put(store, definition("patient", "Patient"), if_none_match="*")
    assert put(store, definition("patient", "Patient"), if_match='W/"1"').version == 2
    assert [head.version for head in store.versions(PATIENT, None, 10)] == [2, 1]
    past = store.read_version(PATIENT, 1)
    assert past is not None
    assert store.decode(past) == store.decode(original)
    deleted = resources.delete(Session.of(store, EVERYBODY), PATIENT)
    assert deleted is not None
    now = resources.read(Session.of(store, EVERYBODY), PATIENT)
    assert (now.version, store.decode(now)) == (3, store.decode(original))
    assert listed(store, "code=Patient") == ["patient"]


def test_the_same_content_makes_no_version(store: Store) -> None:
    original = resources.read(Session.of(store, EVERYBODY), PATIENT)
    resource = resources.represent(store.version(original), built_in())
    assert put(store, json.loads(json.dumps(resource))).version == 1
    assert store.written_definitions() == []


def test_one_of_r4_can_be_patched(store: Store) -> None:
    change = [{"op": "add", "path": "/resource/-", "value": {"code": "Task", "param": ["patient"]}}]
    patch = json_patch.parse(json.dumps(change))
    assert resources.patch(Session.of(store, EVERYBODY), PATIENT, patch).version == 2
    assert members_of(store, "Patient") == built_in()["Patient"].parameters.keys() | {"Task"}


def test_one_of_r4_is_met_by_criteria(store: Store) -> None:
    url = "url=http://hl7.org/fhir/CompartmentDefinition/device"
    condition = conditions.condition("CompartmentDefinition", url, "x", base="")
    resource = {name: value for name, value in definition("device", "Device").items() if name != "id"}
    head, new = conditional.update(Session.of(store, EVERYBODY), resource | {"url": condition.text}, condition)
    assert (head.key, head.version, new) == ("CompartmentDefinition/device", 2, False)


# Checked, and by whom


def transaction(store: Store, *written: Json, kind: str = "transaction") -> Json:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}} for one in written
    ]
    context = bundles.Context(Session.of(store, EVERYBODY), "http://here", None, lambda head: {}, lambda head: None)  # type: ignore[arg-type] # nothing is read
    return bundles.process({"resourceType": "Bundle", "type": kind, "entry": entries}, context)


WRONG = definition("x", "Patient", Observation=["encounter"])


def ways(store: Store) -> Iterator[Any]:
    """Every way to write a definition; each is a call that tries it."""
    put(store, definition("there", "Patient"))
    without_id = {name: value for name, value in WRONG.items() if name != "id"}
    condition = conditions.condition("CompartmentDefinition", "url=http://x.example/there", "x", base="")
    none = conditions.condition("CompartmentDefinition", "url=http://x.example/none", "x", base="")
    change = [{"op": "add", "path": "/resource", "value": WRONG["resource"]}]
    patch = json_patch.parse(json.dumps(change))
    yield lambda who: resources.create(Session.of(store, who), without_id)
    yield lambda who: resources.create(Session.of(store, who), without_id, none)
    yield lambda who: put(store, WRONG, who=who)
    yield lambda who: put(store, WRONG | {"id": "there"}, who=who)
    yield lambda who: put(store, WRONG | {"id": "patient"}, who=who)
    yield lambda who: conditional.update(Session.of(store, who), without_id, condition)
    yield lambda who: conditional.update(Session.of(store, who), without_id, none)
    yield lambda who: resources.patch(Session.of(store, who), "CompartmentDefinition/there", patch)
    yield lambda who: conditional.patch(Session.of(store, who), condition, patch)


def test_every_way_of_writing_is_checked(store: Store) -> None:
    tried = 0
    for way in ways(store):
        with pytest.raises(Unprocessable) as refused:
            way(EVERYBODY)
        assert [issue.expression for issue in refused.value.issues] == ["CompartmentDefinition.resource[0].param[0]"]
        tried += 1
    assert tried == 9
    assert members_of(store, "Patient") == set()


def test_bundles_are_checked_with_the_place_in_the_bundle(store: Store) -> None:
    with pytest.raises(Unprocessable) as refused:
        transaction(store, definition("a", "Organization"), WRONG)
    place = "Bundle.entry[1].resource.resource[0].param[0]"
    assert [issue.expression for issue in refused.value.issues] == [place]
    assert membership.definition(store, "Organization") is None, "all or nothing"
    answer = transaction(store, definition("a", "Organization"), WRONG, kind="batch")
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["201", "422"]
    assert answer["entry"][1]["response"]["outcome"]["issue"][0]["expression"] == [place]


def test_a_caller_who_is_fenced_writes_none(store: Store) -> None:
    for way in ways(store):
        with pytest.raises(Forbidden):
            way(FENCED)
    with pytest.raises(Forbidden):
        resources.delete(Session.of(store, FENCED), "CompartmentDefinition/there")
    with pytest.raises(Forbidden):
        resources.delete(Session.of(store, FENCED), PATIENT)


def test_a_caller_without_a_scope_for_the_type_writes_none(store: Store) -> None:
    with pytest.raises(Forbidden):
        put(store, definition("x", "Organization"), who=Caller("x", (policy.Scope("system", "Patient", "cruds"),)))


def test_a_fenced_caller_reads_definitions_as_all_that_is_shared_and_writes_none(store: Store) -> None:
    assert resources.read(Session.of(store, FENCED), PATIENT).key == PATIENT
    with pytest.raises(Forbidden):
        resources.delete(Session.of(store, FENCED), PATIENT)


def test_a_fence_hides_definitions_that_carry_an_account_like_all_else(store: Store) -> None:
    account = {"meta": {"accounts": [{"reference": "Organization/else"}]}}
    body = store.decode(resources.read(Session.of(store, EVERYBODY), PATIENT))
    resources.update(Session.of(store, EVERYBODY), body | account, PATIENT)
    with pytest.raises(NotFound):
        resources.read(Session.of(store, FENCED), PATIENT)
