"""What callers who are fenced may make, change and learn: by single requests and by bundles alike. Semantics, section 3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.bundles import process
from bulkhead.errors import (
    BulkheadError,
    Forbidden,
    Gone,
    MultipleMatches,
    NotFound,
    PreconditionFailed,
    Unprocessable,
    VersionConflict,
)
from bulkhead.resources import conditional
from bulkhead.resources.conditions import condition
from bulkhead.resources.patches import json_patch
from bulkhead.session import Session
from bulkhead.store import Head, Store, Write
from bulkhead.store.capacity import metered
from tests.support.bundle_samples import bundle, context

Json = dict[str, Any]

A, B = "Organization/a", "Organization/b"
FENCED = Caller("fenced", EVERYBODY.scopes, accounts=(A,))
SETTING = replace(FENCED, sets_accounts=True)
PATIENT = Caller("patient", (Scope("patient", "*", "cruds"),), patient="own")

MINE, THEIRS, OWN, OTHER = "Patient/mine", "Patient/theirs", "Patient/own", "Patient/other"


def resource(key: str, subject: str | None = None, *accounts: str, **content: Any) -> Json:
    resource_type, _, identifier = key.partition("/")
    made: Json = {"resourceType": resource_type, "id": identifier, **content}
    if resource_type == "Observation":
        made |= {"status": "final", "code": {"text": "x"}, **content}
    if subject is not None:
        made["subject"] = {"reference": subject}
    if accounts:
        made["meta"] = {"accounts": [{"reference": account} for account in accounts]}
    return made


@pytest.fixture
def ward(store: Store) -> Store:
    """Patients: one of each account, two of none; an Observation of each."""
    for key, account in ((MINE, (A,)), (THEIRS, (B,)), (OWN, ()), (OTHER, ())):
        put(store, EVERYBODY, resource(key, None, *account))
        put(store, EVERYBODY, resource(f"Observation/{key[8:]}", key))
    return store


def put(store: Store, who: Caller, body: Json, **headers: Any) -> Head:
    """By a single request."""
    return resources.update(Session.of(store, who), body, f"{body['resourceType']}/{body['id']}", **headers)[0]


def put_in_bundle(store: Store, who: Caller, body: Json, **headers: Any) -> Head:
    """By a transaction."""
    key = f"{body['resourceType']}/{body['id']}"
    request = {"method": "PUT", "url": key} | {
        {"if_match": "ifMatch", "if_none_match": "ifNoneMatch"}[name]: text for name, text in headers.items()
    }
    process(bundle({"resource": body, "request": request}), context(store, caller=who))
    found = store.read(key)
    assert found is not None
    return found


def put_in_batch(store: Store, who: Caller, body: Json, **headers: Any) -> Head:
    """By a batch, whose entry has the error of its own."""
    key = f"{body['resourceType']}/{body['id']}"
    request = {"method": "PUT", "url": key}
    answer = process(bundle({"resource": body, "request": request}, kind="batch"), context(store, caller=who))
    response = answer["entry"][0]["response"]
    failures = {"403": Forbidden, "404": NotFound, "422": Unprocessable}
    if failure := failures.get(response["status"][:3]):
        issue = response["outcome"]["issue"][0]
        raise failure(issue["diagnostics"], issue["expression"][0])
    found = store.read(key)
    assert found is not None
    return found


Put = Callable[..., Head]
EACH_WAY = pytest.mark.parametrize("put", [put, put_in_bundle, put_in_batch])
TOGETHER = pytest.mark.parametrize("put", [put, put_in_bundle])


def place(error: BulkheadError) -> str:
    """Where it is, within the resource."""
    return (error.issues[0].expression or "").replace("Bundle.entry[0].resource", "Observation")


class TestAccountsFence:
    @EACH_WAY
    def test_what_it_makes_is_inside(self, ward: Store, put: Put) -> None:
        head = put(ward, FENCED, resource("Observation/new", MINE))
        assert head.explicit == (A,)
        assert resources.read(Session.of(ward, FENCED), head.key).version == 1

    @TOGETHER
    def test_with_the_right_it_says_which_of_its_own(self, ward: Store, put: Put) -> None:
        who = replace(SETTING, accounts=(A, B))
        assert put(ward, who, resource("Observation/new", None, B)).explicit == (B,)
        assert put(ward, who, resource("Observation/new2")).explicit == (A, B)
        assert put(ward, who, resource("Observation/new", None, A)).explicit == (A,)

    @EACH_WAY
    def test_others_it_may_not_ask_for_whether_they_exist_or_not(self, ward: Store, put: Put) -> None:
        put_each = [resource("Observation/new", MINE, A, B), resource(MINE, None, A, "Organization/none")]
        for body in put_each:
            with pytest.raises(Forbidden) as caught:
                put(ward, SETTING, body)
            assert (caught.value.issues[0].expression or "").endswith("meta.accounts[1].reference")
        assert ward.read("Observation/new") is None

    @TOGETHER
    def test_without_the_right_what_it_asks_for_is_nothing(self, ward: Store, put: Put) -> None:
        assert put(ward, FENCED, resource("Observation/new", MINE, B)).explicit == (A,)
        assert put(ward, FENCED, resource("Observation/new", MINE, B, status="amended")).explicit == (A,)

    @TOGETHER
    def test_an_echo_of_others_is_no_request(self, ward: Store, put: Put) -> None:
        put_unfenced = resource("Observation/shared", MINE, B, A)
        resources.update(Session.of(ward, EVERYBODY), put_unfenced, "Observation/shared")
        echoed = put(ward, SETTING, put_unfenced | {"status": "amended"})
        assert (echoed.version, echoed.explicit) == (2, (B, A))
        less = put(ward, replace(SETTING, accounts=(A, "Organization/c")), resource("Observation/shared", MINE, "Organization/c", B))  # fmt: skip
        assert less.explicit == (B, "Organization/c")

    def test_what_an_older_version_had_is_an_echo_if_that_is_shown(self, new_store: Any) -> None:
        for setting in ("current", "version"):
            store = new_store(history_access=setting)
            for accounts in ((B,), (A,)):
                resources.update(
                    Session.of(store, EVERYBODY),
                    resource("Basic/moved", None, *accounts, code={"text": "x"}),
                    "Basic/moved",
                )
            body = resource("Basic/moved", None, B, code={"text": "y"})
            body["meta"]["versionId"] = "1"
            if setting == "current":
                assert put(store, SETTING, body).explicit == (A,)
            else:
                with pytest.raises(Forbidden):
                    put(store, SETTING, body)

    def test_a_patient_has_none_to_ask_for(self, ward: Store) -> None:
        who = replace(PATIENT, sets_accounts=True)
        assert put(ward, who, resource("Observation/new", OWN, B)).explicit == ()

    @EACH_WAY
    def test_a_change_may_not_take_a_resource_outside(self, ward: Store, put: Put) -> None:
        """The Observation is inside by its Patient only."""
        before = ward.read("Observation/mine")
        assert before is not None
        assert before.explicit == ()
        for body in (resource("Observation/mine"), resource("Observation/mine", "Group/1")):
            with pytest.raises(Forbidden) as caught:
                put(ward, FENCED, body)
            assert place(caught.value) == "Observation"
        assert ward.read("Observation/mine") == before
        assert put(ward, FENCED, resource("Observation/mine", MINE, status="amended")).accounts == (A,)

    @TOGETHER
    def test_nor_by_its_accounts(self, ward: Store, put: Put) -> None:
        resources.update(Session.of(ward, EVERYBODY), resource("Observation/shared", None, B, A), "Observation/shared")
        with pytest.raises(Forbidden):
            put(ward, SETTING, resource("Observation/shared", None, B))

    @TOGETHER
    def test_who_is_fenced_to_nothing_makes_nothing(self, ward: Store, put: Put) -> None:
        for who in (replace(FENCED, accounts=()), replace(PATIENT, patient="")):
            with pytest.raises(Forbidden):
                put(ward, who, resource("Observation/new"))

    def test_a_patch_is_held_to_the_same(self, ward: Store) -> None:
        change = json_patch.parse(b'[{"op": "remove", "path": "/subject"}]')
        with pytest.raises(Forbidden):
            resources.patch(Session.of(ward, FENCED), "Observation/mine", change)
        change = json_patch.parse(f'[{{"op": "replace", "path": "/subject/reference", "value": "{THEIRS}"}}]'.encode())
        with pytest.raises(Unprocessable):
            resources.patch(Session.of(ward, FENCED), "Observation/mine", change)


class TestPatientFence:
    @EACH_WAY
    def test_it_makes_and_changes_what_is_in_its_chart(self, ward: Store, put: Put) -> None:
        assert put(ward, PATIENT, resource("Observation/new", OWN)).version == 1
        assert put(ward, PATIENT, resource("Observation/own", OWN, status="amended")).version == 2
        assert put(ward, PATIENT, resource(OWN, active=True)).version == 2

    @EACH_WAY
    @pytest.mark.parametrize("subject", [OTHER, "Patient/none", None])
    def test_and_nothing_else(self, ward: Store, put: Put, subject: str | None) -> None:
        for key in ("Observation/new", "Observation/own"):
            before = ward.read(key)
            with pytest.raises(Forbidden) as caught:
                put(ward, PATIENT, resource(key, subject))
            assert place(caught.value) == "Observation"
            assert ward.read(key) == before
        with pytest.raises(Forbidden):
            put(ward, PATIENT, resource("Patient/new"))

    @EACH_WAY
    @pytest.mark.parametrize("named", [OTHER, "Patient/none"])
    def test_nor_does_it_write_into_another_chart_at_the_same_time(self, ward: Store, put: Put, named: str) -> None:
        with pytest.raises(Unprocessable) as caught:
            put(ward, PATIENT, resource("Observation/new", OWN, performer=[{"reference": named}]))
        assert place(caught.value) == "Observation.performer[0]"
        assert caught.value.issues[0].diagnostics == "there is no such Patient"

    def test_it_may_make_its_own_patient_again(self, ward: Store) -> None:
        resources.delete(Session.of(ward, PATIENT), OWN)
        assert put(ward, PATIENT, resource(OWN)).version == 3

    def test_both_fences_hold(self, ward: Store) -> None:
        both = replace(PATIENT, accounts=(A,))
        with pytest.raises(NotFound):
            resources.read(Session.of(ward, both), "Observation/own")
        with pytest.raises(Unprocessable):
            # It does not see the Patient itself, which carries no account.
            put(ward, both, resource("Observation/new", OWN))
        resources.update(Session.of(ward, EVERYBODY), resource(OWN, None, A), OWN)
        assert put(ward, both, resource("Observation/new", OWN)).accounts == (A,)


class TestNaming:
    """Who is named as its Patient gets a resource into the chart, and gives it its accounts."""

    @EACH_WAY
    @pytest.mark.parametrize("named", [THEIRS, "Patient/none", "Patient/deleted"])
    def test_a_patient_that_is_hidden_or_not_there(self, ward: Store, put: Put, named: str) -> None:
        resources.update(Session.of(ward, EVERYBODY), resource("Patient/deleted", None, A), "Patient/deleted")
        resources.delete(Session.of(ward, EVERYBODY), "Patient/deleted")
        mine = resource("Observation/mine", MINE)
        for body, where in (
            (resource("Observation/new", named), "Observation.subject"),
            (mine | {"performer": [{"reference": MINE}, {"reference": named}]}, "Observation.performer[1]"),
            (mine | {"subject": {"reference": named}}, "Observation.subject"),
            (resource(MINE, link=[{"other": {"reference": named}, "type": "refer"}]), "link[0].other"),
        ):
            with pytest.raises(Unprocessable) as caught:
                put(ward, FENCED, body)
            assert place(caught.value).endswith(where)
            assert caught.value.issues[0].diagnostics == "there is no such Patient"

    @EACH_WAY
    def test_one_that_is_named_already_stays(self, ward: Store, put: Put) -> None:
        resources.update(Session.of(ward, EVERYBODY), resource("Observation/shared", THEIRS, A), "Observation/shared")
        head = put(ward, FENCED, resource("Observation/shared", THEIRS, status="amended"))
        assert head.accounts == (A, B)

    @TOGETHER
    def test_what_is_not_of_the_compartment_may_name_anybody(self, ward: Store, put: Put) -> None:
        for named in (THEIRS, "Patient/none"):
            body = resource("Observation/new", MINE, focus=[{"reference": named}])
            assert put(ward, FENCED, body).accounts == (A,)

    def test_one_that_the_same_transaction_makes(self, ward: Store) -> None:
        patient = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}  # fmt: skip
        body = resource("Observation/x", "urn:uuid:1")
        observation = {"resource": body, "request": {"method": "POST", "url": "Observation"}}
        process(bundle(patient, observation), context(ward, caller=FENCED))
        (made,) = [key for key in _keys(ward, "Observation") if key not in WARD]
        head = resources.read(Session.of(ward, FENCED), made)
        assert head.accounts == (A,)
        assert resources.read(Session.of(ward, FENCED), ward.decode(head)["subject"]["reference"]).version == 1

    def test_the_faults_of_a_transaction_are_told_together_at_their_places(self, ward: Store) -> None:
        entries = [
            {"resource": resource("Observation/1", subject), "request": {"method": "POST", "url": "Observation"}}
            for subject in (THEIRS, MINE, "Patient/none")
        ]
        with pytest.raises(Unprocessable) as caught:
            process(bundle(*entries), context(ward, caller=FENCED))
        assert [issue.expression for issue in caught.value.issues] == [
            "Bundle.entry[0].resource.subject",
            "Bundle.entry[2].resource.subject",
        ]
        assert _keys(ward, "Observation") == WARD

    @TOGETHER
    def test_targets_that_are_hidden_hand_nothing_on(self, ward: Store, put: Put) -> None:
        """Else the accounts of one's own resource would tell what other resources there are, and whose."""
        encounter = resource("Encounter/theirs", None, B, status="finished", **{"class": {"code": "AMB"}})
        resources.update(Session.of(ward, EVERYBODY), encounter, "Encounter/theirs")
        found = ward.read("Encounter/theirs")
        assert found is not None
        ward.set_propagate(found, flag=True, within={})
        for named in ("Encounter/theirs", "Encounter/none"):
            body = resource("Observation/new", MINE, encounter={"reference": named})
            assert put(ward, FENCED, body).accounts == (A,)
            assert put(ward, FENCED, body | {"status": "amended"}).accounts == (A,)
        shared = resource("Observation/shared", MINE, A, encounter={"reference": "Encounter/theirs"})
        resources.update(Session.of(ward, EVERYBODY), shared, "Observation/shared")
        assert put(ward, FENCED, shared | {"status": "amended"}).accounts == (A, B)

    def test_is_asked_of_the_table_once_and_only_for_who_is_fenced(self, ward: Store) -> None:
        def requests(who: Caller) -> dict[str, int]:
            with metered(ward.table.client) as meter:
                resources.create(Session.of(ward, who), resource("Observation/x", MINE))
            return dict(meter.requests)

        requests(EVERYBODY)
        fenced, free = requests(FENCED), requests(EVERYBODY)
        assert fenced == free | {"BatchGetItem": free["BatchGetItem"] + 1}

    def test_nothing_is_staged_for_what_is_refused(self, ward: Store) -> None:
        with pytest.raises(Unprocessable):
            put(ward, FENCED, resource("Observation/new", THEIRS))
        assert [pointer.source for pointer in ward.pointing_at(THEIRS)] == ["Observation/theirs"]


WARD = ["Observation/mine", "Observation/other", "Observation/own", "Observation/theirs"]


def _keys(store: Store, resource_type: str) -> list[str]:
    return sorted(moment.key for moment in store.by_time(resource_type))


def outcome(attempt: Callable[[], object]) -> tuple[type[BulkheadError], object]:
    with pytest.raises(BulkheadError) as caught:
        attempt()
    return type(caught.value), caught.value.issues


ACTIVATE = json_patch.parse(b'[{"op": "add", "path": "/active", "value": true}]')


class TestHidden:
    """What is hidden, what was deleted and what never was: one answer."""

    @pytest.fixture
    def gone(self, ward: Store) -> Store:
        resources.update(Session.of(ward, EVERYBODY), resource("Patient/deleted", None, B), "Patient/deleted")
        resources.delete(Session.of(ward, EVERYBODY), "Patient/deleted")
        return ward

    KEYS = (THEIRS, "Patient/deleted", "Patient/none")

    @pytest.mark.parametrize("who", [FENCED, PATIENT, Caller("q", (Scope("user", "*", "cruds", "_tag=x"),))])
    @pytest.mark.parametrize("if_match", [None, 'W/"1"', 'W/"9"', "*"])
    def test_by_every_interaction(self, gone: Store, who: Caller, if_match: str | None) -> None:
        def entry(method: str, key: str) -> Json:
            request = {"method": method, "url": key} | ({"ifMatch": if_match} if if_match else {})
            body = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="}
            return {"request": request} | ({"resource": body} if method == "PATCH" else {})

        ways: list[Callable[[str], object]] = [
            lambda key: resources.read(Session.of(gone, who), key),
            lambda key: resources.read_version(Session.of(gone, who), key, "1"),
            lambda key: resources.delete(Session.of(gone, who), key, if_match),
            lambda key: resources.patch(Session.of(gone, who), key, ACTIVATE, if_match=if_match),
            lambda key: process(bundle(entry("DELETE", key)), context(gone, caller=who)),
            lambda key: process(bundle(entry("PATCH", key)), context(gone, caller=who)),
            lambda key: process(bundle(entry("GET", key)), context(gone, caller=who)),
        ]
        for way in ways:
            hidden, deleted, absent = (outcome(partial(way, key)) for key in self.KEYS)
            assert hidden[0] is NotFound
            for found, key in ((hidden, THEIRS), (deleted, "Patient/deleted")):
                assert found[0] is absent[0]
                assert str(found[1]).replace(key, "Patient/none") == str(absent[1])

    @EACH_WAY
    def test_a_taken_id_is_not_found_and_nothing_is_overwritten(self, gone: Store, put: Put) -> None:
        heads = gone.read_many(self.KEYS)
        for key in (THEIRS, "Patient/deleted"):
            with pytest.raises(NotFound) as caught:
                put(gone, FENCED, resource(key, active=True))
            assert caught.value.issues[0].diagnostics == f"{key} is not known"
        with pytest.raises(NotFound):
            put(gone, FENCED, resource("Observation/theirs", MINE))
        assert gone.read_many(self.KEYS) == heads
        assert put(gone, FENCED, resource("Patient/none")).version == 1

    @TOGETHER
    def test_who_names_a_version_learns_nothing_of_a_taken_id(self, gone: Store, put: Put) -> None:
        for if_match in ("*", 'W/"1"', 'W/"7"', "nonsense"):
            outcomes = {
                str(outcome(partial(put, gone, FENCED, resource(key), if_match=if_match))[1]).replace(key, "KEY")
                for key in self.KEYS
            }
            assert len(outcomes) == 1
        for key in (THEIRS, "Patient/deleted"):
            with pytest.raises(NotFound):
                put(gone, FENCED, resource(key), if_none_match="*")

    @TOGETHER
    @pytest.mark.parametrize(
        ("who", "content"),
        [
            (FENCED, {"link": [{"other": {"reference": OTHER}, "type": "refer"}]}),
            (SETTING, {"meta": {"accounts": [{"reference": B}]}}),
            (PATIENT, {}),
            (Caller("q", (Scope("user", "Patient", "cruds", "active=true"),)), {"active": False}),
            (Caller("q", (Scope("user", "Patient", "u"),), accounts=(A,)), {}),
        ],
    )
    def test_a_request_that_fails_anyway_is_no_way_to_ask_for_ids(
        self, gone: Store, put: Put, who: Caller, content: Json
    ) -> None:
        outcomes = [outcome(partial(put, gone, who, resource(key, **content))) for key in self.KEYS]
        assert outcomes[0][0] in (Forbidden, Unprocessable)
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert gone.read("Patient/none") is None

    def test_nor_is_another_entry_of_the_transaction(self, gone: Store) -> None:
        """The taken id is the last thing to be found out."""
        failing = {"resource": resource("Observation/1", OTHER), "request": {"method": "POST", "url": "Observation"}}
        for key in self.KEYS:
            entry = {"resource": resource(key), "request": {"method": "PUT", "url": key}}
            with pytest.raises(Unprocessable):
                process(bundle(entry, failing), context(gone, caller=FENCED))
        assert gone.read("Patient/none") is None

    def test_criteria_and_a_taken_id(self, gone: Store) -> None:
        criteria = condition("Patient", "identifier=s|none", "", base="")
        for key in (THEIRS, "Patient/deleted"):
            with pytest.raises(NotFound):
                conditional.update(Session.of(gone, FENCED), resource(key), criteria)
            entry = {"resource": resource(key), "request": {"method": "PUT", "url": "Patient?identifier=s|none"}}
            with pytest.raises(NotFound):
                process(bundle(entry), context(gone, caller=FENCED))
        head, made = conditional.update(Session.of(gone, FENCED), resource("Patient/none"), criteria)
        assert (head.key, made) == ("Patient/none", True)

    def test_what_it_deleted_itself_it_may_make_again(self, gone: Store) -> None:
        resources.delete(Session.of(gone, FENCED), MINE)
        with pytest.raises(NotFound):
            resources.read(Session.of(gone, FENCED), MINE)
        head = put(gone, FENCED, resource(MINE))
        assert (head.version, head.explicit) == (3, (A,))
        assert not resources.read_version(Session.of(gone, FENCED), MINE, "1").deleted

    def test_who_sees_everything_is_told_what_was_deleted(self, gone: Store) -> None:
        with pytest.raises(Gone):
            resources.read(Session.of(gone, EVERYBODY), "Patient/deleted")
        assert resources.delete(Session.of(gone, EVERYBODY), "Patient/none") is None
        with pytest.raises(PreconditionFailed):
            put(gone, EVERYBODY, resource("Patient/none"), if_match="*")

    def test_a_head_that_comes_between_is_looked_at_again(self, gone: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        commit = gone.commit

        def overtaken(*arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(gone, "commit", commit)
            resources.update(Session.of(gone, EVERYBODY), resource("Patient/none", None, B), "Patient/none")
            raise VersionConflict("Patient/none")

        monkeypatch.setattr(gone, "commit", overtaken)
        with pytest.raises(NotFound):
            put(gone, FENCED, resource("Patient/none"))


class TestIdsThatOthersNameAlready:
    """Whoever makes the Patient, or Encounter, that hidden records name would hand them its own accounts."""

    @EACH_WAY
    @pytest.mark.parametrize(
        ("key", "naming"),
        [
            ("Patient/later", {"subject": {"reference": "Patient/later"}}),
            ("Encounter/later", {"encounter": {"reference": "Encounter/later"}}),
            ("Practitioner/later", {"performer": [{"reference": "Practitioner/later"}]}),
        ],
    )
    def test_are_taken(self, ward: Store, put: Put, key: str, naming: Json) -> None:
        body = resource("Observation/early", None, B) | naming
        resources.update(Session.of(ward, EVERYBODY), body, "Observation/early")
        made = resource(key) | ({"status": "finished", "class": {"code": "AMB"}} if key.startswith("Encounter") else {})
        with pytest.raises(NotFound):
            put(ward, SETTING, made)
        assert ward.read(key) is None

    def test_but_not_those_that_only_its_own_records_name(self, ward: Store) -> None:
        body = resource("Observation/early", "Patient/later", A)
        resources.update(Session.of(ward, EVERYBODY), body, "Observation/early")
        assert put(ward, FENCED, resource("Patient/later")).version == 1

    def test_nor_those_that_are_named_by_what_is_no_member(self, ward: Store) -> None:
        body = resource("Observation/early", None, B, focus=[{"reference": "Patient/later"}])
        resources.update(Session.of(ward, EVERYBODY), body, "Observation/early")
        assert put(ward, FENCED, resource("Patient/later")).version == 1


LAB = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
IDENTIFIED: Json = {"resourceType": "Patient", "identifier": [{"system": "s", "value": "v"}]}


class TestScopesWithAQuery:
    WHO = Caller("lab", (Scope("system", "Observation", "cruds", "category=laboratory"),))

    @EACH_WAY
    def test_the_result_must_be_what_the_right_is_for(self, ward: Store, put: Put) -> None:
        lab = resource("Observation/lab", MINE, category=[LAB])
        assert put(ward, self.WHO, lab).version == 1
        for body in (resource("Observation/new", MINE), resource("Observation/lab", MINE)):
            with pytest.raises(Forbidden) as caught:
                put(ward, self.WHO, body)
            assert place(caught.value) == "Observation"
        assert put(ward, self.WHO, lab | {"status": "amended"}).version == 2
        with pytest.raises(NotFound):
            put(ward, self.WHO, resource("Observation/mine", MINE, category=[LAB]))

    @EACH_WAY
    def test_what_may_be_seen_and_not_changed_is_forbidden(self, ward: Store, put: Put) -> None:
        who = replace(self.WHO, scopes=(*self.WHO.scopes, Scope("system", "Observation", "rs")))
        with pytest.raises(Forbidden):
            put(ward, who, resource("Observation/mine", MINE, category=[LAB]))
        with pytest.raises(Forbidden):
            resources.delete(Session.of(ward, who), "Observation/mine")

    def test_what_was_deleted_is_not_there(self, ward: Store) -> None:
        put(ward, self.WHO, resource("Observation/lab", MINE, category=[LAB]))
        resources.delete(Session.of(ward, self.WHO), "Observation/lab")
        with pytest.raises(NotFound):
            resources.read(Session.of(ward, self.WHO), "Observation/lab")


class TestWhoMayOnlyWrite:
    def test_updates_and_deletes_without_reading(self, ward: Store) -> None:
        writer = Caller("w", (Scope("system", "*", "cud"),))
        assert put(ward, writer, resource(MINE, active=True)).version == 2
        assert resources.delete(Session.of(ward, writer), "Observation/mine") is not None

    def test_does_not_patch_what_it_may_not_read(self, ward: Store) -> None:
        writer = Caller("w", (Scope("system", "*", "cud"),))
        with pytest.raises(Forbidden):
            resources.patch(Session.of(ward, writer), MINE, json_patch.parse(b"[]"))
        with pytest.raises(Forbidden):
            conditional.patch(Session.of(ward, replace(writer, scopes=(Scope('system', '*', 'cuds'),))), condition("Patient", "_id=mine", "", base=""), json_patch.parse(b"[]"))  # fmt: skip


class TestClaims:
    CRITERIA = condition("Patient", "identifier=s|v", "", base="")

    def made(self, store: Store, who: Caller) -> tuple[str, bool]:
        head, new = conditional.create(Session.of(store, who), IDENTIFIED, self.CRITERIA)
        return head.key, new

    def test_each_fence_has_its_own(self, store: Store) -> None:
        other = replace(FENCED, accounts=(B,))
        mine, theirs = self.made(store, FENCED), self.made(store, other)
        assert mine[1]
        assert theirs[1]
        assert mine[0] != theirs[0]
        assert self.made(store, FENCED) == (mine[0], False)
        assert self.made(store, other) == (theirs[0], False)

    def test_an_owner_that_left_the_fence_is_no_owner(self, store: Store) -> None:
        first, _ = self.made(store, FENCED)
        head = store.read(first)
        assert head is not None
        store.commit([Write(first, head, head.body, explicit=(B,))])
        second, new = self.made(store, FENCED)
        assert new
        assert self.made(store, FENCED) == (second, False)

    def test_of_a_bundle_are_the_same(self, store: Store) -> None:
        key, _ = self.made(store, FENCED)
        entry = {
            "resource": IDENTIFIED,
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=s|v"},
        }
        for who, created in ((FENCED, False), (replace(FENCED, accounts=(B,)), True), (EVERYBODY, None)):
            if created is None:
                with pytest.raises(MultipleMatches):
                    process(bundle(entry), context(store, caller=who))
                continue
            answer = process(bundle(entry), context(store, caller=who))["entry"][0]["response"]
            assert answer["status"] == ("201 Created" if created else "200 OK")
            assert (key in answer["location"]) is not created
