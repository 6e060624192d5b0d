"""`$set-accounts` through its handler: semantics, section 1, row by row. Propagation in depth: test_propagation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.errors import Conflict, Gone, PreconditionFailed, VersionConflict
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Store
from functions import http
from tests.support.scene import PATIENT, A, B, C, Scene, issue, parameters, request

PATH = f"{PATIENT}/$set-accounts"


@pytest.fixture
def scene(store: Store, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(http, "connect", lambda: store)
    return Scene(store)


def updated(answer: dict[str, Any]) -> int:
    assert answer["statusCode"] == 200, answer
    (parameter,) = answer["resource"]["parameter"]
    assert answer["resource"]["resourceType"] == "Parameters"
    assert parameter["name"] == "resourcesUpdated"
    count: int = parameter["valueInteger"]
    return count


class TestOwnAccounts:
    def test_replaces_in_order_without_repeats(self, scene: Scene) -> None:
        assert updated(request("POST", PATH, parameters(B, A, B))) == 1
        assert scene.head(PATIENT).explicit == (B, A)
        assert updated(request("POST", PATH, parameters(C))) == 1
        assert scene.head(PATIENT).explicit == (C,)

    def test_none_given_clears(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        assert updated(request("POST", PATH, parameters())) == 1
        assert scene.accounts(PATIENT) == ()

    def test_everything_else_stays_and_history_keeps_every_version(self, scene: Scene) -> None:
        meta = {
            "profile": ["http://example.org/p"],
            "tag": [{"code": "t"}],
            "security": [{"code": "s"}],
            "source": "#x",
        }
        content = {"meta": meta, "multipleBirthInteger": 2, "name": [{"family": "F", "given": ["G"]}]}
        scene.put(PATIENT, **content)
        scene.set(PATIENT, A)
        after = scene.head(PATIENT)
        assert scene.store.decode(after) == {"resourceType": "Patient", "id": "p", **content}
        assert [head.accounts for head in scene.store.versions(PATIENT, None, 9)] == [(A,), (), ()]
        assert [head.version for head in scene.store.versions(PATIENT, None, 9)] == [3, 2, 1]

    def test_as_asked_already_makes_no_version(self, scene: Scene) -> None:
        request("POST", PATH, parameters(A, B))
        assert updated(request("POST", PATH, parameters(A, B))) == 1
        assert scene.head(PATIENT).version == 2
        request("POST", PATH, parameters(A, B, propagate=True))
        assert scene.head(PATIENT).version == 2
        assert scene.head(PATIENT).propagate

    def test_another_order_is_another_version(self, scene: Scene) -> None:
        scene.set(PATIENT, A, B)
        scene.set(PATIENT, B, A)
        assert scene.accounts(PATIENT) == (B, A)

    def test_any_type_that_has_no_compartment_too(self, scene: Scene) -> None:
        scene.create("Medication/m", "Organization/own")
        assert updated(request("POST", "Medication/m/$set-accounts", parameters(A, propagate=False))) == 1
        assert updated(request("POST", "Organization/own/$set-accounts", parameters("Organization/own"))) == 1
        assert scene.accounts("Medication/m") == (A,)

    def test_never_takes_what_is_inherited(self, scene: Scene) -> None:
        key = scene.observation("o")
        scene.set(PATIENT, A, propagate=True)
        scene.set(key, B)
        assert scene.accounts(key) == (B, A)
        scene.set(key)
        assert scene.accounts(key) == (A,)

    def test_is_found_by_its_account(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        assert [pointer.source for pointer in scene.store.in_account(A)] == [PATIENT]
        scene.set(PATIENT, B)
        assert scene.store.in_account(A) == []

    def test_accounts_may_be_of_any_type(self, scene: Scene) -> None:
        scene.create("Practitioner/x", "CareTeam/t")
        assert updated(request("POST", PATH, parameters("Practitioner/x", "CareTeam/t"))) == 1


class TestPropagate:
    def test_patient_observation_and_report_are_three(self, scene: Scene) -> None:
        key = scene.observation("o")
        report = scene.put("DiagnosticReport/r", subject={"reference": PATIENT}, result=[{"reference": key}]).key
        assert updated(request("POST", PATH, parameters(A, propagate=True))) == 3
        assert scene.accounts_of([PATIENT, key, report]) == {(A,)}
        assert updated(request("POST", PATH, parameters(A, propagate=True))) == 3
        assert scene.versions([PATIENT, key, report]) == [2, 2, 2]

    def test_without_it_members_stay_as_they_are(self, scene: Scene) -> None:
        key = scene.observation("o")
        assert updated(request("POST", PATH, parameters(A))) == 1
        assert scene.accounts(key) == ()

    def test_the_example_of_the_semantics(self, scene: Scene) -> None:
        key = scene.observation("o")
        scene.set(key, B)
        scene.set(PATIENT, A, propagate=True)
        assert scene.accounts(key) == (B, A)
        scene.set(PATIENT, C, propagate=True)
        assert scene.accounts(key) == (B, C)
        scene.set(PATIENT, propagate=True)
        assert scene.accounts(key) == (B,)

    @pytest.mark.parametrize(
        ("target", "content"),
        [
            (PATIENT, {"subject": {"reference": PATIENT}}),
            ("Encounter/t", {"encounter": {"reference": "Encounter/t"}}),
            ("Practitioner/t", {"performer": [{"reference": "Practitioner/t"}]}),
            ("RelatedPerson/t", {"performer": [{"reference": "RelatedPerson/t"}]}),
            ("Device/t", {"device": {"reference": "Device/t"}}),
        ],
    )
    def test_every_compartment_of_r4(self, scene: Scene, target: str, content: dict[str, Any]) -> None:
        if target != PATIENT:
            scene.create(target)
        member = scene.put("Observation/o", **content).key
        assert scene.set(target, A, B, propagate=True) == 2
        assert scene.accounts_of([target, member]) == {(A, B)}
        late = scene.put("Observation/late", **content).key
        assert scene.accounts(late) == (A, B)
        assert scene.set(target, B, propagate=True) == 3
        assert scene.accounts_of([target, member, late]) == {(B,)}
        assert scene.set(target, propagate=True) == 3
        assert scene.accounts_of([target, member, late]) == {()}

    def test_other_targets_pass_on_only_while_their_last_request_said_so(self, scene: Scene) -> None:
        scene.create("Encounter/e")
        content = {"encounter": {"reference": "Encounter/e"}}
        scene.set("Encounter/e", A, propagate=True)
        assert scene.accounts(scene.put("Observation/1", **content).key) == (A,)
        scene.set("Encounter/e", B)
        assert scene.accounts(scene.put("Observation/2", **content).key) == ()
        assert scene.accounts(scene.put("Observation/1", status="final", **content).key) == ()

    def test_an_account_is_kept_where_another_target_gives_it(self, scene: Scene) -> None:
        scene.create("Patient/q")
        both = scene.put("Observation/o", subject={"reference": PATIENT}, performer=[{"reference": "Patient/q"}]).key
        scene.set(PATIENT, A, propagate=True)
        scene.set("Patient/q", A, C, propagate=True)
        assert scene.accounts(both) == (A, C)
        scene.set(PATIENT, propagate=True)
        assert scene.accounts(both) == (A, C)
        scene.set("Patient/q", propagate=True)
        assert scene.accounts(both) == ()

    def test_patients_that_link_to_each_other_give_nothing_back(self, scene: Scene) -> None:
        scene.put("Patient/q", link=[{"other": {"reference": PATIENT}, "type": "seealso"}])
        scene.put(PATIENT, link=[{"other": {"reference": "Patient/q"}, "type": "seealso"}])
        assert scene.set(PATIENT, A, propagate=True) == 2
        assert scene.accounts("Patient/q") == (A,)
        scene.set("Patient/q", B, propagate=True)
        assert scene.accounts(PATIENT) == (A, B)
        scene.set(PATIENT, propagate=True)
        scene.set("Patient/q", propagate=True)
        assert scene.accounts_of([PATIENT, "Patient/q"]) == {()}

    def test_a_change_of_subject_changes_what_is_inherited(self, scene: Scene) -> None:
        scene.create("Patient/q")
        key = scene.observation("o")
        scene.set(PATIENT, A, propagate=True)
        scene.set("Patient/q", C, propagate=True)
        scene.observation("o", "Patient/q")
        assert scene.accounts(key) == (C,)
        assert scene.set(PATIENT, B, propagate=True) == 1
        assert scene.accounts(key) == (C,)

    def test_deleted_members_are_not_counted(self, scene: Scene) -> None:
        scene.observation("kept")
        resources.delete(Session.of(scene.store, EVERYBODY), scene.observation("gone"), None)
        assert scene.set(PATIENT, A, propagate=True) == 2


class TestRefusals:
    def test_no_token(self, scene: Scene) -> None:
        answer = request("POST", PATH, parameters(A), scope=None)
        assert (answer["statusCode"], issue(answer)[0]) == (401, "login")
        assert scene.head(PATIENT).version == 1

    @pytest.mark.parametrize("body", [parameters(A), "nonsense", {"resourceType": "Patient"}])
    def test_a_token_without_the_right(self, scene: Scene, body: Any) -> None:
        answer = request("POST", PATH, body, scope="system/*.cruds")
        assert (answer["statusCode"], issue(answer)[0]) == (403, "forbidden")
        assert scene.head(PATIENT).version == 1

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("Sheep/1/$set-accounts", 404, "not-found"),
            ("Patient/unknown/$set-accounts", 404, "not-found"),
            ("Patient/no_id/$set-accounts", 404, "not-found"),
            ("Patient/deleted/$set-accounts", 410, "deleted"),
        ],
    )
    def test_targets_that_are_not_there(self, scene: Scene, path: str, status: int, code: str) -> None:
        scene.create("Patient/deleted")
        resources.delete(Session.of(scene.store, EVERYBODY), "Patient/deleted", None)
        answer = request("POST", path, parameters(A))
        assert (answer["statusCode"], issue(answer)[0]) == (status, code)

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "  ",
            "nonsense",
            "[]",
            '{"resourceType": "Parameters", "parameter": [',
            '"Parameters"',
            {},
            {"resourceType": "Patient"},
            {"resourceType": "Parameters", "parameter": {}},
            parameters("Organization"),
            parameters("http://elsewhere.example/Organization/a"),
            {"resourceType": "Parameters", "parameter": [{"name": "account"}]},
            {"resourceType": "Parameters", "parameter": [{"name": "propagate", "valueString": "true"}]},
            parameters(*[A] * 51),
        ],
    )
    def test_bad_requests_change_nothing(self, scene: Scene, body: Any) -> None:
        scene.set(PATIENT, B)
        answer = request("POST", PATH, body)
        assert answer["statusCode"] == 400
        assert answer["resource"]["resourceType"] == "OperationOutcome"
        assert scene.head(PATIENT).version == 2
        assert scene.accounts(PATIENT) == (B,)

    def test_no_compartment_to_propagate_to(self, scene: Scene) -> None:
        answer = request("POST", "Organization/a/$set-accounts", parameters(B, propagate=True))
        assert answer["statusCode"] == 400
        assert "compartment" in answer["resource"]["issue"][0]["diagnostics"]
        assert scene.accounts(A) == ()

    def test_accounts_that_do_not_exist_are_named(self, scene: Scene) -> None:
        scene.create("Organization/deleted")
        resources.delete(Session.of(scene.store, EVERYBODY), "Organization/deleted", None)
        answer = request("POST", PATH, parameters(A, "Organization/x", "Organization/deleted", "Device/y"))
        assert answer["statusCode"] == 422
        said = [each["diagnostics"] for each in answer["resource"]["issue"]]
        for key, text in zip(("Organization/x", "Organization/deleted", "Device/y"), said, strict=True):
            assert key in text
        assert scene.accounts(PATIENT) == ()

    def test_too_large_for_a_synchronous_run(self, new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        store = new_store(sync_limit=10)
        monkeypatch.setattr(http, "connect", lambda: store)
        scene = Scene(store)
        keys = scene.observations(10)
        assert updated(request("POST", PATH, parameters(A, propagate=True))) == 11
        keys += scene.create("Observation/11", subject={"reference": PATIENT})
        answer = request("POST", PATH, parameters(B, propagate=True))
        assert (answer["statusCode"], issue(answer)[0]) == (400, "too-costly")
        text = answer["resource"]["issue"][0]["diagnostics"]
        assert "11 members" in text
        assert "Prefer: respond-async" in text
        assert scene.accounts_of([PATIENT, *keys]) == {(A,)}
        assert scene.versions([PATIENT]) == [2]


class TestIfMatch:
    @pytest.mark.parametrize("version", ['W/"1"', '"1"', "*"])
    def test_the_current_version_passes(self, scene: Scene, version: str) -> None:
        assert updated(request("POST", PATH, parameters(A), {"if-match": version})) == 1

    @pytest.mark.parametrize("version", ['W/"2"', 'W/"0"'])
    def test_another_version_does_not(self, scene: Scene, version: str) -> None:
        answer = request("POST", PATH, parameters(A), {"if-match": version})
        assert answer["statusCode"] == 412
        assert scene.head(PATIENT).version == 1

    def test_nor_what_is_none(self, scene: Scene) -> None:
        assert request("POST", PATH, parameters(A), {"if-match": "1.5"})["statusCode"] == 400

    def test_nor_a_version_that_is_overtaken_at_the_last_moment(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interfere(scene, monkeypatch, lambda: scene.put(PATIENT, active=True))
        with pytest.raises(PreconditionFailed):
            scene.set(PATIENT, A, if_match='W/"1"')
        assert scene.accounts(PATIENT) == ()


def interfere(scene: Scene, monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any], times: int = 1) -> None:
    """Let `change` happen just before the next commits."""
    commit, left = scene.store.commit, [times]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            monkeypatch.setattr(scene.store, "commit", commit)
            change()
            monkeypatch.setattr(scene.store, "commit", interrupted)
        return commit(*arguments, **named)

    monkeypatch.setattr(scene.store, "commit", interrupted)


class TestOvertaken:
    def test_a_clinical_update_of_the_target_is_kept(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        interfere(scene, monkeypatch, lambda: scene.put(PATIENT, active=True))
        assert scene.set(PATIENT, A) == 1
        assert scene.store.decode(scene.head(PATIENT))["active"] is True
        assert scene.accounts(PATIENT) == (A,)

    def test_too_many_others_are_a_conflict(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        def always(*arguments: Any, **named: Any) -> Any:
            raise VersionConflict(PATIENT)

        monkeypatch.setattr(set_accounts_run, "pause", lambda attempt: None)
        monkeypatch.setattr(scene.store, "commit", always)
        with pytest.raises(Conflict):
            set_accounts_run.run(Session.of(scene.store, EVERYBODY), PATIENT, Request((A,)))

    def test_deleted_in_between_is_gone(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        interfere(scene, monkeypatch, lambda: resources.delete(Session.of(scene.store, EVERYBODY), PATIENT, None))
        with pytest.raises(Gone):
            scene.set(PATIENT, A)
