"""Who may do what, from the claims of a token."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead import access
from bulkhead.errors import Forbidden, Unauthorized
from bulkhead.search.candidate import Candidate
from bulkhead.store import Head
from tests.unit.search.memory import MemoryStore

OBSERVATION = {"resourceType": "Observation", "subject": {"reference": "Patient/1"}}

STORE: Any = MemoryStore()


def caller(scope: str, **claims: str) -> access.Caller:
    return access.caller({"sub": "someone", "scope": scope, **claims}, "on")


def candidate(key: str, body: dict[str, Any], *accounts: str) -> Candidate:
    head = Head(key, 1, "2026-11-22T00:00:00.000Z", "POST", b"z", tuple(accounts))
    return Candidate(head, lambda _: body)


def test_without_a_token_nobody_is_let_in() -> None:
    with pytest.raises(Unauthorized):
        access.caller(None, "on")
    with pytest.raises(Unauthorized):
        access.caller({"scope": "system/*.cruds"}, "on")


def test_auth_off_gives_every_right() -> None:
    who = access.caller(None, "off")
    access.require(who, access.SET_ACCOUNTS)
    access.require(who, access.DELETE, "Patient")
    assert access.fence(STORE, who)(candidate("Observation/1", OBSERVATION))


@pytest.mark.parametrize(
    ("scope", "rights"),
    [
        ("system/*.cruds", "cruds"),
        ("user/Observation.rs", "rs"),
        ("system/Observation.read", "rs"),
        ("system/*.write", "cud"),
        ("user/*.*", "cruds"),
        ("system/Patient.cruds", ""),
        ("system/Observation.rs?category=laboratory", ""),
        ("openid launch accounts.write", ""),
        ("system/Observation.sr", ""),
        ("", ""),
    ],
)
def test_scopes_give_rights(scope: str, rights: str) -> None:
    who = caller(scope)
    assert "".join(right for right in "cruds" if access.may(who, right, "Observation")) == rights


def test_the_right_to_set_accounts_is_a_scope_of_its_own() -> None:
    access.require(caller("system/*.cruds accounts.write"), access.SET_ACCOUNTS)
    with pytest.raises(Forbidden):
        access.require(caller("system/*.cruds"), access.SET_ACCOUNTS)


def test_accounts_fence() -> None:
    sees = access.fence(STORE, caller("system/*.cruds", accounts="[Organization/a Organization/b]"))
    assert sees(candidate("Observation/1", OBSERVATION, "Organization/b"))
    assert not sees(candidate("Observation/1", OBSERVATION, "Organization/c"))
    assert not sees(candidate("Observation/1", OBSERVATION))


def test_an_empty_fence_shows_nothing() -> None:
    assert not access.fence(STORE, caller("system/*.cruds", accounts="[]"))(
        candidate("Observation/1", OBSERVATION, "x")
    )


def test_a_patient_sees_its_compartment() -> None:
    who = caller("patient/*.rs", patient="1")
    assert access.fence(STORE, who)(candidate("Observation/1", OBSERVATION))
    assert access.fence(STORE, who)(candidate("Patient/1", {"resourceType": "Patient"}))
    assert not access.fence(STORE, who)(candidate("Patient/2", {"resourceType": "Patient"}))
    assert not access.fence(STORE, caller("patient/*.rs"))(candidate("Observation/1", OBSERVATION))


def test_a_fence_keeps_types_without_a_scope_out() -> None:
    sees = access.fence(STORE, caller("system/Observation.rs"))
    assert sees(candidate("Observation/1", OBSERVATION))
    assert not sees(candidate("Patient/1", {"resourceType": "Patient"}))


def test_what_a_fenced_caller_creates_is_put_in_its_accounts() -> None:
    who = caller("system/*.cruds", accounts="[Organization/a]")
    assert access.explicit_on_create(who, ("Organization/b",)) == ("Organization/b", "Organization/a")
