"""Single resources: what a client sees, what makes a version, preconditions, access, and races between writers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.compartments import membership
from bulkhead.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    InvalidResource,
    NotFound,
    PreconditionFailed,
    Unprocessable,
)
from bulkhead.fhir import json
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Head, Store
from bulkhead.store.preconditions import not_modified

Json = dict[str, Any]

KEY = "Patient/1"
FENCED = Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))
READER = Caller("x", (Scope("system", "*", "rs"),))


def patient(**content: Any) -> Json:
    return {"resourceType": "Patient", "id": "1", **content}


def put(store: Store, who: Caller = EVERYBODY, **content: Any) -> Head:
    return resources.update(Session.of(store, who), patient(**content), KEY)[0]


def accounts(*listed: str) -> Json:
    return {"accounts": [{"reference": account} for account in listed]}


# What a client sees, and sends


def test_what_is_sent_comes_back_with_meta(store: Store) -> None:
    head, made = resources.create(Session.of(store, EVERYBODY), {"resourceType": "Patient", "active": True, "meta": {"tag": [{"code": "x"}]}})  # fmt: skip
    shown = resources.represent(store.version(head), membership.in_force(store))
    assert made
    assert list(shown) == ["resourceType", "id", "meta", "active"]
    assert shown["meta"] == {
        "versionId": "1",
        "lastUpdated": head.updated,
        "tag": [{"code": "x"}],
        "compartment": [{"reference": head.key}],
    }


def test_what_the_server_derives_is_not_stored(store: Store) -> None:
    meta = {"versionId": "7", "lastUpdated": "2020-01-01T00:00:00Z", **accounts("Organization/a"), "compartment": []}
    assert resources.stored(patient(meta=meta)) == patient()
    assert resources.stored(patient(meta=meta | {"source": "x"})) == patient(meta={"source": "x"})


def test_extended_meta_can_be_left_out(store: Store) -> None:
    head = put(store, meta=accounts("Organization/a"))
    version, known = store.version(head), membership.in_force(store)
    assert set(resources.represent(version, known, extended=False)["meta"]) == {"versionId", "lastUpdated"}
    assert resources.represent(version, known)["meta"]["accounts"] == [{"reference": "Organization/a"}]


def test_no_more_accounts_than_the_limit(store: Store) -> None:
    limit = Settings().account_limit
    put(store, meta=accounts(*(f"Organization/{n}" for n in range(limit))))
    with pytest.raises(BadRequest) as caught:
        put(store, meta=accounts(*(f"Organization/{n}" for n in range(limit + 1))))
    assert caught.value.issues[0].expression == "Patient.meta.accounts"


def test_checked_wants_the_type_and_id_of_the_url() -> None:
    assert resources.checked(patient(), "Patient", "1") == patient()
    with pytest.raises(InvalidResource):
        resources.checked(patient(), "Group")
    for given in (patient(id="2"), {"resourceType": "Patient"}):
        with pytest.raises(BadRequest) as caught:
            resources.checked(given, "Patient", "1")
        assert caught.value.issues[0].expression == "Patient.id"


@pytest.mark.parametrize("key", [("Nonsense", "1"), ("Patient", "a b"), ("Patient", "x" * 65), ("Patient", "")])
def test_what_is_no_key_is_not_found(key: tuple[str, str]) -> None:
    with pytest.raises(NotFound):
        resources.key_of(*key)


# Versions


def test_identical_content_makes_no_version(store: Store) -> None:
    put(store, name=[{"family": "Berg", "given": ["A"]}])
    assert put(store, name=[{"given": ["A"], "family": "Berg"}]).version == 1
    assert put(store, name=[{"given": ["A", "B"], "family": "Berg"}]).version == 2


def test_another_digit_is_another_version(store: Store) -> None:
    def observation(text: str) -> Json:
        return json.loads(f'{{"resourceType":"Observation","id":"1","status":"final","code":{{}},"valueQuantity":{{"value":{text}}}}}')  # fmt: skip

    for version, text in ((1, "1.1"), (1, "1.1"), (2, "1.10")):
        assert resources.update(Session.of(store, EVERYBODY), observation(text), "Observation/1")[0].version == version


def test_deleted_and_made_anew(store: Store) -> None:
    put(store)
    assert resources.delete(Session.of(store, EVERYBODY), KEY)
    assert resources.delete(Session.of(store, EVERYBODY), KEY) is None
    with pytest.raises(Gone):
        resources.read(Session.of(store, EVERYBODY), KEY)
    with pytest.raises(Gone):
        resources.read_version(Session.of(store, EVERYBODY), KEY, "2")
    assert not resources.read_version(Session.of(store, EVERYBODY), KEY, "1").deleted
    head, made = resources.update(Session.of(store, EVERYBODY), patient(), KEY)
    assert (head.version, made) == (3, True)


@pytest.mark.parametrize("version", ["0", "3", "01", "-1", "x", "99999999999"])
def test_versions_that_are_not_there(store: Store, version: str) -> None:
    put(store)
    with pytest.raises(NotFound):
        resources.read_version(Session.of(store, EVERYBODY), KEY, version)


# Accounts


def test_only_with_the_right_are_sent_accounts_taken(store: Store) -> None:
    assert put(store, Caller("x", EVERYBODY.scopes), meta=accounts("Organization/a")).explicit == ()
    assert put(store, meta=accounts("Organization/a")).explicit == ("Organization/a",)
    assert put(store, active=True).explicit == ("Organization/a",)
    assert put(store, meta=accounts()).explicit == ()


def test_an_older_versions_accounts_sent_back_are_an_echo(store: Store) -> None:
    put(store, meta=accounts("Organization/a"))
    put(store, meta=accounts("Organization/b"))
    echo = accounts("Organization/a") | {"versionId": "1"}
    assert put(store, active=True, meta=echo).explicit == ("Organization/b",)


def test_accounts_are_inherited_from_the_patient_as_it_is_now(store: Store) -> None:
    put(store, meta=accounts("Organization/a"))
    observation = {"resourceType": "Observation", "status": "final", "code": {}, "subject": {"reference": KEY}}
    head, _ = resources.create(Session.of(store, EVERYBODY), observation)
    assert head.inherited == {KEY: ("Organization/a",)}
    moved, _ = resources.update(
        Session.of(store, EVERYBODY), observation | {"id": head.id, "subject": {"display": "x"}}, head.key
    )
    assert moved.inherited == {}


@pytest.mark.parametrize("reference", ["a", "http://x.org/Organization/a", "Organization?name=a"])
def test_an_account_is_a_reference_to_a_resource_here(store: Store, reference: str) -> None:
    with pytest.raises(BadRequest) as caught:
        put(store, meta=accounts(reference))
    assert caught.value.issues[0].expression == "Patient.meta.accounts[0].reference"


# Access


def test_outside_the_fence_nothing_is_there(store: Store) -> None:
    put(store)
    attempts: list[Callable[[], object]] = [
        lambda: resources.read(Session.of(store, FENCED), KEY),
        lambda: resources.read_version(Session.of(store, FENCED), KEY, "1"),
        lambda: put(store, FENCED, active=True),
        lambda: resources.delete(Session.of(store, FENCED), KEY),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    resources.delete(Session.of(store, EVERYBODY), KEY)
    with pytest.raises(NotFound):
        resources.read(Session.of(store, FENCED), KEY)


def test_what_a_fenced_caller_creates_is_inside(store: Store) -> None:
    assert put(store, FENCED).explicit == ("Organization/a",)
    assert resources.read(Session.of(store, FENCED), KEY).version == 1


def test_without_the_right_nothing_is_written(store: Store) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: put(store, READER),
        lambda: resources.create(Session.of(store, READER), patient()),
        lambda: resources.delete(Session.of(store, READER), KEY),
        lambda: resources.patch(Session.of(store, READER), KEY, lambda resource: resource),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()


# Preconditions


@pytest.mark.parametrize("header", ['W/"2"', '"2"', "*", ' W/"2" '])
def test_if_match_holds(store: Store, header: str) -> None:
    put(store)
    put(store, active=True)
    assert resources.update(Session.of(store, EVERYBODY), patient(active=False), KEY, if_match=header)[0].version == 3


@pytest.mark.parametrize(("header", "error"), [('W/"1"', PreconditionFailed), ("2", BadRequest), ('W/"x"', BadRequest), ("", BadRequest)])  # fmt: skip
def test_if_match_fails(store: Store, header: str, error: type[Exception]) -> None:
    put(store)
    put(store, active=True)
    for attempt in (
        lambda: resources.update(Session.of(store, EVERYBODY), patient(active=False), KEY, if_match=header),
        lambda: resources.delete(Session.of(store, EVERYBODY), KEY, header),
        lambda: resources.patch(Session.of(store, EVERYBODY), KEY, lambda resource: resource, if_match=header),
    ):
        with pytest.raises(error):
            attempt()


@pytest.mark.parametrize("header", ["*", 'W/"1"'])
def test_if_match_wants_a_resource(store: Store, header: str) -> None:
    with pytest.raises(PreconditionFailed):
        resources.update(Session.of(store, EVERYBODY), patient(), KEY, if_match=header)


def test_if_none_match(store: Store) -> None:
    assert resources.update(Session.of(store, EVERYBODY), patient(), KEY, if_match=None, if_none_match="*")[1]
    for header in ("*", 'W/"1"', 'W/"0", W/"1"'):
        with pytest.raises(PreconditionFailed):
            resources.update(
                Session.of(store, EVERYBODY), patient(active=True), KEY, if_match=None, if_none_match=header
            )
    resources.delete(Session.of(store, EVERYBODY), KEY)
    assert resources.update(Session.of(store, EVERYBODY), patient(), KEY, if_match=None, if_none_match="*")[1]


@pytest.mark.parametrize("header", ["", "x", "1", '"*"', '*, W/"1"', 'W/"1" W/"2"', 'W/"a"', 'W/"1",', '"1'])
def test_if_none_match_that_is_no_condition_is_refused_whether_the_resource_is_there_or_not(
    store: Store, header: str
) -> None:
    anybody = Session.of(store, EVERYBODY)
    with pytest.raises(BadRequest):
        resources.update(anybody, patient(), KEY, if_none_match=header)
    put(store)
    with pytest.raises(BadRequest) as caught:
        resources.update(anybody, patient(active=True), KEY, if_none_match=header)
    assert caught.value.issues[0].expression == "If-None-Match"
    assert resources.read(anybody, KEY).version == 1


@pytest.mark.parametrize(
    ("none_match", "since", "expected"),
    [
        (None, None, False),
        ('W/"3"', None, True),
        ('"3"', None, True),
        ("*", None, True),
        ('W/"1", W/"3"', None, True),
        ('W/"2"', None, False),
        ('W/"2"', "Sat, 04 May 2030 10:00:00 GMT", False),
        (None, "Fri, 03 May 2030 10:00:00 GMT", True),
        (None, "Fri, 03 May 2030 09:59:59 GMT", False),
        (None, "Fri, 03 May 2030 12:00:00 +0200", True),
        (None, "2030-05-03", False),
        (None, "", False),
    ],
)
def test_what_a_reader_has_already(none_match: str | None, since: str | None, expected: bool) -> None:
    head = Head(KEY, 3, "2030-05-03T10:00:00.789Z", "PUT", b"")
    assert not_modified(head, none_match, since) is expected


# Races


def interfere(store: Store, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Another writer commits between the read and the commit of the next `times` updates."""
    commit, left = store.commit, [times]

    def first_another(*arguments: Any, **named: Any) -> list[Head]:
        if left[0]:
            left[0] -= 1
            base = store.read(KEY)
            assert base
            other = resources.prepare_update(
                Session.of(store, EVERYBODY), patient(name=[{"text": str(left[0])}]), base, partial=False
            )
            assert other
            commit([other])
        return commit(*arguments, **named)

    monkeypatch.setattr(store, "commit", first_another)


def test_an_update_comes_after_the_one_that_was_faster(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    interfere(store, monkeypatch, 2)
    assert put(store, active=True).version == 4
    head = store.read(KEY)
    assert head
    assert store.decode(head) == patient(active=True)


def test_if_match_fails_when_another_was_faster(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    interfere(store, monkeypatch, 1)
    with pytest.raises(PreconditionFailed):
        resources.update(Session.of(store, EVERYBODY), patient(active=True), KEY, if_match='W/"1"')


def test_too_many_writers_are_a_conflict(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    interfere(store, monkeypatch, 100)
    with pytest.raises(Conflict):
        put(store, active=True)


CRITERIA = {"reference": "Patient?identifier=http://e|x"}
OWN_URL = {"reference": "http://server.example/fhir/R4/Patient?identifier=http://e|x"}


@pytest.mark.parametrize("reference", [CRITERIA, OWN_URL])
@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("managingOrganization", lambda reference: {"managingOrganization": reference}),
        ("generalPractitioner[1]", lambda reference: {"generalPractitioner": [{"display": "x"}, reference]}),
        ("extension[0].value", lambda reference: {"extension": [{"url": "http://e", "valueReference": reference}]}),
        (
            "name[0].extension[0].value",
            lambda reference: {"name": [{"extension": [{"url": "http://e", "valueReference": reference}]}]},
        ),
        ("link[0].other", lambda reference: {"link": [{"type": "seealso", "other": reference}]}),
    ],
)
def test_conditional_references_are_for_bundles(place: str, content: Callable[[Json], Json], reference: Json) -> None:
    text = reference["reference"].replace(
        "Patient?", "Organization?" if place == "managingOrganization" else "Patient?"
    )
    text = text.replace("Patient?", "Practitioner?") if place.startswith("generalPractitioner") else text
    resource = patient(**content({"reference": text}))
    with pytest.raises(InvalidResource) as refused:
        resources.checked(resource, "Patient", base="http://server.example/fhir/R4")
    issue = refused.value.issues[0]
    assert issue.expression == f"Patient.{place}.reference"
    assert "a conditional reference is allowed only in a bundle" in issue.diagnostics


def test_a_subscription_that_would_have_to_be_served_is_refused(store: Store) -> None:
    channel = {"type": "rest-hook", "endpoint": "http://e"}
    subscription: Json = {
        "resourceType": "Subscription",
        "id": "1",
        "reason": "x",
        "criteria": "Patient",
        "channel": channel,
    }
    for status in ("requested", "active"):
        with pytest.raises(Unprocessable, match="no notifications yet") as refused:
            resources.create(Session.of(store, EVERYBODY), {**subscription, "status": status})
        assert refused.value.issues[0].expression == "Subscription.status"
    resources.update(Session.of(store, EVERYBODY), {**subscription, "status": "off"}, "Subscription/1")
    with pytest.raises(Unprocessable):
        resources.update(Session.of(store, EVERYBODY), {**subscription, "status": "active"}, "Subscription/1")
