"""Accounts in compartments that a definition adds or takes away; of replaced patients; and of what the server has recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import membership
from bulkhead.errors import BadRequest
from bulkhead.jobs import polling
from bulkhead.session import Session
from bulkhead.store import Store
from tests.support.scene import PATIENT, A, B, C, Machine, Scene
from tests.unit.compartments.test_compartment_definitions import definition

O = "Organization/o"  # noqa: E741
DEFINITION = definition("x", "Organization", Encounter=["service-provider"], Patient=["organization"])


@pytest.fixture
def scene(store: Store) -> Scene:
    made = Scene(store)
    made.create(O)
    return made


def define(scene: Scene, resource: dict[str, Any]) -> None:
    scene.put(f"CompartmentDefinition/{resource['id']}", **{k: v for k, v in resource.items() if k != "id"})


def encounter(scene: Scene, name: str, **content: Any) -> str:
    return scene.put(f"Encounter/{name}", serviceProvider={"reference": O}, **content).key


def stale(scene: Scene) -> Store:
    """Another process, which has read the definitions in force and would keep them for an hour."""
    other = Store(scene.store.table.client, scene.store.s3, replace(scene.store.settings, definitions_ttl=3600))
    membership.in_force(other)
    return other


def test_a_type_that_a_definition_adds_propagates_to_what_was_there_before(scene: Scene) -> None:
    encounter(scene, "e", subject={"reference": PATIENT})
    with pytest.raises(BadRequest) as refused:
        scene.set(O, A, propagate=True)
    assert refused.value.issues[0].expression == "propagate"
    define(scene, DEFINITION)
    assert scene.set(O, A, propagate=True) == 2
    assert scene.accounts("Encounter/e") == (A,)
    scene.set(PATIENT, B, propagate=True)
    assert scene.accounts("Encounter/e") == (A, B)
    assert scene.set(O, propagate=True) == 2
    assert scene.accounts("Encounter/e") == (B,)


def test_what_is_written_inherits_while_the_target_propagates(scene: Scene) -> None:
    define(scene, DEFINITION)
    scene.set(O, A)
    assert scene.accounts(encounter(scene, "before")) == ()
    scene.set(O, A, propagate=True)
    assert scene.accounts(encounter(scene, "while")) == (A,)
    scene.set(O, A)
    assert scene.accounts(encounter(scene, "after")) == ()


def test_a_type_that_is_taken_away_propagates_no_more(scene: Scene) -> None:
    define(scene, DEFINITION)
    encounter(scene, "e")
    scene.set(O, A, propagate=True)
    resources.delete(Session.of(scene.store, EVERYBODY), "CompartmentDefinition/x")
    with pytest.raises(BadRequest):
        scene.set(O, B, propagate=True)
    assert scene.set(O, B) == 1
    assert scene.accounts(encounter(scene, "new")) == ()
    assert scene.accounts(encounter(scene, "e", status="finished")) == (), (
        "the next write lets go of what it has inherited"
    )


def test_a_definition_of_patients_decides_who_inherits(scene: Scene) -> None:
    scene.set(PATIENT, A, propagate=True)
    task: dict[str, Any] = {"for": {"reference": PATIENT}}
    assert scene.put("Task/before", **task).accounts == ()
    define(scene, definition("Patient", "Patient", Task=["patient"]))
    assert scene.put("Task/after", **task).accounts == (A,)
    assert scene.accounts(scene.observation("o")) == ()
    assert scene.set(PATIENT, B, propagate=True) == 3
    assert scene.accounts_of(["Task/before", "Task/after"]) == {(B,)}


def test_an_entry_of_the_definition_itself_is_counted_once(scene: Scene) -> None:
    define(scene, definition("x", "Organization", Encounter=["service-provider"], Organization=["{def}", "partof"]))
    encounter(scene, "e")
    scene.put("Organization/part", partOf={"reference": O})
    assert scene.set(O, A, propagate=True) == 3
    assert scene.accounts_of([O, "Organization/part", "Encounter/e"]) == {(A,)}
    assert scene.head(O).inherited == {}


def test_workers_go_by_what_is_in_force_now(scene: Scene) -> None:
    """A process that has read other definitions a moment ago plans and works by those of now."""
    encounter(scene, "e")
    behind = stale(scene)
    define(scene, DEFINITION)
    machine = Machine(behind)
    job = scene.set(O, A, propagate=True, background=machine.background())
    machine.join(job)
    status = polling.status(scene.store, EVERYBODY.owner, job, alive=machine.is_running)
    assert status.bundle is not None
    assert status.bundle["entry"][0]["response"]["status"] == "200 OK"
    assert scene.accounts("Encounter/e") == (A,)


def test_a_request_goes_by_what_is_in_force_now(scene: Scene) -> None:
    encounter(scene, "e")
    behind = Scene.__new__(Scene)
    behind.store = stale(scene)
    define(scene, DEFINITION)
    assert behind.set(O, A, propagate=True) == 2


def test_what_points_at_a_replaced_patient_stays_as_it_is(scene: Scene) -> None:
    scene.put("Patient/old", link=[{"other": {"reference": PATIENT}, "type": "replaced-by"}])
    scene.observation("new", PATIENT)
    scene.observation("old", "Patient/old")
    scene.put(PATIENT, link=[{"other": {"reference": "Patient/old"}, "type": "replaces"}])
    # Patient/old is itself a member of what replaces it, by its own link.
    assert scene.set(PATIENT, C, propagate=True) == 3
    assert scene.accounts_of(["Observation/new", "Patient/old"]) == {(C,)}
    assert scene.accounts("Observation/old") == ()
    assert scene.head("Observation/old").version == 1
    assert scene.accounts(scene.observation("later", "Patient/old")) == ()
    head = scene.head("Observation/old")
    shown = resources.represent(scene.store.version(head), membership.in_force(scene.store))
    assert shown["meta"]["compartment"] == [{"reference": "Patient/old"}]


def test_what_the_server_has_recorded_is_no_part_of_a_propagation(scene: Scene) -> None:
    about: dict[str, Any] = {"entity": [{"what": {"reference": PATIENT}}]}
    scene.create("AuditEvent/audit-1", "AuditEvent/own", **about)
    assert scene.set(PATIENT, A, propagate=True) == 2
    assert scene.accounts("AuditEvent/own") == (A,)
    assert (scene.accounts("AuditEvent/audit-1"), scene.head("AuditEvent/audit-1").version) == ((), 1)
