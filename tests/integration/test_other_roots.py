"""`$set-accounts` with propagate on what is no Patient: a fenced caller hands on to what carries one of its accounts. Semantics, section 1."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.compartments import accounts
from bulkhead.errors import TooCostly, Unavailable
from bulkhead.jobs import polling
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.heads import NEVER
from tests.support.scene import PATIENT, A, B, C, Machine, Scene
from tests.support.stepping import Writer

D = "Organization/d"
OF_A = Caller("a", EVERYBODY.scopes, sets_accounts=True, accounts=(A, D))
OF_B = Caller("b", EVERYBODY.scopes, sets_accounts=True, accounts=(B,))
NURSE, DEVICE = "Practitioner/n", "Device/d"
ROOTS = [NURSE, DEVICE, "RelatedPerson/r", "Encounter/e"]


@pytest.fixture
def scene(store: Store) -> Scene:
    made = Scene(store)
    made.create(D)
    made.create(NURSE)
    made.create(DEVICE)
    made.create("Encounter/e", status="planned", **{"class": {"code": "AMB"}})
    made.create("RelatedPerson/r", patient={"reference": "Patient/none"})
    for root in ROOTS:
        made.set(root, A)
    return made


def by(root: str, **content: Any) -> dict[str, Any]:
    named = (
        {"encounter": {"reference": root}} if root.startswith("Encounter/") else {"performer": [{"reference": root}]}
    )
    if root == DEVICE:
        named = {"device": {"reference": root}}
    return {"status": "final", "code": {"text": "x"}, **named, **content}


@pytest.mark.parametrize("root", ROOTS)
class TestBounds:
    def test_a_record_of_another_is_out_of_reach_at_propagation(self, scene: Scene, root: str) -> None:
        scene.put("Observation/b", **by(root))
        scene.set("Observation/b", B)
        scene.put("Observation/none", **by(root))
        assert scene.set(root, A, propagate=True, caller=OF_A) == 1
        assert scene.accounts("Observation/b") == (B,)
        assert scene.accounts("Observation/none") == ()

    def test_and_at_later_writes(self, scene: Scene, root: str) -> None:
        scene.set(root, A, propagate=True, caller=OF_A)
        scene.put("Observation/b", **by(root))
        assert scene.accounts("Observation/b") == ()
        scene.put("Observation/c", **by(root), meta={"accounts": [{"reference": B}]})
        assert scene.accounts("Observation/c") == (B,)

    def test_what_carries_one_of_its_accounts_from_elsewhere_is_within(self, scene: Scene, root: str) -> None:
        scene.set(PATIENT, D, propagate=True)
        scene.put("Observation/own", **by(root), meta={"accounts": [{"reference": D}]})
        scene.put("Observation/chart", **by(root), subject={"reference": PATIENT})
        assert scene.set(root, A, propagate=True, caller=OF_A) == 3
        assert scene.accounts("Observation/own") == (D, A)
        assert set(scene.accounts("Observation/chart")) == {D, A}
        scene.put("Observation/later", **by(root), subject={"reference": PATIENT})
        assert set(scene.accounts("Observation/later")) == {D, A}

    def test_an_unfenced_flag_reaches_all_and_stays_so(self, scene: Scene, root: str) -> None:
        scene.put("Observation/b", **by(root))
        assert scene.set(root, A, C, propagate=True) == 2
        assert scene.set(root, A, propagate=True, caller=OF_A) == 1
        assert scene.accounts("Observation/b") == (A, C)

    def test_what_a_fenced_caller_adds_to_it_is_bounded(self, scene: Scene, root: str) -> None:
        scene.put("Observation/b", **by(root))
        scene.set(root, A, propagate=True)
        scene.set(root, A, D, propagate=True, caller=OF_A)
        assert scene.accounts("Observation/b") == (A,)
        scene.put("Observation/b", **by(root), valueInteger=2)
        assert scene.accounts("Observation/b") == (A,)

    def test_so_it_is_by_the_accounts_of_a_body(self, scene: Scene, root: str) -> None:
        scene.set(root, A, propagate=True)
        body = scene.store.decode(scene.head(root)) | {"id": root.partition("/")[2]}
        body["meta"] = {"accounts": [{"reference": A}, {"reference": D}]}
        resources.update(Session.of(scene.store, OF_A), body, root)
        assert scene.head(root).explicit == (A, D)
        scene.put("Observation/b", **by(root))
        assert scene.accounts("Observation/b") == (A,)

    def test_a_retraction_reaches_all(self, scene: Scene, root: str) -> None:
        scene.put("Observation/b", **by(root))
        scene.set(root, A, C, propagate=True)
        assert scene.set(root, propagate=True, caller=OF_A) == 1
        assert scene.accounts("Observation/b") == (C,)

    def test_the_flag_of_another_stays(self, scene: Scene, root: str) -> None:
        scene.put("Observation/b", **by(root))
        scene.set(root, A, B, propagate=True)
        scene.set(root, A, propagate=False, caller=OF_A)
        scene.put("Observation/b", **by(root), valueInteger=2)
        assert scene.accounts("Observation/b") == (B,)

    def test_nor_does_it_raise_the_flag_of_another(self, scene: Scene, root: str) -> None:
        scene.put("Observation/a", **by(root), meta={"accounts": [{"reference": A}]})
        scene.set(root, A, B)
        scene.set(root, A, propagate=True, caller=OF_A)
        assert scene.accounts("Observation/a") == (A,)

    def test_what_loses_the_account_loses_what_came_for_its_sake(self, scene: Scene, root: str) -> None:
        scene.set(root, A, propagate=True, caller=OF_A)
        scene.set(PATIENT, A, propagate=True)
        scene.put("Observation/own", **by(root), meta={"accounts": [{"reference": A}]})
        scene.put("Observation/chart", **by(root), subject={"reference": PATIENT})
        scene.set("Observation/own")
        assert scene.accounts("Observation/own") == ()
        scene.set(PATIENT, propagate=True)
        assert scene.accounts("Observation/chart") == ()

    def test_a_deletion_keeps_the_bounds(self, scene: Scene, root: str) -> None:
        scene.set(root, A, propagate=True, caller=OF_A)
        body = scene.store.decode(scene.head(root)) | {"id": root.partition("/")[2]}
        resources.delete(Session.of(scene.store, OF_A), root)
        scene.put("Observation/b", **by(root))
        resources.update(Session.of(scene.store, OF_A), body, root)
        scene.put("Observation/b", **by(root), valueInteger=2)
        assert scene.accounts("Observation/b") == ()
        assert scene.head(root).within

    def test_in_the_background(self, scene: Scene, root: str) -> None:
        machine = Machine(scene.store)
        for n in range(3):
            scene.put(f"Observation/b{n}", **by(root))
        scene.put("Observation/own", **by(root), meta={"accounts": [{"reference": D}]})
        job = scene.set(root, A, propagate=True, caller=OF_A, background=machine.background())
        machine.join(job)
        status = polling.status(scene.store, OF_A.owner, job, alive=lambda name: False)
        assert status.bundle
        answer = status.bundle["entry"][0]["resource"]["parameter"][0]["valueInteger"]
        assert answer == 2
        assert scene.accounts("Observation/own") == (D, A)
        assert scene.accounts("Observation/b0") == ()
        assert "of 5" not in polling.status(scene.store, OF_A.owner, job, alive=lambda name: False).progress


def test_two_tenants_on_one_root_each_within_its_own(scene: Scene) -> None:
    scene.set(NURSE, A, B)
    scene.put("Observation/a", **by(NURSE), meta={"accounts": [{"reference": D}]})
    scene.put("Observation/b", **by(NURSE), meta={"accounts": [{"reference": B}]})
    assert scene.set(NURSE, A, propagate=True, caller=OF_A) == 2
    assert scene.set(NURSE, B, propagate=True, caller=OF_B) == 2
    assert scene.accounts("Observation/a") == (D, A)
    assert scene.accounts("Observation/b") == (B,)
    scene.set(NURSE, propagate=False, caller=OF_A)
    scene.put("Observation/b2", **by(NURSE), meta={"accounts": [{"reference": B}]})
    assert scene.accounts("Observation/b2") == (B,)


class TestNumbers:
    def test_a_compartment_that_is_too_large_is_not_counted_for_a_fenced_caller(self, make_store: Any) -> None:
        scene = Scene(make_store(sync_limit=2))
        scene.set(PATIENT, A)
        scene.observations(7)
        who = replace(OF_A, accounts=(A,))
        with pytest.raises(TooCostly) as caught:
            scene.set(PATIENT, A, propagate=True, caller=who)
        assert "more than 2 members" in str(caught.value)
        assert "7" not in str(caught.value)

    def test_nor_what_resists(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        scene.observation("hidden")
        scene.adjust("Observation/hidden", body={"B": b"z broken"})
        with pytest.raises(Unavailable) as caught:
            scene.set(PATIENT, A, D, propagate=True, caller=OF_A)
        assert "some members" in str(caught.value.issues)
        assert "1" not in str([issue.diagnostics for issue in caught.value.issues])


ACCOUNTS = st.lists(st.sampled_from([A, B, C, D]), unique=True, max_size=3).map(tuple)
STEP = st.tuples(st.sampled_from([None, (A, D), (A,), (B,)]), ACCOUNTS, st.sampled_from([True, False, None]))


@settings(deadline=None)
@given(st.lists(STEP, max_size=8), ACCOUNTS)
def test_nobody_is_handed_what_nobody_who_reaches_it_asked_for(steps: list[Any], carries: tuple[str, ...]) -> None:
    """Whatever was asked, by whom and in which order; and what was asked twice is what was asked once."""
    base = Head(NURSE, 1, "", "PUT", b"z")
    for fence, asked, propagate in steps:
        wanted = [account for account in asked if fence is None or account in fence]
        explicit = accounts.replaced(base.explicit, wanted, fence)
        before = tuple(accounts.passed_on(base, dict.fromkeys(carries, NEVER)))
        flag = accounts.flagged(base, explicit, fence=fence, propagate=propagate)
        base = structs.replace(base, explicit=explicit, propagate=flag.propagate, within=flag.within)
        after = tuple(accounts.passed_on(base, dict.fromkeys(carries, NEVER)))
        again = accounts.flagged(base, explicit, fence=fence, propagate=propagate)
        assert again == flag
        if fence is not None:
            gained = set(after) - set(before)
            assert gained <= set(fence)
            assert not gained or not set(fence).isdisjoint(carries)
            assert {account for account in before if account not in fence} <= set(after)
        elif propagate:
            assert after == explicit
        elif propagate is False:
            assert after == ()


def on(scene: Scene, store: Store) -> Scene:
    """The same scene through a store of a writer's own."""
    own = copy(scene)
    own.store = store
    return own


def changed(scene: Scene) -> None:
    scene.put("Encounter/e", status="finished", **{"class": {"code": "AMB"}}, subject={"reference": PATIENT})


def reached_through_its_patient(scene: Scene) -> None:
    scene.set(PATIENT, C, propagate=True)


def shared_by_another(scene: Scene) -> None:
    scene.set("Encounter/e", B, propagate=True, caller=OF_B)


@pytest.mark.parametrize("flag", [True, False], ids=["on", "off"])
@pytest.mark.parametrize("work", [changed, reached_through_its_patient, shared_by_another])
def test_no_writer_undoes_what_a_target_was_told_to_hand_on(
    scene: Scene, work: Callable[[Scene], None], flag: bool
) -> None:
    """A writer stands before each of its calls in turn while the target is told: the accounts stay, so it gets no new version."""
    scene.set("Encounter/e", A, B)
    changed(scene)
    for calls in count():
        scene.set("Encounter/e", A, B)
        scene.set(PATIENT, propagate=True)
        scene.put("Encounter/e", **scene.store.decode(scene.head("Encounter/e")) | {"status": "planned"})
        scene.set("Encounter/e", A, B, propagate=not flag)
        writer = Writer(scene.store, lambda store: work(on(scene, store)))
        over = not all(writer.step() for _ in range(calls))
        scene.set("Encounter/e", A, propagate=flag, caller=OF_A)
        writer.finish()
        assert writer.error is None
        head = scene.head("Encounter/e")
        handed_on = accounts.passed_on(head, dict.fromkeys((A, D), NEVER))
        assert (A in handed_on) == flag, calls
        if over:
            break
    assert calls > 2


def test_if_match_holds_where_only_what_it_hands_on_has_changed(scene: Scene) -> None:
    version = scene.head("Encounter/e").version
    for calls in count():
        scene.set("Encounter/e", A)
        writer = Writer(
            scene.store,
            lambda store: on(scene, store).set("Encounter/e", A, propagate=True, if_match=f'W/"{version}"'),
        )
        over = not all(writer.step() for _ in range(calls))
        scene.set("Encounter/e", A, propagate=True, caller=OF_A)
        writer.finish()
        assert (writer.error, writer.result) == (None, 1), calls
        assert scene.head("Encounter/e").version == version
        if over:
            break
    assert calls > 2
