"""Single requests by criteria: create, update, patch, delete; matches none, one, several; claims; access."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import BadRequest, Conflict, Forbidden, MultipleMatches, NotFound, PreconditionFailed
from bulkhead.resources import conditional
from bulkhead.resources.conditions import Condition, condition
from bulkhead.resources.patches import json_patch
from bulkhead.session import Session
from bulkhead.store import Store
from tests.conftest import lagging
from tests.support.bundle_samples import SYSTEM, patient

FENCED = Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))
BLIND = Caller("x", (Scope("system", "*", "crud"),))
ACTIVATE = json_patch.parse(b'[{"op":"add","path":"/active","value":true}]')


def by(value: str) -> Condition:
    return condition("Patient", f"identifier={SYSTEM}|{value}", "x", base="")


def make(store: Store, value: str = "1", who: Caller = EVERYBODY, **content: Any) -> str:
    return resources.create(Session.of(store, who), patient(value, **content))[0].key


def live(store: Store) -> list[str]:
    """Keys of the patients that there are."""
    heads = store.read_many({moment.key for moment in store.by_time("Patient")})
    return sorted(key for key, head in heads.items() if not head.deleted)


def test_update_makes_what_is_not_there(store: Store) -> None:
    head, made = conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1"))
    assert made
    again, made = conditional.update(Session.of(store, EVERYBODY), patient("1", active=True), by("1"))
    assert (again.key, again.version, made) == (head.key, 2, False)
    assert (
        conditional.update(Session.of(store, EVERYBODY), patient("1", active=True, id=head.id), by("1"))[0].version == 2
    )
    assert live(store) == [head.key]


def test_update_with_an_id(store: Store) -> None:
    head, made = conditional.update(Session.of(store, EVERYBODY), patient("1", id="mine"), by("1"))
    assert (head.key, made) == ("Patient/mine", True)
    with pytest.raises(BadRequest) as caught:
        conditional.update(Session.of(store, EVERYBODY), patient("1", id="other"), by("1"))
    assert caught.value.issues[0].expression == "Patient.id"
    with pytest.raises(Conflict):
        conditional.update(Session.of(store, EVERYBODY), patient("2", id="mine"), by("2"))
    resources.delete(Session.of(store, EVERYBODY), "Patient/mine")
    assert conditional.update(Session.of(store, EVERYBODY), patient("2", id="mine"), by("2"))[0].version == 3


def test_several_matches_change_nothing(store: Store) -> None:
    keys = sorted([make(store), make(store)])
    attempts: list[Callable[[], object]] = [
        lambda: conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1")),
        lambda: conditional.patch(Session.of(store, EVERYBODY), by("1"), ACTIVATE),
        lambda: conditional.delete(Session.of(store, EVERYBODY), by("1")),
        lambda: resources.create(Session.of(store, EVERYBODY), patient("1"), by("1")),
    ]
    for attempt in attempts:
        with pytest.raises(MultipleMatches):
            attempt()
    assert live(store) == keys
    assert len(store.by_time("Patient")) == 2


def test_patch(store: Store) -> None:
    key = make(store)
    assert conditional.patch(Session.of(store, EVERYBODY), by("1"), ACTIVATE).version == 2
    with pytest.raises(PreconditionFailed):
        conditional.patch(Session.of(store, EVERYBODY), by("1"), ACTIVATE, if_match='W/"1"')
    with pytest.raises(NotFound):
        conditional.patch(Session.of(store, EVERYBODY), by("2"), ACTIVATE)
    assert live(store) == [key]


def test_delete(store: Store) -> None:
    make(store)
    other = make(store, "2")
    with pytest.raises(PreconditionFailed):
        conditional.delete(Session.of(store, EVERYBODY), by("1"), 'W/"2"')
    assert [head.version for head in conditional.delete(Session.of(store, EVERYBODY), by("1"))] == [2]
    assert conditional.delete(Session.of(store, EVERYBODY), by("1")) == []
    assert live(store) == [other]


def test_delete_of_several_by_setting(new_store: Any) -> None:
    store: Store = new_store(conditional_delete="multiple")
    doomed = [make(store, active=True) for _ in range(3)]
    other = make(store, "2")
    assert sorted(head.key for head in conditional.delete(Session.of(store, EVERYBODY), by("1"))) == sorted(doomed)
    assert live(store) == [other]


def test_preconditions_of_an_update(store: Store) -> None:
    with pytest.raises(PreconditionFailed):
        conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1"), if_match='W/"1"')
    assert conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1"), if_match=None, if_none_match="*")[1]
    with pytest.raises(PreconditionFailed):
        conditional.update(
            Session.of(store, EVERYBODY), patient("1", active=True), by("1"), if_match=None, if_none_match="*"
        )
    assert (
        conditional.update(Session.of(store, EVERYBODY), patient("1", active=True), by("1"), if_match='W/"1"')[
            0
        ].version
        == 2
    )


def test_what_the_caller_does_not_see_does_not_match(store: Store) -> None:
    outside, inside = make(store), make(store, who=FENCED)
    assert conditional.update(Session.of(store, FENCED), patient("1", active=True), by("1"))[0].key == inside
    assert [head.key for head in conditional.delete(Session.of(store, FENCED), by("1"))] == [inside]
    with pytest.raises(NotFound):
        conditional.patch(Session.of(store, FENCED), by("1"), ACTIVATE)
    assert live(store) == [outside]


def test_who_may_not_search_has_no_conditions(store: Store) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: conditional.update(Session.of(store, BLIND), patient("1"), by("1")),
        lambda: conditional.patch(Session.of(store, BLIND), by("1"), ACTIVATE),
        lambda: conditional.delete(Session.of(store, BLIND), by("1")),
        lambda: resources.create(Session.of(store, BLIND), patient("1"), by("1")),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()


@pytest.mark.parametrize("step", ["create", "update"])
def test_at_once_they_make_one_resource(store: Store, step: str) -> None:
    def run() -> None:
        if step == "create":
            resources.create(Session.of(store, EVERYBODY), patient("1"), by("1"))
        else:
            conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1"))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(live(store)) == 1


def test_the_claim_of_what_is_gone_is_taken_over(store: Store) -> None:
    first, _ = resources.create(Session.of(store, EVERYBODY), patient("1"), by("1"))
    resources.delete(Session.of(store, EVERYBODY), first.key)
    second, made = conditional.update(Session.of(store, EVERYBODY), patient("1"), by("1"))
    assert made
    assert live(store) == [second.key]


@pytest.mark.parametrize("criteria", [f"identifier={SYSTEM}|1", "identifier=1,2", "birthdate=1970-01-01"])
def test_an_index_that_lags_does_not_make_a_second_resource(store: Store, criteria: str) -> None:
    lagging(store)
    by_criteria = condition("Patient", criteria, "x", base="")
    content = {"birthDate": "1970-01-01"}
    first, _ = conditional.update(Session.of(store, EVERYBODY), patient("1", **content), by_criteria)
    again, made = conditional.update(Session.of(store, EVERYBODY), patient("1", active=True, **content), by_criteria)
    assert (again.key, again.version, made) == (first.key, 2, False)


def test_an_index_that_lags_hides_no_identifier(store: Store) -> None:
    lagging(store)
    key = make(store)
    assert resources.create(Session.of(store, EVERYBODY), patient("1"), by("1"))[0].key == key
    assert conditional.update(Session.of(store, EVERYBODY), patient("1", active=True), by("1"))[0].key == key
    assert conditional.patch(Session.of(store, EVERYBODY), by("1"), ACTIVATE).key == key
    with pytest.raises(MultipleMatches):
        conditional.delete(
            Session.of(store, EVERYBODY), condition("Patient", f"identifier=1,{make(store, '2')},2", "x", base="")
        )
    assert [head.key for head in conditional.delete(Session.of(store, EVERYBODY), by("1"))] == [key]
    assert resources.create(Session.of(store, EVERYBODY), patient("1"), by("1"))[1]
