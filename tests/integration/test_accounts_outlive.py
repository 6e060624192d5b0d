"""Accounts outlive a deletion: nobody reduces what another organisation sees by deleting and writing again. Semantics, section 1."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bulkhead import bundles, resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import Forbidden, Gone, NotFound
from bulkhead.fhir import json
from bulkhead.resources import conditional, patches
from bulkhead.resources.conditions import condition
from bulkhead.session import Session
from bulkhead.store import Store, commits
from tests.support.bundle_samples import bundle, context, update
from tests.support.scene import PATIENT, A, B, C, Scene

FULL = EVERYBODY.scopes
OF_A, OF_B = Caller("a", FULL, accounts=(A,)), Caller("b", FULL, accounts=(B,))
SETS_A, SETS_B = replace(OF_A, sets_accounts=True), replace(OF_B, sets_accounts=True)
ITSELF = Caller("p", (Scope("patient", "*", "cruds"),), patient="p")
INTEGRATION = Caller("integration", FULL)
RECORD = "Observation/o"

Json = dict[str, Any]
Write = Callable[[Store, Caller, Json], Any]


def key_of(body: Json) -> str:
    return f"{body['resourceType']}/{body['id']}"


def patient(**content: Any) -> Json:
    return {"resourceType": "Patient", "id": "p", **content}


def observation(subject: str | None = PATIENT, *accounts: str, **content: Any) -> Json:
    made: Json = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, **content}
    if subject:
        made["subject"] = {"reference": subject}
    if accounts:
        made["meta"] = {"accounts": [{"reference": account} for account in accounts]}
    return made


def delete_entry(key: str) -> Json:
    return {"request": {"method": "DELETE", "url": key}}


def put_again(store: Store, who: Caller, body: Json) -> None:
    resources.delete(Session.of(store, who), key_of(body))
    resources.update(Session.of(store, who), body, key_of(body))


def conditional_again(store: Store, who: Caller, body: Json) -> None:
    resources.delete(Session.of(store, who), key_of(body))
    conditional.update(
        Session.of(store, who), body, condition(body["resourceType"], "identifier=urn:s|none", "", base="")
    )


def transactions(store: Store, who: Caller, body: Json) -> None:
    resources.delete(Session.of(store, who), key_of(body))
    bundles.process(bundle(update(body)), context(store, caller=who))


def one_batch(store: Store, who: Caller, body: Json) -> None:
    sent = bundle(delete_entry(key_of(body)), update(body)) | {"type": "batch"}
    for _ in range(2):
        bundles.process(sent, context(store, caller=who))
    if (head := store.read(key_of(body))) and head.deleted:
        resources.update(Session.of(store, who), body, key_of(body))


def twice(store: Store, who: Caller, body: Json) -> None:
    for _ in range(2):
        put_again(store, who, body)


def patch_document(kind: str, subject: str | None) -> Json:
    """The resource, or the merge patch, that gives the record another subject, or none."""
    if kind == "FHIRPath Patch":
        value = [{"name": "value", "valueReference": {"reference": subject}}] if subject else []
        parts = [{"name": "type", "valueCode": "replace" if subject else "delete"}, {"name": "path", "valueString": "Observation.subject"}, *value]  # fmt: skip
        return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    if kind == "JSON Merge Patch":
        return {"subject": {"reference": subject} if subject else None}
    change = {"op": "replace", "path": "/subject/reference", "value": subject} if subject else {"op": "remove", "path": "/subject"}  # fmt: skip
    data = base64.b64encode(json.dumps([change])).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def patch_of(kind: str, subject: str | None) -> patches.Patch:
    document = patch_document(kind, subject)
    return patches.from_resource(document) if "resourceType" in document else patches.from_document(document)


WAYS = [put_again, conditional_again, transactions, one_batch, twice]
CALLERS = [OF_B, SETS_B, INTEGRATION, ITSELF]


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("again", WAYS)
@pytest.mark.parametrize("who", CALLERS, ids=lambda who: f"{who.subject}{who.sets_accounts}")
def test_of_a_patient_and_of_its_members(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, who: Caller, again: Write, large: bool
) -> None:
    monkeypatch.setattr(commits, "_is_large", lambda *arguments: large)
    scene.set(PATIENT, A, B, propagate=True)
    scene.observation("o")
    again(scene.store, who, patient(active=True))
    assert scene.accounts(PATIENT) == (A, B)
    scene.observation("o", valueInteger=2)
    assert scene.accounts(RECORD) == (A, B)
    again(scene.store, who, observation(valueInteger=3))
    assert scene.accounts(RECORD) == (A, B)
    resources.read(Session.of(scene.store, OF_A), PATIENT)
    report = scene.store.check_integrity(repair=True, patience=None)
    assert (report.missing, report.damaged) == (0, 0)


def test_of_what_has_its_own(scene: Scene) -> None:
    scene.put(RECORD, status="final", code={"text": "x"}, meta={"accounts": [{"reference": A}, {"reference": B}]})
    put_again(scene.store, OF_B, observation(None))
    assert scene.accounts(RECORD) == (A, B)


def test_a_tombstone_keeps_all_of_it_and_is_found_by_no_account(scene: Scene) -> None:
    scene.put("Encounter/e", status="planned", **{"class": {"code": "AMB"}})
    scene.set("Encounter/e", A, propagate=True)
    before = scene.head("Encounter/e")
    resources.delete(Session.of(scene.store, EVERYBODY), "Encounter/e")
    after = scene.head("Encounter/e")
    assert (after.accounts, after.propagate, after.within) == (before.accounts, True, before.within)
    assert [found.source for found in scene.store.in_account(A)] == []
    with pytest.raises(Gone):
        scene.set("Encounter/e", B)


def test_only_the_right_changes_them_a_fenced_one_its_own(scene: Scene) -> None:
    scene.set(PATIENT, A, B)
    resources.delete(Session.of(scene.store, EVERYBODY), PATIENT)
    asked = patient(meta={"accounts": [{"reference": B}]})
    resources.update(Session.of(scene.store, OF_B), asked, PATIENT)
    assert scene.accounts(PATIENT) == (A, B)
    resources.delete(Session.of(scene.store, EVERYBODY), PATIENT)
    with pytest.raises(Forbidden):
        resources.update(Session.of(scene.store, SETS_B), patient(meta={"accounts": [{"reference": C}]}), PATIENT)
    with pytest.raises(Forbidden):
        # It would be outside of its fence.
        resources.update(Session.of(scene.store, SETS_B), patient(meta={"accounts": []}), PATIENT)
    resources.update(Session.of(scene.store, SETS_B), asked, PATIENT)
    assert scene.accounts(PATIENT) == (A, B)
    resources.delete(Session.of(scene.store, EVERYBODY), PATIENT)
    resources.update(Session.of(scene.store, EVERYBODY), patient(meta={"accounts": [{"reference": C}]}), PATIENT)
    assert scene.accounts(PATIENT) == (C,)


def test_members_that_change_while_their_patient_is_deleted(scene: Scene) -> None:
    scene.set(PATIENT, A, B, propagate=True)
    scene.observation("o")
    resources.delete(Session.of(scene.store, OF_B), PATIENT)
    scene.observation("o", valueInteger=2)
    assert scene.accounts(RECORD) == (A, B)
    resources.update(Session.of(scene.store, OF_B), observation(valueInteger=4), RECORD)
    assert scene.accounts(RECORD) == (A, B)
    put_again(scene.store, OF_B, observation(valueInteger=3))
    assert scene.accounts(RECORD) == (A, B)


@pytest.mark.parametrize("who", [OF_B, SETS_B])
def test_who_does_not_see_the_tombstone_cannot_take_the_id(scene: Scene, who: Caller) -> None:
    scene.set(PATIENT, A)
    resources.delete(Session.of(scene.store, EVERYBODY), PATIENT)
    errors = []
    for key in (PATIENT, "Patient/q"):
        with pytest.raises(NotFound) as caught:
            resources.update(Session.of(scene.store, who), {**patient(), "id": key[8:]}, key, if_match='W/"9"')
        errors.append(str(caught.value).replace(key, ""))
    assert errors[0] == errors[1]
    with pytest.raises(NotFound):
        resources.update(Session.of(scene.store, who), patient(), PATIENT)
    assert scene.head(PATIENT).deleted


class TestSubjects:
    """A fenced caller takes a record away from a Patient only if it sees that Patient."""

    @pytest.fixture
    def shared(self, scene: Scene) -> Scene:
        """RECORD is of A's patient, and B sees it by an account of its own."""
        scene.create("Patient/b")
        scene.set(PATIENT, A)
        scene.set("Patient/b", B)
        scene.put(RECORD, **observation())
        scene.set(RECORD, B)
        return scene

    @pytest.mark.parametrize("subject", ["Patient/b", None])
    @pytest.mark.parametrize(
        "write",
        [
            lambda store, who, body: resources.update(Session.of(store, who), body, RECORD),
            put_again,
            conditional_again,
            transactions,
            lambda store, who, body: conditional.update(
                Session.of(store, who), body, condition("Observation", "_id=o", "", base="")
            ),
        ],
    )
    def test_else_it_is_forbidden(self, shared: Scene, write: Write, subject: str | None) -> None:
        before = shared.accounts(RECORD)
        with pytest.raises(Forbidden):
            write(shared.store, OF_B, observation(subject, valueInteger=2))
        head = shared.head(RECORD)
        assert set(head.accounts) == set(before) == {A, B}

    @pytest.mark.parametrize("subject", ["Patient/b", None])
    @pytest.mark.parametrize("kind", ["JSON Patch", "FHIRPath Patch", "JSON Merge Patch"])
    @pytest.mark.parametrize(
        "patch",
        [
            lambda session, change: resources.patch(session, RECORD, change),
            lambda session, change: conditional.patch(session, condition("Observation", "_id=o", "", base=""), change),
        ],
        ids=["by id", "by criteria"],
    )
    def test_nor_by_a_patch(self, shared: Scene, kind: str, patch: Callable[..., Any], subject: str | None) -> None:
        change, session = patch_of(kind, subject), Session.of(shared.store, OF_B)
        before = shared.head(RECORD)
        with pytest.raises(Forbidden):
            patch(session, change)
        assert shared.head(RECORD) == before
        both = Session.of(shared.store, replace(OF_B, accounts=(A, B)))
        assert resources.patch(both, RECORD, change).version == before.version + 1

    @pytest.mark.parametrize("subject", ["Patient/b", None])
    @pytest.mark.parametrize("url", [RECORD, "Observation?_id=o"])
    @pytest.mark.parametrize("way", ["JSON Patch", "FHIRPath Patch", "PUT"])
    @pytest.mark.parametrize("large", [False, True])
    def test_nor_by_an_entry_of_a_bundle(
        self, shared: Scene, monkeypatch: pytest.MonkeyPatch, large: bool, way: str, url: str, subject: str | None
    ) -> None:
        monkeypatch.setattr(commits, "_is_large", lambda *arguments: large)
        resource = observation(subject) if way == "PUT" else patch_document(way, subject)
        changing = {"request": {"method": "PUT" if way == "PUT" else "PATCH", "url": url}, "resource": resource}
        beside = update({"resourceType": "Basic", "id": "beside", "code": {"text": "x"}})
        before = shared.head(RECORD)
        with pytest.raises(Forbidden) as caught:
            bundles.process(bundle(beside, changing), context(shared.store, caller=OF_B))
        assert (caught.value.issues[0].expression or "").startswith("Bundle.entry[1]")
        assert shared.store.read("Basic/beside") is None
        sent = bundle(changing) | {"type": "batch"}
        answer = bundles.process(sent, context(shared.store, caller=OF_B))
        assert answer["entry"][0]["response"]["status"].startswith("403")
        assert shared.head(RECORD) == before

    def test_a_batch_says_so_too(self, shared: Scene) -> None:
        sent = bundle(update(observation(None))) | {"type": "batch"}
        answer = bundles.process(sent, context(shared.store, caller=OF_B))
        assert answer["entry"][0]["response"]["status"].startswith("403")

    def test_what_it_sees_it_may_move(self, shared: Scene) -> None:
        both = replace(OF_B, accounts=(A, B))
        resources.update(Session.of(shared.store, both), observation("Patient/b", valueInteger=2), RECORD)
        assert shared.accounts(RECORD) == (B,)

    def test_other_changes_and_the_deletion_are_free(self, shared: Scene) -> None:
        resources.update(Session.of(shared.store, OF_B), observation(valueInteger=2), RECORD)
        resources.delete(Session.of(shared.store, OF_B), RECORD)
        resources.update(Session.of(shared.store, OF_B), observation(valueInteger=3), RECORD)
        assert set(shared.accounts(RECORD)) == {A, B}

    def test_nor_away_from_another_target_that_gave_it_accounts(self, scene: Scene) -> None:
        scene.put("Encounter/e", status="planned", **{"class": {"code": "AMB"}})
        scene.set("Encounter/e", A, propagate=True)
        scene.put(RECORD, status="final", code={"text": "x"}, encounter={"reference": "Encounter/e"})
        scene.set(RECORD, B)
        with pytest.raises(Forbidden):
            resources.update(Session.of(scene.store, OF_B), observation(None), RECORD)
        assert scene.accounts(RECORD) == (B, A)
