"""Resources that inherit nothing: sealed ones, and those that a label makes private."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulkhead import bundles, resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import propagation
from bulkhead.errors import Forbidden, NotFound
from bulkhead.operations import meta_change, set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Store
from tests.support.bundle_samples import bundle, context, update
from tests.support.clock import Clock, stopped
from tests.support.scene import PATIENT, A, B, C, Machine, Scene

SECRET = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "ETH"}
LABELLED = {"security": [SECRET]}
OF_A = replace(EVERYBODY, accounts=(A,))
OF_B = replace(EVERYBODY, accounts=(B,))
OF_A_AND_B = replace(EVERYBODY, accounts=(A, B))
CLINICIAN_OF_A = replace(OF_A, sets_accounts=False)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stopped(monkeypatch)


@pytest.fixture
def scene(new_store: Any) -> Scene:
    made = Scene(new_store(private=f"{SECRET['system']}|{SECRET['code']}"))
    made.set(PATIENT, A, B, propagate=True)
    return made


def seal(scene: Scene, key: str, *own: str, inherit: bool = False, caller: Any = EVERYBODY, **asked: Any) -> Any:
    return set_accounts_run.run(Session.of(scene.store, caller), key, Request(own, inherit=inherit, **asked))


def write(scene: Scene, caller: Any, key: str, **content: Any) -> None:
    resource_type, _, identifier = key.partition("/")
    resource = {"resourceType": resource_type, "id": identifier, "subject": {"reference": PATIENT}, **content}
    resources.update(Session.of(scene.store, caller), resource, key)


def test_what_is_sealed_keeps_its_own_accounts_and_inherits_nothing(scene: Scene) -> None:
    key = scene.observation("1")
    scene.set(key, C)
    assert scene.accounts(key) == (C, A, B)
    assert seal(scene, key, C) == 1
    assert scene.accounts(key) == (C,)
    assert scene.head(key).inherited == {}


def test_it_is_opened_again_and_inherits_at_once_what_its_targets_pass_on_now(scene: Scene) -> None:
    scene.put("Encounter/1", status="planned")
    scene.set("Encounter/1", C, propagate=True)
    key = scene.observation("1", encounter={"reference": "Encounter/1"})
    seal(scene, key)
    scene.set(PATIENT, B)
    seal(scene, key, inherit=True)
    assert scene.head(key).inherited == {PATIENT: (B,), "Encounter/1": (C,)}
    before = scene.head(key)
    seal(scene, key, inherit=True)
    assert scene.head(key) == before


def test_without_inherit_it_stays_as_it_is(scene: Scene) -> None:
    key = scene.observation("1")
    seal(scene, key)
    scene.set(key, C)
    assert scene.accounts(key) == (C,)


def test_updates_and_deletions_leave_it_sealed(scene: Scene) -> None:
    key = scene.observation("1")
    seal(scene, key)
    scene.observation("1", status="final")
    assert scene.accounts(key) == ()
    resources.delete(Session.of(scene.store, EVERYBODY), key)
    assert scene.head(key).sealed
    scene.create_again(key)
    assert (scene.head(key).sealed, scene.accounts(key)) == (True, ())


def test_it_stays_in_its_compartments(scene: Scene) -> None:
    from bulkhead.resources.representation import represent

    key = scene.observation("1")
    seal(scene, key)
    session, head = Session.of(scene.store, EVERYBODY), scene.head(key)
    assert represent(scene.store.version(head), session.definitions)["meta"]["compartment"] == [{"reference": PATIENT}]


def test_a_run_counts_what_is_closed_as_standing_and_leaves_it_alone(scene: Scene) -> None:
    sealed, private = scene.observation("1"), scene.observation("2", meta=LABELLED)
    scene.observation("3")
    seal(scene, sealed)
    versions = scene.versions([sealed, private])
    assert scene.set(PATIENT, C, propagate=True) == 4
    machine = Machine(scene.store)
    job = scene.set(PATIENT, A, propagate=True, background=machine.background())
    machine.join(job)
    found = scene.store.jobs.read(job)
    assert found is not None
    assert (found.state, found.updated) == ("done", 4)
    assert scene.accounts_of([sealed, private]) == {()}
    assert scene.versions([sealed, private]) == versions


def test_a_sealed_target_hands_on_its_own_accounts_as_before(scene: Scene) -> None:
    key = scene.observation("1")
    assert seal(scene, PATIENT, C, propagate=True) == 2
    assert scene.accounts(key) == (C,)


def test_what_is_sealed_is_not_seen_by_whom_only_the_patient_lets_in(scene: Scene) -> None:
    key = scene.observation("1")
    scene.set(key, A)
    seal(scene, key, A)
    resources.read(Session.of(scene.store, OF_A), key)
    with pytest.raises(NotFound):
        resources.read(Session.of(scene.store, OF_B), key)


class TestFencedCallers:
    def test_seal_and_open_what_was_made_within_their_fence(self, scene: Scene) -> None:
        write(scene, CLINICIAN_OF_A, "Observation/1")
        assert scene.head("Observation/1").maker == (A,)
        write(scene, EVERYBODY, "Observation/1", status="final")
        seal(scene, "Observation/1", A, caller=OF_A)
        assert scene.accounts("Observation/1") == (A,)
        seal(scene, "Observation/1", A, caller=OF_A, inherit=True)
        assert scene.accounts("Observation/1") == (A, B)

    @pytest.mark.parametrize("maker", [EVERYBODY, OF_B, OF_A_AND_B])
    @pytest.mark.parametrize("inherit", [True, False])
    def test_and_nothing_else(self, scene: Scene, maker: Any, inherit: bool) -> None:
        write(scene, maker, "Observation/1")
        before = scene.head("Observation/1")
        with pytest.raises(Forbidden) as caught:
            seal(scene, "Observation/1", A, caller=OF_A, inherit=inherit)
        assert caught.value.issues[0].expression == "inherit"
        assert scene.head("Observation/1") == before

    def test_nor_what_they_wrote_over_or_made_anew(self, scene: Scene) -> None:
        write(scene, EVERYBODY, "Observation/1")
        write(scene, OF_A, "Observation/1", status="final")
        resources.delete(Session.of(scene.store, OF_A), "Observation/1")
        write(scene, OF_A, "Observation/1", status="final")
        with pytest.raises(Forbidden):
            seal(scene, "Observation/1", A, caller=OF_A)

    @pytest.mark.parametrize("again", [OF_B, EVERYBODY])
    def test_nor_what_another_made_anew(self, scene: Scene, again: Any) -> None:
        """The record is another's now: to seal it would take it from whoever wrote it."""
        write(scene, OF_A, "Observation/1")
        resources.delete(Session.of(scene.store, OF_B), "Observation/1")
        write(scene, again, "Observation/1", status="final")
        for caller in (OF_A, OF_B):
            with pytest.raises(Forbidden):
                seal(scene, "Observation/1", *(caller.accounts or ()), caller=caller)
        assert {A, B} <= set(scene.accounts("Observation/1"))

    def test_but_what_they_made_and_made_anew_themselves(self, scene: Scene) -> None:
        write(scene, OF_A, "Observation/1")
        resources.delete(Session.of(scene.store, OF_A), "Observation/1")
        write(scene, OF_A, "Observation/1", status="final")
        seal(scene, "Observation/1", A, caller=OF_A)
        assert scene.accounts("Observation/1") == (A,)

    def test_are_not_told_of_what_they_do_not_see(self, scene: Scene) -> None:
        write(scene, OF_B, "Observation/1")
        seal(scene, "Observation/1", B, caller=OF_B)
        with pytest.raises(NotFound):
            seal(scene, "Observation/1", A, caller=OF_A, inherit=True)


class TestPrivate:
    def test_a_label_takes_what_is_inherited_away_in_the_same_commit_and_gives_it_back(self, scene: Scene) -> None:
        key = scene.observation("1")
        scene.set(key, C)
        head = scene.put(key, subject={"reference": PATIENT}, meta=LABELLED)
        assert (head.accounts, head.inherited) == ((C,), {})
        head = scene.put(key, subject={"reference": PATIENT})
        assert head.accounts == (C, A, B)

    def test_a_label_added_by_meta_add_or_a_transaction_does_too(self, scene: Scene) -> None:
        key = scene.observation("1")
        session = Session.of(scene.store, EVERYBODY)
        meta_change.change(session, key, LABELLED, how=meta_change.added, if_match=None)
        assert scene.accounts(key) == ()
        meta_change.change(session, key, LABELLED, how=meta_change.removed, if_match=None)
        assert scene.accounts(key) == (A, B)
        resource = {"resourceType": "Observation", "id": "1", "status": "final", "code": {"text": "x"}}
        resource |= {"subject": {"reference": PATIENT}, "meta": LABELLED}
        bundles.process(bundle(update(resource)), context(scene.store))
        assert scene.accounts(key) == ()

    def test_what_is_sealed_as_well_stays_closed_without_its_label(self, scene: Scene) -> None:
        key = scene.observation("1", meta=LABELLED)
        seal(scene, key)
        scene.observation("1")
        assert scene.accounts(key) == ()
        scene.observation("1", meta=LABELLED)
        seal(scene, key, inherit=True)
        assert scene.accounts(key) == ()
        scene.observation("1")
        assert scene.accounts(key) == (A, B)

    @pytest.mark.parametrize("caller", [OF_A, CLINICIAN_OF_A])
    def test_a_fenced_caller_takes_nothing_away_by_a_label(self, scene: Scene, caller: Any) -> None:
        write(scene, OF_B, "Observation/1")
        with pytest.raises(Forbidden) as caught:
            write(scene, caller, "Observation/1", meta=LABELLED)
        assert caught.value.issues[0].expression == "Observation.meta.security"
        with pytest.raises(Forbidden):
            meta_change.change(
                Session.of(scene.store, caller), "Observation/1", LABELLED, how=meta_change.added, if_match=None
            )
        assert scene.accounts("Observation/1") == (B, A)

    def test_nor_does_it_open_anything_against_its_maker(self, scene: Scene) -> None:
        write(scene, OF_B, "Observation/1", meta=LABELLED)
        scene.set("Observation/1", B, A)
        with pytest.raises(Forbidden):
            write(scene, OF_A, "Observation/1")
        write(scene, OF_A, "Observation/1", meta=LABELLED, status="final")

    def test_not_by_way_of_a_deletion_either(self, scene: Scene) -> None:
        write(scene, OF_B, "Observation/1")
        resources.delete(Session.of(scene.store, OF_A), "Observation/1")
        with pytest.raises(Forbidden):
            write(scene, OF_A, "Observation/1", meta=LABELLED)

    def test_the_maker_may_with_the_right_to_set_accounts(self, scene: Scene) -> None:
        write(scene, OF_B, "Observation/1")
        with pytest.raises(Forbidden):
            write(scene, replace(OF_B, sets_accounts=False), "Observation/1", meta=LABELLED)
        write(scene, OF_B, "Observation/1", meta=LABELLED)
        assert scene.accounts("Observation/1") == (B,)

    def test_what_was_labelled_before_the_setting_said_so_is_closed_by_the_next_run(self, new_store: Any) -> None:
        before = Scene(new_store())
        before.set(PATIENT, A)
        key = before.observation("1", meta=LABELLED)
        assert before.accounts(key) == (A,)
        settings = replace(before.store.settings, private=f"{SECRET['system']}|{SECRET['code']}")
        now = Store(before.store.table.client, before.store.s3, settings)
        assert Scene.set(_of(now, before), PATIENT, A, propagate=True) == 2
        assert before.accounts(key) == ()


def _of(store: Store, scene: Scene) -> Scene:
    other = object.__new__(Scene)
    other.store = store
    assert other.head(PATIENT) == scene.head(PATIENT)
    return other


@pytest.mark.parametrize("how", ["sealed", "private"])
def test_a_run_looks_again_at_what_was_closed_when_it_came_by(scene: Scene, how: str) -> None:
    """Whoever opens a resource may have read the target before the run changed it, and commit after the run has seen it closed."""
    content: dict[str, Any] = {"meta": LABELLED} if how == "private" else {}
    key = scene.observation("1", **content)
    if how == "sealed":
        seal(scene, key)
    looked: list[float] = []

    def wait(seconds: float) -> None:
        if seconds > 0 and not looked:
            looked.append(seconds)
            # The late writer: with what the patient had before.
            if how == "sealed":
                seal(scene, key, inherit=True)
            else:
                scene.observation("1")
            scene.adjust(key, inherited={"M": {PATIENT: {"L": [{"S": A}]}}})

    scene.set(PATIENT, C)
    found = propagation.survey(scene.store, PATIENT, [key], reaches=propagation.Reach(PATIENT, None))
    assert found.closed == ((key, True),)
    again = propagation.second_look(scene.store, PATIENT, found, reaches=propagation.Reach(PATIENT, None), wait=wait)
    assert again.wrong == (key,)
