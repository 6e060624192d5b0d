"""`$set-accounts` by callers who are fenced: they set and remove their own accounts, on what they may see, and learn nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import Forbidden, NotFound, PreconditionFailed, Unavailable, Unprocessable
from bulkhead.jobs import lifecycle, polling
from bulkhead.jobs.lifecycle import Background
from bulkhead.session import Session
from bulkhead.store import Store
from functions import http
from tests.integration.test_set_accounts import interfere
from tests.support.scene import PATIENT, A, B, C, Machine, Scene, issue, parameters, request

D = "Organization/d"
PATH = f"{PATIENT}/$set-accounts"
FENCED = Caller("fenced", EVERYBODY.scopes, sets_accounts=True, accounts=(A, D))


@pytest.fixture
def scene(store: Store, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(http, "connect", lambda: store)
    made = Scene(store)
    made.create(D)
    return made


@pytest.fixture
def machine(scene: Scene) -> Machine:
    return Machine(scene.store)


def status(scene: Scene, job: str, who: Caller = FENCED) -> dict[str, Any]:
    """The entry of a job's result."""
    bundle = polling.status(scene.store, who.owner, job, alive=lambda name: False).bundle
    assert bundle is not None
    entry: dict[str, Any] = bundle["entry"][0]
    return entry


class TestWhatMayBeSet:
    def test_its_own_the_others_stay_in_their_places(self, scene: Scene) -> None:
        scene.set(PATIENT, B, A, C)
        assert scene.set(PATIENT, D, A, caller=FENCED) == 1
        assert scene.accounts(PATIENT) == (B, D, C, A)
        assert scene.set(PATIENT, A, caller=FENCED) == 1
        assert scene.accounts(PATIENT) == (B, A, C)

    def test_what_stands_already_makes_no_version(self, scene: Scene) -> None:
        scene.set(PATIENT, B, A, C)
        scene.set(PATIENT, A, caller=FENCED)
        assert scene.head(PATIENT).version == 2

    def test_it_may_remove_them_all_and_sees_the_target_no_more(self, scene: Scene) -> None:
        scene.set(PATIENT, B, A)
        scene.set(PATIENT, caller=FENCED)
        assert scene.accounts(PATIENT) == (B,)
        with pytest.raises(NotFound):
            scene.set(PATIENT, A, caller=FENCED)

    def test_an_account_that_is_not_its_own_is_refused_whether_it_exists_or_not(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        for other in (B, "Organization/nobody"):
            answer = request("POST", PATH, parameters(A, other), claims={"accounts": f"[{A} {D}]"})
            assert (answer["statusCode"], issue(answer)) == (403, ("forbidden", "accounts"))
        assert scene.accounts(PATIENT) == (A,)

    def test_one_of_its_own_that_does_not_exist_is_named(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        with pytest.raises(Unprocessable):
            scene.set(PATIENT, "Organization/gone", caller=replace(FENCED, accounts=(A, "Organization/gone")))

    def test_what_it_inherits_stays(self, scene: Scene) -> None:
        key = scene.observation("o")
        scene.set(PATIENT, A, propagate=True)
        scene.set(key, D, caller=FENCED)
        assert scene.accounts(key) == (D, A)
        scene.set(key, caller=FENCED)
        assert scene.accounts(key) == (A,)

    @pytest.mark.parametrize("fence", [{"patient": "p"}, {"patient": ""}])
    def test_a_patient_has_none_to_set(self, scene: Scene, fence: dict[str, Any]) -> None:
        with pytest.raises(Forbidden):
            scene.set(PATIENT, A, caller=replace(EVERYBODY, **fence))

    def test_one_that_is_fenced_to_accounts_too_sets_these_in_its_chart(self, scene: Scene) -> None:
        scene.create("Patient/other")
        for key in (PATIENT, "Patient/other"):
            scene.set(key, A)
        both = replace(FENCED, patient="p")
        assert scene.set(PATIENT, D, caller=both) == 1
        with pytest.raises(NotFound):
            scene.set("Patient/other", D, caller=both)

    def test_a_fence_that_is_empty_reaches_nothing(self, scene: Scene) -> None:
        for who in (replace(FENCED, accounts=()), replace(FENCED, accounts=(), patient="p")):
            with pytest.raises(NotFound):
                scene.set(PATIENT, caller=who)
            with pytest.raises(Forbidden):
                scene.set(PATIENT, A, caller=who)

    def test_scopes_with_a_query_say_on_what(self, scene: Scene) -> None:
        scopes = (Scope("system", "Patient", "r", "active=true"),)
        who = Caller("x", scopes, sets_accounts=True)
        with pytest.raises(NotFound):
            scene.set(PATIENT, A, caller=who)
        scene.put(PATIENT, active=True)
        assert scene.set(PATIENT, A, caller=who) == 1


class TestWhatIsHidden:
    @pytest.mark.parametrize("prefer", [{}, {"prefer": "respond-async"}])
    @pytest.mark.parametrize("header", [{}, {"if-match": 'W/"1"'}, {"if-match": 'W/"9"'}, {"if-match": "*"}])
    def test_answers_as_what_is_not_there(self, scene: Scene, header: dict[str, str], prefer: dict[str, str]) -> None:
        scene.set(PATIENT, B)
        scene.create("Patient/gone")
        resources.delete(Session.of(scene.store, EVERYBODY), "Patient/gone")
        before = scene.head(PATIENT)
        answers = []
        for key in (PATIENT, "Patient/none", "Patient/gone"):
            answer = request(
                "POST", f"{key}/$set-accounts", parameters(A, propagate=True), header | prefer, claims={"accounts": A}
            )
            answers.append((answer["statusCode"], answer["headers"], answer["body"].replace(key, "KEY")))
        assert answers[0][0] == 404
        assert answers[0] == answers[1] == answers[2]
        assert scene.head(PATIENT) == before

    def test_members_are_done_all_the_same_and_none_is_named(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.set(PATIENT, A)
        hidden = scene.observation("hidden-one")
        scene.set(hidden, B)
        assert scene.set(PATIENT, A, propagate=True, caller=FENCED) == 2
        assert scene.accounts(hidden) == (B, A)

    def test_members_that_resist_are_not_counted_and_not_named(self, scene: Scene) -> None:
        scene.set(PATIENT, A)
        scene.observation("hidden-one")
        scene.adjust("Observation/hidden-one", body={"B": b"z broken"})
        with pytest.raises(Unavailable) as caught:
            scene.set(PATIENT, A, D, propagate=True, caller=FENCED)
        assert "hidden-one" not in str(caught.value.issues)
        assert "some members" in caught.value.issues[0].diagnostics
        with pytest.raises(Unavailable) as caught:
            scene.set(PATIENT, A, C, propagate=True)
        assert "hidden-one" in str(caught.value.issues)

    def test_nor_by_a_job(self, scene: Scene, machine: Machine) -> None:
        scene.set(PATIENT, A)
        scene.observation("hidden-one")
        scene.adjust("Observation/hidden-one", body={"B": b"z broken"})
        job = scene.set(PATIENT, A, D, propagate=True, caller=FENCED, background=machine.background())
        machine.join(job)
        failure = status(scene, job)["response"]
        assert failure["status"].startswith("503")
        assert "hidden-one" not in str(failure)
        assert "some members" in str(failure)


class TestRaces:
    def test_what_others_set_at_the_same_time_stays(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        scene.set(PATIENT, B, A)
        interfere(scene, monkeypatch, lambda: scene.set(PATIENT, C, A, B))
        scene.set(PATIENT, D, caller=FENCED)
        assert scene.accounts(PATIENT) == (C, D, B)

    def test_a_target_that_is_taken_away_at_the_last_moment(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.set(PATIENT, B, A)
        interfere(scene, monkeypatch, lambda: scene.set(PATIENT, B))
        with pytest.raises(NotFound):
            scene.set(PATIENT, D, caller=FENCED)
        assert scene.accounts(PATIENT) == (B,)

    def test_or_deleted(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        scene.set(PATIENT, A)
        interfere(scene, monkeypatch, lambda: resources.delete(Session.of(scene.store, EVERYBODY), PATIENT))
        with pytest.raises(NotFound):
            scene.set(PATIENT, D, caller=FENCED)

    def test_or_overtaken_under_if_match(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        scene.set(PATIENT, A)
        interfere(scene, monkeypatch, lambda: scene.set(PATIENT, A, C))
        with pytest.raises(PreconditionFailed):
            scene.set(PATIENT, D, caller=FENCED, if_match='W/"2"')


class TestInTheBackground:
    def test_the_run_ends_with_its_own_and_the_others(self, scene: Scene, machine: Machine) -> None:
        scene.set(PATIENT, B, A, propagate=True)
        keys = scene.observations(3)
        job = scene.set(PATIENT, D, propagate=True, caller=FENCED, background=machine.background())
        machine.join(job)
        assert status(scene, job)["resource"]["parameter"][0]["valueInteger"] == 4
        assert scene.accounts_of([PATIENT, *keys]) == {(B, D)}

    @pytest.mark.parametrize("between", [(), (C, B), (C,)])
    def test_a_request_that_dies_after_its_change_is_finished(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch, between: tuple[str, ...]
    ) -> None:
        """Also where others have changed what is theirs in between: what was asked for is what is looked at."""
        scene.set(PATIENT, B, A)
        keys = scene.observations(3)
        monkeypatch.setattr(lifecycle, "START_GRACE", 0.0)
        job = _dying(scene, lambda: scene.set(PATIENT, D, propagate=True, caller=FENCED))
        if between:
            scene.set(PATIENT, *between, D, propagate=True)
        machine.start(job)
        machine.join(job)
        assert status(scene, job)["response"]["status"].startswith("200")
        assert scene.accounts_of([PATIENT, *keys]) == {((*between, D) if between else (B, D))}

    def test_one_that_dies_before_its_change_has_changed_nothing(
        self, scene: Scene, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.set(PATIENT, B, A, propagate=True)
        monkeypatch.setattr(lifecycle, "START_GRACE", 0.0)
        job = _dying(scene, lambda: None)
        machine.start(job)
        machine.join(job)
        assert status(scene, job)["response"]["status"].startswith("503")
        assert scene.accounts(PATIENT) == (B, A)

    def test_sent_again_after_the_target_was_given_up(self, scene: Scene, machine: Machine) -> None:
        """The caller does not see the target any more, but it is its own request that did it."""
        scene.set(PATIENT, B, A, propagate=True)
        keys = scene.observations(3)

        def asked(start: Callable[[str], None]) -> str:
            background = Background(start, "key")
            job: str = scene.set(PATIENT, propagate=True, caller=FENCED, background=background)
            return job

        def start_and_die(job: str) -> None:
            scene.set(PATIENT, propagate=True, caller=FENCED)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            asked(start_and_die)
        assert scene.accounts(PATIENT) == (B,)
        job = asked(machine.start)
        machine.join(job)
        assert status(scene, job)["response"]["status"].startswith("200")
        assert scene.accounts_of([PATIENT, *keys]) == {(B,)}

    def test_a_key_is_one_of_a_token_not_of_a_subject(self, scene: Scene, machine: Machine) -> None:
        scene.set(PATIENT, A, B)
        other = replace(FENCED, accounts=(B,))
        first = scene.set(PATIENT, A, propagate=True, caller=FENCED, background=machine.background("key"))
        second = scene.set(PATIENT, B, propagate=True, caller=other, background=machine.background("key"))
        assert first != second
        for job in (first, second):
            machine.join(job)
        for job, stranger in ((first, other), (second, FENCED)):
            with pytest.raises(NotFound):
                polling.status(scene.store, stranger.owner, job, alive=lambda name: True)


def _dying(scene: Scene, change: Callable[[], object]) -> str:
    """The job of a request that asked for D, and died once it had done `change`."""

    def start(job: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.set(PATIENT, D, propagate=True, caller=FENCED, background=Background(start, "key"))
    (known,), _ = scene.store.jobs.of_owner(FENCED.owner, 10, None)
    assert (known.accounts, known.within) == ((D,), (A, D))
    change()
    return known.id
