"""Who may do what, from the claims of a token."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead import access
from bulkhead.errors import Forbidden, Unauthorized
from bulkhead.search.candidate import Candidate
from bulkhead.store import Head
from tests.unit.search.memory import MemoryStore
from tests.unit.test_compartment_definitions import definition

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


# A patient's compartment is what the definition in force says, and that of Patients that it replaces


def link(kind: str, other: str) -> dict[str, Any]:
    return {"other": {"reference": f"Patient/{other}"}, "type": kind}


def patients(**links: list[dict[str, Any]]) -> Any:
    """A store of Patients with links: `patients(p1=[link("replaces", "p2")])`."""
    store = MemoryStore()
    for name, listed in links.items():
        store.put({"resourceType": "Patient", "id": name, "link": listed})
    store.reads.clear()
    return store


def sees(store: Any, key: str, *, subject: str) -> bool:
    body = {"resourceType": key.partition("/")[0], "subject": {"reference": f"Patient/{subject}"}}
    return access.fence(store, caller("patient/*.rs", patient="p1"))(candidate(key, body))


def test_both_sides_of_a_link_have_to_agree() -> None:
    one_sided = patients(p1=[link("replaces", "p2")], p2=[link("seealso", "p1")])
    assert not sees(one_sided, "Observation/x", subject="p2")
    other_side = patients(p1=[], p2=[link("replaced-by", "p1")])
    assert not sees(other_side, "Observation/x", subject="p2")
    both = patients(p1=[link("replaces", "p2")], p2=[link("replaced-by", "p1")])
    assert sees(both, "Observation/x", subject="p2")
    assert sees(both, "Observation/x", subject="p1")
    assert not sees(both, "Observation/x", subject="p3")
    elsewhere = patients(p1=[link("replaces", "p2")], p2=[link("replaced-by", "p3")])
    assert not sees(elsewhere, "Observation/x", subject="p2")


def test_chains_are_followed_while_each_step_is_agreed_on() -> None:
    links = {
        "p1": [link("replaces", "p2")],
        "p2": [link("replaced-by", "p1"), link("replaces", "p3"), link("replaces", "p4")],
        "p3": [link("replaced-by", "p2"), link("replaces", "p1")],
        "p4": [link("replaced-by", "p1")],
    }
    assert sees(patients(**links), "Observation/x", subject="p3")
    assert not sees(patients(**links), "Observation/x", subject="p4")


def test_the_replaced_patient_itself_is_seen() -> None:
    store = patients(p1=[link("replaces", "p2")], p2=[link("replaced-by", "p1")])
    sees_it = access.fence(store, caller("patient/*.rs", patient="p1"))
    assert sees_it(candidate("Patient/p2", {"resourceType": "Patient"}))
    store.delete("Patient/p2")
    assert not access.fence(store, caller("patient/*.rs", patient="p1"))(
        candidate("Patient/p2", {"resourceType": "Patient"})
    )


def test_links_are_read_only_where_another_patient_is_met_and_once() -> None:
    store = patients(p1=[link("replaces", "p2")], p2=[link("replaced-by", "p1")])
    fence = access.fence(store, caller("patient/*.rs", patient="p1"))
    assert fence(candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}))
    assert not fence(candidate("Organization/x", {"resourceType": "Organization"}))
    assert store.reads == []
    for _ in range(3):
        fence(candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p9"}}))
    assert store.reads == ["GetItem", "BatchGetItem"]


def test_the_definition_in_force_decides() -> None:
    task = {"resourceType": "Task", "for": {"reference": "Patient/p1"}}
    store: Any = MemoryStore()
    assert not access.fence(store, caller("patient/*.rs", patient="p1"))(candidate("Task/x", task))
    store.put(definition("Patient", "Patient", Task=["patient"]))
    fence = access.fence(store, caller("patient/*.rs", patient="p1"))
    assert fence(candidate("Task/x", task))
    assert fence(candidate("Patient/p1", {"resourceType": "Patient"}))
    assert not fence(
        candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}})
    )
