"""Who may do what, from the claims of a token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access import policy
from bulkhead.errors import Forbidden, Unauthorized
from bulkhead.settings import Settings
from bulkhead.store import Head
from bulkhead.store.version import Fence, Version, is_open
from infra.local.tokens import rendered
from tests.support.memory_store import MemoryStore
from tests.unit.compartments.test_compartment_definitions import definition

A, B, C = "Organization/a", "Organization/b", "Organization/c"
STORE: Any = MemoryStore()
LAB = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
OBSERVATION = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/1"}}
LAB_RESULT = OBSERVATION | {"category": [LAB]}


def caller(scope: str, **claims: Any) -> policy.Caller:
    return policy.caller_of({"sub": "someone", "scope": scope, **claims}, "on")


def candidate(key: str, body: dict[str, Any], *accounts: str) -> Version:
    head = Head(key, 1, "2026-11-22T00:00:00.000Z", "POST", b"z", tuple(accounts))
    return Version(head, lambda _: body)


@pytest.mark.parametrize("claims", [None, {}, {"scope": "system/*.cruds"}, {"sub": ""}, {"sub": 1}])
def test_without_a_token_nobody_is_let_in(claims: Any) -> None:
    with pytest.raises(Unauthorized):
        policy.caller_of(claims, "on")


def test_auth_off_gives_every_right() -> None:
    who = policy.caller_of(None, "off")
    policy.require(who, policy.SET_ACCOUNTS)
    policy.require(who, policy.DELETE, "Patient")
    assert policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))
    assert not who.restricted


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "rights"),
        [
            ("system/*.cruds", "cruds"),
            ("user/Observation.rs", "rs"),
            ("system/Observation.cud", "cud"),
            ("system/Observation.read", "rs"),
            ("system/*.write", "cud"),
            ("user/*.*", "cruds"),
            ("[openid system/Observation.r system/Observation.s]", "rs"),
            ("system/Observation.rs?category=laboratory", "rs"),
            ("system/Patient.cruds", ""),
            ("openid launch accounts.write", ""),
            ("system/Observation.sr", ""),
            ("system/Observation.", ""),
            ("system/Observation", ""),
            ("system/Nonsense.rs", ""),
            ("System/Observation.rs", ""),
            ("launch/Observation.rs", ""),
            ("", ""),
        ],
    )
    def test_give_rights(self, scope: str, rights: str) -> None:
        who = caller(scope)
        assert "".join(right for right in "cruds" if policy.may(who, right, "Observation")) == rights

    def test_may_come_as_a_list_under_another_name(self) -> None:
        who = policy.caller_of({"sub": "x", "scp": "[system/Observation.rs accounts.write]"}, "on")
        assert policy.may(who, policy.READ, "Observation")
        assert policy.may_set_accounts(who)

    @pytest.mark.parametrize("scope", ["accounts.write", "bulkhead/accounts.write"])
    def test_the_right_to_set_accounts_is_one_of_its_own(self, scope: str) -> None:
        policy.require(caller(f"system/*.cruds {scope}"), policy.SET_ACCOUNTS)
        with pytest.raises(Forbidden, match="has no scope accounts"):
            policy.require(caller("system/*.cruds"), policy.SET_ACCOUNTS)

    def test_a_patients_own_token_does_not_set_accounts_and_is_told_why(self) -> None:
        with pytest.raises(Forbidden, match="fenced to a patient"):
            policy.require(caller("patient/*.cruds accounts.write", patient="anna"), policy.SET_ACCOUNTS)

    def test_keep_types_out(self) -> None:
        sees = policy.fence(STORE, caller("system/Observation.rs"), policy.READ)
        assert sees(candidate("Observation/1", OBSERVATION))
        assert not sees(candidate("Patient/1", {"resourceType": "Patient"}))


class TestScopesWithAQuery:
    def test_give_the_right_on_what_meets_it(self) -> None:
        who = caller("user/Observation.rs?category=laboratory")
        assert policy.fence(STORE, who, policy.READ)(candidate("Observation/1", LAB_RESULT))
        assert not policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))
        assert not policy.fence(STORE, who, policy.UPDATE)(candidate("Observation/1", LAB_RESULT))

    def test_all_conditions_count(self) -> None:
        sees = policy.fence(STORE, caller("system/Observation.rs?category=laboratory&status=final"), policy.READ)
        assert sees(candidate("Observation/1", LAB_RESULT))
        assert not sees(candidate("Observation/1", LAB_RESULT | {"status": "amended"}))

    def test_are_a_union_each_with_its_own_query_and_rights(self) -> None:
        who = caller("user/Observation.rs?category=laboratory user/Observation.cu?status=preliminary user/Patient.r")
        draft = OBSERVATION | {"status": "preliminary"}
        assert policy.fence(STORE, who, policy.READ)(candidate("Observation/1", LAB_RESULT))
        assert not policy.fence(STORE, who, policy.READ)(candidate("Observation/1", draft))
        assert policy.fence(STORE, who, policy.CREATE)(candidate("Observation/1", draft))
        assert not policy.fence(STORE, who, policy.CREATE)(candidate("Observation/1", LAB_RESULT))
        assert policy.fence(STORE, who, policy.READ)(candidate("Patient/1", {"resourceType": "Patient"}))

    def test_one_without_a_query_lifts_the_bounds(self) -> None:
        who = caller("user/Observation.rs?category=laboratory user/*.r")
        assert policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))
        assert not policy.fence(STORE, who, policy.SEARCH)(candidate("Observation/1", OBSERVATION))
        assert policy.sees_all(who, policy.READ, "Observation")
        assert not policy.sees_all(who, policy.SEARCH, "Observation")

    def test_for_all_types_take_what_all_types_have(self) -> None:
        sees = policy.fence(STORE, caller("system/*.rs?_tag=http://tags|open"), policy.READ)
        assert sees(
            candidate("Observation/1", OBSERVATION | {"meta": {"tag": [{"system": "http://tags", "code": "open"}]}})
        )
        assert not sees(candidate("Observation/1", OBSERVATION))

    def test_stand_within_the_fence(self) -> None:
        sees = policy.fence(STORE, caller("system/Observation.rs?category=laboratory", accounts=A), policy.READ)
        assert sees(candidate("Observation/1", LAB_RESULT, A))
        assert not sees(candidate("Observation/1", OBSERVATION, A))
        assert not sees(candidate("Observation/1", LAB_RESULT, B))

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "category=",
            "category",
            "subject.name=x",
            "patient.identifier=a|b",
            "_has:Provenance:target:agent=x",
            "nonsense=1",
            "category=laboratory&nonsense=1",
            "category:nonsense=x",
            "code:in=http://value.set",
            "code:not-in=http://value.set",
            "code:below=x",
            "_list=1",
            "_compartment=Patient/1",
            "_count=5",
            "_sort=date",
            "_include=Observation:subject",
            "_total=none",
            "_summary=true",
            "_elements=code",
            "_text=x",
            "_filter=x",
            "_content=x",
            "date=nonsense",
            "value-quantity=x",
            "category=laboratory&_format=json",
        ],
    )
    def test_that_cannot_be_checked_give_nothing(self, query: str) -> None:
        who = caller(f"system/Observation.cruds?{query}")
        assert who.scopes == ()
        with pytest.raises(Forbidden):
            policy.require(who, policy.READ, "Observation")

    def test_are_not_known_to_version_one(self) -> None:
        assert caller("user/Observation.read?category=laboratory").scopes == ()


class TestFences:
    def test_accounts(self) -> None:
        sees = policy.fence(STORE, caller("system/*.cruds", accounts=f"[{A} {B}]"), policy.READ)
        assert sees(candidate("Observation/1", OBSERVATION, B))
        assert not sees(candidate("Observation/1", OBSERVATION, C))
        assert not sees(candidate("Observation/1", OBSERVATION))

    def test_accounts_are_carried_a_compartment_of_that_name_is_nothing(self) -> None:
        sees = policy.fence(STORE, caller("system/*.cruds", accounts="Practitioner/1"), policy.READ)
        body = OBSERVATION | {"performer": [{"reference": "Practitioner/1"}]}
        assert not sees(candidate("Observation/1", body))
        assert not sees(candidate("Practitioner/1", {"resourceType": "Practitioner"}, A))

    @pytest.mark.parametrize(
        "text",
        [
            "", "[]", "[ ]", " ", "[[Organization/a Organization/b]]", "[map[reference:Organization/a]]", "Organization/a b",
            "Organization/a Organization/b", "[Organization/a b]", "[Organization/a Organization/b", "Organization/a]", "*",
            "Organization/*", "Organization", "a", "http://here/fhir/R4/Organization/a", "Organization/a/_history/1", "<nil>",
            "Nonsense/a", "null", "[Organization/a,Organization/b]",
        ],
    )  # fmt: skip
    def test_a_claim_that_cannot_be_read_fences_to_nothing(self, text: str) -> None:
        who = caller("system/*.cruds", accounts=text)
        assert who.accounts == ()
        assert who.fenced
        assert not policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION, A, B, text))

    @pytest.mark.parametrize("value", [None, 1, True, [A], {"reference": A}, ""])
    def test_one_that_is_no_text_fences_to_nothing(self, value: Any) -> None:
        assert caller("system/*.cruds", accounts=value).accounts == ()

    @given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
    def test_whatever_an_issuer_puts_there_opens_nothing_by_accident(self, value: Any) -> None:
        who = caller("system/*.cruds", accounts=rendered(value))
        assert who.accounts == ()

    @pytest.mark.parametrize(
        "value", [None, "", [], [A], ["p"], {}, {"id": "p"}, True, False, "p q", "Patient/p", "p/1", "ä", 1.5e30]
    )
    def test_so_does_a_patient_however_it_is_rendered(self, value: Any) -> None:
        for claim in (value, rendered(value)):
            who = caller("patient/*.cruds", patient=claim)
            assert who.patient == policy.NOBODY
            for key in ("Patient/None", "Patient/null", "Patient/nil", "Patient/", "Patient/p"):
                assert not policy.fence(STORE, who, policy.READ)(candidate(key, {"resourceType": "Patient"}))

    @pytest.mark.parametrize(
        "text", ["null", "<nil>", "nil", "None", "undefined", "NULL", "NaN", "true", "[]", "map[]", "[null]"]
    )
    def test_words_for_nothing_are_no_patients(self, text: str) -> None:
        assert caller("patient/*.cruds", patient=text).patient == policy.NOBODY
        assert caller("system/*.cruds", accounts=text).accounts == ()

    def test_an_id_that_is_a_number_is_an_id(self) -> None:
        """API Gateway hands on text: it cannot be told from the number."""
        assert caller("patient/*.cruds", patient="100").patient == "100"

    def test_one_reference_is_a_list_of_one(self) -> None:
        assert caller("system/*.cruds", accounts=A).accounts == (A,)
        assert caller("system/*.cruds", accounts=rendered([A, B, A])).accounts == (A, B)

    def test_a_patient_sees_its_compartment(self) -> None:
        who = caller("patient/*.rs", patient="1")
        assert policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))
        assert policy.fence(STORE, who, policy.READ)(candidate("Patient/1", {"resourceType": "Patient"}))
        assert not policy.fence(STORE, who, policy.READ)(candidate("Patient/2", {"resourceType": "Patient"}))

    @pytest.mark.parametrize("claims", [{}, {"patient": ""}, {"patient": "[1]"}, {"patient": "1 2"}, {"patient": None}])
    def test_without_a_launch_patient_its_scopes_open_nothing(self, claims: dict[str, Any]) -> None:
        who = caller("patient/*.rs user/*.rs", **claims)
        for key in ("Patient/1", "Patient/none", "Patient/", "Patient/None"):
            assert not policy.fence(STORE, who, policy.READ)(candidate(key, {"resourceType": "Patient"}))
        assert not policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))

    def test_a_launch_patient_fences_other_scopes_too(self) -> None:
        who = caller("user/*.rs", patient="2")
        assert not policy.fence(STORE, who, policy.READ)(candidate("Observation/1", OBSERVATION))

    def test_within_both_fences(self) -> None:
        sees = policy.fence(STORE, caller("patient/*.rs", patient="1", accounts=A), policy.READ)
        assert sees(candidate("Observation/1", OBSERVATION, A))
        assert not sees(candidate("Observation/1", OBSERVATION, B))
        assert not sees(candidate("Observation/1", {"resourceType": "Observation"}, A))

    def test_what_was_deleted_is_for_who_sees_all_of_the_type(self) -> None:
        assert policy.sees_all(caller("system/*.rs"), policy.READ, "Patient")
        assert not policy.sees_all(caller("system/*.rs", accounts=A), policy.READ, "Patient")
        assert not policy.sees_all(caller("system/Patient.rs?active=true"), policy.READ, "Patient")
        assert not policy.sees_all(caller("system/Patient.s"), policy.READ, "Patient")

    def test_all_that_is_visible_is_listed_under_the_fence(self) -> None:
        assert policy.listed_under(STORE, caller("system/*.rs"), "Observation") is None
        assert policy.listed_under(STORE, caller("system/*.rs", accounts=f"[{A} {B}]"), "Observation") == (
            ("_account", A),
            ("_account", B),
        )
        assert policy.listed_under(STORE, caller("patient/*.rs", patient="1"), "Observation") == (
            ("_compartment", "Patient/1"),
        )
        assert policy.listed_under(STORE, caller("patient/*.rs", patient="1", accounts=A), "Observation") == (
            ("_compartment", "Patient/1"),
        )
        assert policy.listed_under(STORE, caller("patient/*.rs"), "Observation") == ()
        assert policy.listed_under(STORE, caller("system/*.rs", accounts="[]"), "Observation") == ()


class TestVersions:
    OLD = candidate("Observation/1", OBSERVATION, B)
    OWN = candidate("Observation/1", OBSERVATION, A)
    GONE = Version(Head("Observation/1", 2, "2026-11-22T00:00:00.000Z", "DELETE", None), lambda _: {})

    def shown(self, setting: str, who: policy.Caller) -> Fence:
        store: Any = MemoryStore()
        store.settings = Settings(history_access=setting)  # type: ignore[arg-type] # one is a typing error
        return policy.versions(store, who, policy.READ)

    def test_all_of_what_is_visible_now(self) -> None:
        shown = self.shown("current", caller("system/*.rs", accounts=A))
        assert shown(self.OLD)
        assert shown(self.GONE)

    @pytest.mark.parametrize("setting", ["version", "a typing error"])
    def test_or_only_what_was_within_the_fence_itself(self, setting: str) -> None:
        shown = self.shown(setting, caller("system/*.rs", accounts=A))
        assert shown(self.OWN)
        assert not shown(self.OLD)
        assert not shown(self.GONE)
        assert self.shown(setting, caller("system/*.rs"))(self.GONE)


class TestAccounts:
    FENCED = caller("system/*.cruds accounts.write", accounts=f"[{A} {B}]")

    def test_a_fenced_caller_replaces_its_own_and_leaves_the_others_in_their_places(self) -> None:
        assert policy.own_accounts(self.FENCED, (B,), (C, A, "Organization/d"), places={}) == (C, B, "Organization/d")

    def test_what_is_not_its_own_it_may_not_ask_for(self) -> None:
        with pytest.raises(Forbidden) as caught:
            policy.own_accounts(self.FENCED, (A, C), (C,), places={A: "first", C: "second"})
        assert [issue.expression for issue in caught.value.issues] == ["second"]

    def test_who_is_not_fenced_replaces_all(self) -> None:
        who = caller("accounts.write")
        assert policy.own_accounts(who, (B, A, B), (C,), places={}) == (B, A)

    def test_a_patient_sets_none_of_its_own(self) -> None:
        assert not policy.may_set_accounts(caller("patient/*.rs accounts.write", patient="1"))
        assert not policy.may_set_accounts(caller("patient/*.rs accounts.write"))
        assert policy.may_set_accounts(caller("patient/*.rs accounts.write", patient="1", accounts=A))

    def test_they_are_set_on_what_is_within_the_fence(self) -> None:
        settable = policy.settable(STORE, caller("accounts.write", accounts=A))
        assert settable(candidate("Observation/1", OBSERVATION, A))
        assert not settable(candidate("Observation/1", OBSERVATION, B))

    def test_who_may_read_some_resources_sets_them_on_these(self) -> None:
        settable = policy.settable(STORE, caller("accounts.write system/Observation.r?category=laboratory"))
        assert settable(candidate("Observation/1", LAB_RESULT))
        assert not settable(candidate("Observation/1", OBSERVATION))
        assert settable(candidate("Patient/1", {"resourceType": "Patient"}))


class TestNames:
    def test_bounds_are_the_same_for_who_sees_the_same(self) -> None:
        one = caller("system/*.rs system/Patient.r?active=true", accounts=f"[{A} {B}]")
        other = caller("system/Patient.r?active=true system/*.cruds", accounts=f"[{B} {A}]")
        assert one.bounds == replace(other, subject="other").bounds != ""
        assert one.bounds != caller("system/*.rs", accounts=f"[{A} {B}]").bounds
        assert caller("system/*.rs").bounds == ""

    def test_fences_to_nothing_and_no_fence_are_two_things(self) -> None:
        names = {caller("patient/*.rs").bounds, caller("user/*.rs", accounts="[]").bounds, caller("user/*.rs").bounds}
        assert len(names) == 3

    def test_jobs_are_those_of_a_subject_with_the_same_rights(self) -> None:
        who = caller("system/*.rs accounts.write")
        assert who.owner == caller("accounts.write system/*.rs").owner
        others = (
            replace(who, subject="other"),
            replace(who, accounts=(A,)),
            replace(who, patient="1"),
            replace(who, sets_accounts=False),
            replace(who, scopes=()),
        )
        assert who.owner not in {other.owner for other in others}

    def test_callers_who_see_different_resources_never_meet_at_a_claim(self) -> None:
        one, other = caller("system/*.rs", accounts=A), caller("system/*.rs", accounts=B)
        condition = "Patient?identifier=s%7Cv"
        assert len({policy.claim(who, condition) for who in (one, other, caller("system/*.rs"))}) == 3


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
    return policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)(candidate(key, body))


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
    sees_it = policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)
    assert sees_it(candidate("Patient/p2", {"resourceType": "Patient"}))
    store.delete("Patient/p2")
    assert not policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)(
        candidate("Patient/p2", {"resourceType": "Patient"})
    )


def test_links_are_read_only_where_another_patient_is_met_and_once() -> None:
    store = patients(p1=[link("replaces", "p2")], p2=[link("replaced-by", "p1")])
    fence = policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)
    assert fence(candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}))
    assert not fence(candidate("Organization/x", {"resourceType": "Organization"}, A))
    assert store.reads == []
    for _ in range(3):
        fence(candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p9"}}))
    assert store.reads == ["GetItem", "BatchGetItem"]


def test_the_definition_in_force_decides() -> None:
    task = {"resourceType": "Task", "for": {"reference": "Patient/p1"}}
    store: Any = MemoryStore()
    assert not policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)(candidate("Task/x", task))
    store.put(definition("Patient", "Patient", Task=["patient"]))
    fence = policy.fence(store, caller("patient/*.rs", patient="p1"), policy.READ)
    assert fence(candidate("Task/x", task))
    assert fence(candidate("Patient/p1", {"resourceType": "Patient"}))
    assert not fence(
        candidate("Observation/x", {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}})
    )


def test_a_fence_tells_the_types_that_it_lets_through_whole() -> None:
    def open_types(who: policy.Caller) -> list[str]:
        fence = policy.fence(STORE, who, policy.SEARCH)
        return [name for name in ("Observation", "Patient") if is_open(fence, name)]

    assert open_types(policy.EVERYBODY) == ["Observation", "Patient"]
    assert open_types(caller("system/Patient.rs")) == ["Patient"]
    assert open_types(caller("system/Patient.r system/Observation.rs?status=final")) == []
    assert open_types(caller("system/*.rs", accounts=["Organization/a"])) == []
    assert open_types(caller("patient/*.rs", patient="1")) == []
