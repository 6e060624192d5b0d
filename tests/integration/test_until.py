"""Accounts that end by the clock: wherever accounts are read, they count until that instant and no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import governing
from bulkhead.compartments.accounts import UNTIL
from bulkhead.errors import Forbidden, NotFound, Unprocessable
from bulkhead.fhir import dates
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_request import Request
from bulkhead.resources.representation import represent
from bulkhead.session import Session
from bulkhead.store import Store, keys
from bulkhead.store.heads import NEVER, OWN
from functions import http
from tests.support.clock import Clock, stopped
from tests.support.scene import PATIENT, SCOPE, SUBJECT, A, B, C, Machine, Scene, request

HOUR = 3600.0
OF_A = replace(EVERYBODY, accounts=(A,))
CLINICIAN_OF_A = replace(OF_A, sets_accounts=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stopped(monkeypatch)


@pytest.fixture
def scene(store: Store, clock: Clock) -> Scene:
    return Scene(store)


def at(clock: Clock, seconds: float) -> str:
    return dates.text(datetime.fromtimestamp(clock.now, UTC) + timedelta(seconds=seconds))


def share(scene: Scene, key: str, ends: dict[str, str], *more: str, caller: Any = EVERYBODY, **asked: Any) -> Any:
    request = Request((*ends, *more), ends=ends, **asked)
    return set_accounts_run.run(Session.of(scene.store, caller), key, request)


def reads(scene: Scene, key: str, caller: Any = OF_A) -> bool:
    try:
        resources.read(Session.of(scene.store, caller), key)
    except NotFound:
        return False
    return True


def shown(scene: Scene, key: str) -> list[dict[str, Any]]:
    head = scene.head(key)
    session = Session.of(scene.store, EVERYBODY)
    listed: list[dict[str, Any]] = represent(scene.store.version(head), session.definitions)["meta"].get("accounts", [])
    return listed


def test_the_target_and_its_members_are_shared_up_to_the_end_and_not_at_it(scene: Scene, clock: Clock) -> None:
    members = [scene.observation("1"), scene.observation("2")]
    end = at(clock, HOUR)
    assert share(scene, PATIENT, {A: end}, B, propagate=True) == 3
    newcomer = scene.observation("3")
    everything = [PATIENT, *members, newcomer]
    clock.sleep(HOUR - 0.001)
    assert all(reads(scene, key) for key in everything)
    assert scene.accounts_of(everything) == {(A, B)}
    assert shown(scene, newcomer) == [
        {"extension": [{"url": UNTIL, "valueInstant": end}], "reference": A},
        {"reference": B},
    ]
    versions = scene.versions(everything)
    clock.sleep(0.001)
    assert not any(reads(scene, key) for key in everything)
    assert scene.accounts_of(everything) == {(B,)}
    assert shown(scene, newcomer) == [{"reference": B}]
    assert scene.versions(everything) == versions, "nothing is written for it"


def test_what_is_written_after_the_end_inherits_it_no_more(scene: Scene, clock: Clock) -> None:
    share(scene, PATIENT, {A: at(clock, HOUR)}, propagate=True)
    before = scene.observation("1")
    clock.sleep(HOUR)
    after = scene.observation("2")
    scene.observation("1", status="final")
    for key in (before, after):
        assert scene.head(key).inherited == {}
    assert share(scene, PATIENT, {}, propagate=True) == 3
    assert scene.versions([before, after]) == [2, 1], "they stand as asked already"


def test_an_end_that_is_moved_or_taken_away_reaches_the_members(scene: Scene, clock: Clock) -> None:
    member = scene.observation("1")
    for end in (at(clock, 1), at(clock, HOUR), at(clock, 60)):
        share(scene, PATIENT, {A: end}, propagate=True)
        assert scene.head(member).until(A) == end
    share(scene, PATIENT, {}, A, propagate=True)
    clock.sleep(2 * HOUR)
    assert scene.head(member).until(A) == NEVER
    assert reads(scene, member)


def test_writers_keep_the_end_of_what_they_keep(scene: Scene, clock: Clock) -> None:
    """A clinician's update, a patch's, a deletion and what is made anew after it: none of them makes an account endless."""
    end = at(clock, HOUR)
    member = scene.observation("1")
    share(scene, member, {B: end}, A)
    share(scene, PATIENT, {C: end}, propagate=True)
    scene.observation("1", status="final")
    assert scene.head(member).ends == {OWN: {B: end}, PATIENT: {C: end}}
    resources.delete(Session.of(scene.store, EVERYBODY), member)
    assert scene.head(member).ends == {OWN: {B: end}, PATIENT: {C: end}}
    scene.create_again(member)
    assert scene.head(member).ends == {OWN: {B: end}, PATIENT: {C: end}}
    clock.sleep(HOUR)
    assert scene.accounts(member) == (A,)


def test_a_deleted_resource_is_not_open_to_whom_it_was_shared_with_before(scene: Scene, clock: Clock) -> None:
    key = scene.put("Basic/1", code={"text": "x"}).key
    share(scene, key, {A: at(clock, HOUR)})
    resources.delete(Session.of(scene.store, EVERYBODY), key)
    clock.sleep(HOUR)
    again = {"resourceType": "Basic", "id": "1", "code": {"text": "mine"}}
    with pytest.raises(NotFound):
        resources.update(Session.of(scene.store, CLINICIAN_OF_A), again, key)


def test_the_last_end_counts_of_an_account_that_comes_from_several_places(scene: Scene, clock: Clock) -> None:
    member = scene.observation("1")
    share(scene, member, {A: at(clock, 60)})
    share(scene, PATIENT, {A: at(clock, HOUR)}, propagate=True)
    assert scene.head(member).until(A) == at(clock, HOUR)
    clock.sleep(60)
    assert scene.head(member).explicit == ()
    assert reads(scene, member)
    clock.sleep(HOUR)
    assert not reads(scene, member)


def test_what_was_handed_on_for_the_sake_of_an_account_ends_with_it(scene: Scene, clock: Clock) -> None:
    of_a_and_c = replace(EVERYBODY, accounts=(A, C))
    scene.put("Encounter/1", status="planned")
    member = scene.observation("1", encounter={"reference": "Encounter/1"})
    share(scene, member, {A: at(clock, HOUR)})
    share(scene, "Encounter/1", {}, A)
    share(scene, "Encounter/1", {}, A, C, caller=of_a_and_c, propagate=True)
    assert set(scene.accounts(member)) == {A, C}
    clock.sleep(HOUR)
    assert scene.accounts(member) == ()


def test_search_and_listings_follow_the_clock_at_no_extra_request(scene: Scene, clock: Clock) -> None:
    member = scene.observation("1")
    with scene.store.metered() as before:
        reads(scene, member)
    share(scene, member, {A: at(clock, HOUR)})
    with scene.store.metered() as after:
        reads(scene, member)
    assert after.requests == before.requests
    clock.sleep(HOUR)
    # The listing still names it: the head is asked.
    assert [pointer.source for pointer in scene.store.in_account(A)] == [member]
    assert not reads(scene, member)


def test_the_integrity_check_clears_the_listings_a_day_later_and_changes_no_head(scene: Scene, clock: Clock) -> None:
    member = scene.observation("1")
    share(scene, member, {A: at(clock, HOUR)})
    entry = keys.account_entry(member, A)[0]

    def look(seconds: float) -> int:
        from bulkhead.store.integrity import Check

        facts_of = scene.store._facts_of
        check = Check(
            scene.store.table, facts_of, scene.store._bodies, now=clock.now + seconds, patience=86_400, repair=True
        )
        return check.look(list(scene.store.table.query(member))).stale

    before = scene.head(member)
    assert look(HOUR + 86_399) == 0
    assert scene.store.table.get(entry)
    assert look(HOUR + 86_401) == 1
    assert scene.store.table.get(entry) is None
    assert scene.head(member) == before
    # Given again, it is listed again.
    clock.sleep(2 * 86_400)
    share(scene, member, {}, A)
    assert scene.store.table.get(entry)


def test_the_next_write_clears_the_listing(scene: Scene, clock: Clock) -> None:
    member = scene.observation("1")
    share(scene, member, {A: at(clock, HOUR)}, B)
    clock.sleep(HOUR)
    scene.observation("1", status="final")
    assert scene.store.table.get(keys.account_entry(member, A)[0]) is None
    assert scene.store.table.get(keys.account_entry(member, B)[0])
    assert scene.store.check_integrity(repair=True, patience=None).stale == 0


class TestMeta:
    """`meta.accounts` in a body."""

    def put(self, scene: Scene, caller: Any, accounts: list[dict[str, Any]], **content: Any) -> None:
        resource = {
            "resourceType": "Basic",
            "id": "1",
            "code": {"text": "x"},
            "meta": {"accounts": accounts},
            **content,
        }
        resources.update(Session.of(scene.store, caller), resource, "Basic/1")

    def account(self, reference: str, end: str) -> dict[str, Any]:
        return {"extension": [{"url": UNTIL, "valueInstant": end}], "reference": reference}

    def test_sets_ends_and_takes_its_echo_back(self, scene: Scene, clock: Clock) -> None:
        end = at(clock, HOUR)
        self.put(scene, EVERYBODY, [self.account(A, end), {"reference": B}])
        assert scene.head("Basic/1").ends == {OWN: {A: end}}
        self.put(scene, EVERYBODY, shown(scene, "Basic/1"), language="en")
        assert scene.head("Basic/1").ends == {OWN: {A: end}}

    def test_a_client_that_leaves_out_extensions_makes_nothing_endless(self, scene: Scene, clock: Clock) -> None:
        end = at(clock, HOUR)
        self.put(scene, EVERYBODY, [self.account(A, end)])
        self.put(scene, EVERYBODY, [{"reference": A}], language="en")
        self.put(scene, EVERYBODY, [{"reference": A}, {"reference": B}])
        assert scene.head("Basic/1").granted_by(OWN) == {A: end, B: NEVER}

    def test_another_end_is_a_change(self, scene: Scene, clock: Clock) -> None:
        self.put(scene, EVERYBODY, [self.account(A, at(clock, HOUR))])
        self.put(scene, EVERYBODY, [self.account(A, at(clock, 60))])
        assert scene.head("Basic/1").until(A) == at(clock, 60)

    def test_an_echo_after_the_end_gives_nothing_back(self, scene: Scene, clock: Clock) -> None:
        self.put(scene, EVERYBODY, [self.account(A, at(clock, HOUR)), {"reference": B}])
        echo = shown(scene, "Basic/1")
        clock.sleep(HOUR)
        self.put(scene, EVERYBODY, echo, language="en")
        assert scene.accounts("Basic/1") == (B,)

    def test_nothing_is_made_with_an_account_that_has_ended(self, scene: Scene, clock: Clock) -> None:
        with pytest.raises(Unprocessable) as caught:
            self.put(scene, EVERYBODY, [self.account(A, at(clock, -1))])
        assert caught.value.issues[0].expression == "Basic.meta.accounts[0].reference"

    def test_an_own_account_does_not_last_as_long_as_the_inherited_one_by_an_echo(
        self, scene: Scene, clock: Clock
    ) -> None:
        member = scene.observation("1")
        share(scene, member, {A: at(clock, 60)})
        share(scene, PATIENT, {A: at(clock, HOUR)}, propagate=True)
        echo = shown(scene, member)
        scene.observation("1", meta={"accounts": echo}, status="final")
        scene.observation("1", meta={"accounts": [*echo, {"reference": B}]})
        assert scene.head(member).granted_by(OWN) == {A: at(clock, 60), B: NEVER}


def test_a_fenced_caller_ends_its_own_accounts_only(scene: Scene, clock: Clock) -> None:
    share(scene, PATIENT, {B: at(clock, HOUR)}, A)
    share(scene, PATIENT, {A: at(clock, 60)}, caller=OF_A)
    assert scene.head(PATIENT).ends == {OWN: {B: at(clock, HOUR), A: at(clock, 60)}}
    with pytest.raises(Forbidden):
        share(scene, PATIENT, {B: at(clock, 60)}, caller=OF_A)


def test_the_end_of_the_last_account_opens_nothing_to_others(scene: Scene, clock: Clock) -> None:
    """Neither does a definition govern the server then, nor is what is left open to all, until an unfenced caller says so."""
    content = {"url": "https://example.com/v", "status": "draft"}
    key = scene.put("ValueSet/v", **content).key
    share(scene, key, {A: at(clock, HOUR)})
    clock.sleep(HOUR)
    assert not governing.governs(scene.head(key))
    scene.put(key, **content, title="Written again")
    assert scene.accounts(key) == ()
    assert not scene.head(key).open
    share(scene, key, {})
    assert governing.governs(scene.head(key))


def test_a_job_that_goes_on_when_an_account_ends_finishes(scene: Scene, clock: Clock) -> None:
    members = scene.observations(5)
    machine = Machine(scene.store)
    end = at(clock, 30)
    job = set_accounts_run.run(
        Session.of(scene.store, EVERYBODY),
        PATIENT,
        Request((A, B), True, {A: end}),
        background=machine.background(),
    )
    assert isinstance(job, str)
    machine.join(job)
    found = scene.store.jobs.read(job)
    assert found is not None
    assert (found.state, found.updated, found.ends) == ("done", 6, {A: end})
    assert scene.accounts_of(members) == {(A, B)}
    clock.sleep(30)
    assert scene.accounts_of(members) == {(B,)}


def test_an_idempotency_key_is_of_one_end(scene: Scene, clock: Clock) -> None:
    machine = Machine(scene.store)

    def send(end: str) -> Any:
        request = Request((A,), True, {A: end})
        session = Session.of(scene.store, EVERYBODY)
        return set_accounts_run.run(session, PATIENT, request, background=machine.background("k"))

    end = at(clock, HOUR)
    job = send(end)
    machine.join(job)
    assert send(end) == job
    with pytest.raises(Unprocessable):
        send(at(clock, 2 * HOUR))


def test_ends_cost_no_request_and_no_unit(make_store: Any, clock: Clock) -> None:
    """A run over a hundred members, a write that inherits, a read: with an end and without."""
    counted = []
    for ends in ({}, {A: at(clock, 1000 * HOUR)}):
        scene = Scene(make_store())
        scene.observations(100)
        with scene.store.metered() as meter:
            share(scene, PATIENT, ends, *(() if ends else (A,)), propagate=True)
            member = scene.observation("new")
            assert reads(scene, member)
        counted.append((meter.requests, meter.units))
    assert counted[0] == counted[1]


class TestOverHttp:
    """The clock passes between two requests of a caller who is fenced to A."""

    FENCED: ClassVar[dict[str, str]] = {"accounts": A}

    @pytest.fixture(autouse=True)
    def here(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "connect", lambda: scene.store)

    def names(self, answer: Any) -> list[str]:
        assert answer["statusCode"] == 200
        return [entry["resource"]["id"] for entry in answer["resource"].get("entry", ())]

    def test_meta_accounts_with_an_end_is_valid_and_comes_back(self, clock: Clock) -> None:
        account = {"extension": [{"url": UNTIL, "valueInstant": at(clock, HOUR)}], "reference": A}
        patient: dict[str, Any] = {"resourceType": "Patient", "id": "1", "meta": {"accounts": [account]}}
        for status in (201, 200):
            answer = request("PUT", "Patient/1", patient)
            assert answer["statusCode"] == status, answer["body"]
            assert answer["resource"]["meta"]["accounts"] == [account]
            patient = answer["resource"]
        assert patient["meta"]["versionId"] == "1"

    @pytest.mark.parametrize("path", ["Observation?_account=Organization/a", "Observation", f"{PATIENT}/Observation"])
    def test_searches_and_their_page_links_show_nothing_from_the_end_on(
        self, scene: Scene, clock: Clock, path: str
    ) -> None:
        scene.observations(5)
        share(scene, PATIENT, {A: at(clock, HOUR)}, propagate=True)
        counted = f"{path}{'&' if '?' in path else '?'}_count=2"
        first = search(counted, self.FENCED)
        assert len(self.names(first)) == 2
        link = next(each["url"] for each in first["resource"]["link"] if each["relation"] == "next")
        clock.sleep(HOUR)
        assert self.names(search(link.partition("/fhir/R4/")[2], self.FENCED)) == []
        assert self.names(search(counted, self.FENCED)) == []

    def test_so_does_history(self, scene: Scene, clock: Clock) -> None:
        key = scene.put("Basic/1", code={"text": "x"}).key
        share(scene, key, {A: at(clock, HOUR)})
        assert request("GET", f"{key}/_history", claims=self.FENCED)["statusCode"] == 200
        clock.sleep(HOUR)
        for path in (f"{key}/_history", f"{key}/_history/2", key):
            assert request("GET", path, claims=self.FENCED)["statusCode"] == 404


def search(path: str, claims: dict[str, str]) -> Any:
    """A GET with a query."""
    path, _, query = path.partition("?")
    event = {
        "rawPath": f"/fhir/R4/{path}",
        "rawQueryString": query,
        "headers": {},
        "requestContext": {
            "http": {"method": "GET"},
            "domainName": "server.example",
            "requestId": "1",
            "authorizer": {"jwt": {"claims": {"sub": SUBJECT, "scope": SCOPE, **claims}}},
        },
        "body": "",
    }
    answer = http.serve(event)
    answer["resource"] = json.loads(answer["body"])
    return answer
