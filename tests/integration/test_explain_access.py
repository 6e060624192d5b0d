"""`$explain-access` says what the server does: for random records and callers, and for those who ask."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.test_sharing import A, B, Clinics
from tests.support.door import Door

Json = dict[str, Any]


@pytest.fixture(scope="module")
def door(make_store: Any, keys_folder: Path) -> Iterator[Door]:
    with pytest.MonkeyPatch.context() as patch:
        yield Door(make_store(history_settle=0, audit="off"), keys_folder, patch)


@pytest.fixture(scope="module")
def clinics(door: Door) -> Clinics:
    return Clinics(door)


def explained(client: httpx.Client, key: str, **asked: Any) -> Json:
    answer = client.get(f"{key}/$explain-access", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def parts(body: Json, name: str) -> list[dict[str, Any]]:
    """The parameters of a name, each as {part: value or values}."""
    found = []
    for parameter in body["parameter"]:
        if parameter["name"] == name:
            made: dict[str, Any] = {}
            for part in parameter.get("part", []):
                made.setdefault(part["name"], []).append(value(part))
            found.append(made)
    return found


def value(part: Json) -> Any:
    if "part" in part:
        return {inner["name"]: value(inner) for inner in part["part"]}
    found = next(content for name, content in part.items() if name.startswith("value"))
    return found["reference"] if isinstance(found, dict) else found


def decisions(body: Json) -> dict[str, tuple[bool | None, str]]:
    found = parts(body, "decision")
    return {one["interaction"][0]: (one.get("allowed", [None])[0], one["rule"][0]) for one in found}


# What it says is what the server does

NUMBERS = count()
KINDS = ("Patient", "Observation", "DocumentReference", "Binary", "Practitioner", "List", "AuditEvent", "ValueSet", "CompartmentDefinition")  # fmt: skip
SCOPES = (
    "system/*.cruds", "patient/*.cruds", "system/*.rs", "patient/*.rs", "user/Binary.rs", "user/Patient.rs user/Binary.cruds",
    "user/Observation.cruds?status=final user/Patient.rs?active=true user/Binary.rs user/Practitioner.ruds", "user/*.ud",
    "user/DocumentReference.rs user/Practitioner.rs",
)  # fmt: skip
records = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from([(), (A,), (B,), (A, B)]),
        st.integers(0, 5),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
callers = st.tuples(
    st.sampled_from(SCOPES),
    st.sampled_from([None, None, (), (A,), (B,), (A, B)]),
    st.sampled_from([None, None, 0, 1, 2]),
)


def made(kind: str, name: str, accounts: tuple[str, ...], target: str, patient: str, flag: bool) -> Json:
    """A record of a kind. `target` is another record, `flag` turns what scopes ask about."""
    content: dict[str, Json] = {
        "Patient": {"active": flag},
        "Observation": {"status": "final" if flag else "amended", "code": {"text": "x"}, "subject": {"reference": patient}},
        "DocumentReference": {"status": "current", "subject": {"reference": patient}, "content": [{"attachment": {"url": target}}]},
        "Binary": {"contentType": "text/plain", **({"securityContext": {"reference": target}} if flag else {})},
        "List": {"status": "current", "mode": "working", "subject": {"reference": patient}},
        "AuditEvent": {"type": {"code": "x"}, "recorded": "2020-01-01T00:00:00Z", "agent": [{"requestor": True}], "source": {"observer": {"display": "x"}}, "entity": [{"what": {"reference": patient}}]},
        "ValueSet": {"status": "active"},
        "CompartmentDefinition": {"url": f"http://x.example/{name}", "name": "X", "status": "retired", "code": "Device", "search": True},
    }  # fmt: skip
    meta = {"meta": {"accounts": [{"reference": account} for account in accounts]}} if accounts else {}
    return {"resourceType": kind, "id": name, **content.get(kind, {}), **meta}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(listed=records, who=callers, patients=st.tuples(st.sampled_from([(), (A,), (B,)]), st.sampled_from([(), (A,)])))
def test_what_it_says_is_what_the_server_does(
    clinics: Clinics, door: Door, listed: list[Any], who: Any, patients: Any
) -> None:
    number = next(NUMBERS)
    people = [f"Patient/p{number}-{n}" for n in range(2)]
    for key, accounts in zip(people, patients, strict=True):
        body = made("Patient", key.partition("/")[2], accounts, "", "", True)
        assert clinics.admin.put(key, json=body).status_code == 201
    keys = list(people)
    for n, (kind, accounts, at, flag) in enumerate(listed):
        name = f"r{number}-{n}"
        body = made(kind, name, accounts, keys[at % len(keys)], people[at % 2], flag)
        answer = clinics.admin.put(f"{kind}/{name}", json=body)
        assert answer.status_code == 201, answer.text
        keys.append(f"{kind}/{name}")
    scope, accounts, at = who
    fence: dict[str, Any] = {} if accounts is None else {"accounts": list(accounts)}
    asked: dict[str, Any] = {"scope": scope} | ({} if accounts is None else {"accounts": ",".join(accounts)})
    if at is not None:
        identifier = f"p{number}-{at}"
        fence["patient"] = asked["patient"] = identifier
    client = door.client(scope, "asked", **fence)
    for key in reversed(keys):
        told = decisions(explained(clinics.admin, key, **asked))
        assert {name: allowed for name, (allowed, _) in told.items()} == done(client, clinics.admin, key), (key, told)


def done(client: httpx.Client, admin: httpx.Client, key: str) -> dict[str, bool]:
    """What a client succeeds in, the record being there again afterwards."""
    resource_type, _, identifier = key.partition("/")
    fhir = {"accept": "application/fhir+json"}
    body = admin.get(key, headers=fhir).json()
    found = client.get(f"{resource_type}?_id={identifier}")
    outcome = {
        "read": client.get(key, headers=fhir).status_code == 200,
        "search": found.status_code == 200 and bool(found.json().get("entry")),
        "update": client.put(key, json=body | {"language": "en"}).status_code == 200,
    }
    # The last: what is deleted is gone for what follows it, so the record is written again.
    outcome["delete"] = client.delete(key).status_code == 204
    if outcome["delete"]:
        assert (
            admin.put(key, json={name: content for name, content in body.items() if name != "meta"}).status_code == 201
        )
    return outcome


# What it tells, and whom


class TestWithoutACaller:
    def test_each_account_has_its_sources(self, clinics: Clinics) -> None:
        clinics.put("Observation/sources", B, status="final", code={"text": "x"}, subject={"reference": "Patient/anna"})
        body = explained(clinics.admin, "Observation/sources")
        assert (
            parts(body, "account")
            == [
                {"account": [B], "source": [{"kind": "own"}]},
                {"account": [A], "source": [{"kind": "inherited", "from": "Patient/anna", "through": "subject"}]},
            ]
            or parts(body, "account")[1]["source"][0]["from"] == "Patient/anna"
        )
        (compartment,) = parts(body, "compartment")
        assert compartment == {"compartment": ["Patient/anna"], "through": ["patient", "subject"]} or compartment[
            "through"
        ] == ["subject"]
        assert parts(body, "decision") == []
        assert {"name": "sealed", "valueBoolean": False} in body["parameter"]

    def test_the_end_of_an_account_is_told(self, clinics: Clinics) -> None:
        clinics.put("Patient/ends", None)
        account = {"name": "accounts", "valueReference": {"reference": B}}
        until = {"name": "until", "valueInstant": "2099-01-01T00:00:00Z"}
        asked = clinics.admin.post(
            "Patient/ends/$set-accounts", json={"resourceType": "Parameters", "parameter": [account, until]}
        )
        assert asked.status_code == 200, asked.text
        clinics.put("Observation/ends", None, status="final", code={"text": "x"}, subject={"reference": "Patient/ends"})
        for key in ("Patient/ends", "Observation/ends"):
            (found,) = parts(explained(clinics.admin, key), "account")
            assert found["source"][0]["until"] == "2099-01-01T00:00:00.000Z"

    def test_proxies_are_told(self, clinics: Clinics) -> None:
        clinics.letter("proxied", "Patient/anna")
        assert parts(explained(clinics.admin, "Binary/proxied"), "proxy") == [
            {"rule": ["security-context"], "resource": ["Patient/anna"]}
        ]
        assert parts(explained(clinics.admin, "Practitioner/gp"), "proxy") == [{"rule": ["shared-type"]}]
        assert parts(explained(clinics.admin, "Practitioner/private"), "proxy") == []

    def test_a_patient_is_in_its_own_compartment(self, clinics: Clinics) -> None:
        (own,) = parts(explained(clinics.admin, "Patient/anna"), "compartment")
        assert own == {"compartment": ["Patient/anna"], "through": ["{def}"]}


class TestACaller:
    @pytest.mark.parametrize(
        ("key", "asked", "rules"),
        [
            ("Patient/anna", {"accounts": A}, {"read": "account", "update": "account"}),
            ("Patient/anna", {"accounts": B}, {"read": "no-account", "delete": "no-account"}),
            ("Patient/anna", {"accounts": ""}, {"read": "no-account"}),
            ("Patient/anna", {"patient": "anna", "scope": "patient/*.rs"}, {"read": "patient-compartment", "update": "no-scope"}),
            ("Patient/anna", {"patient": "anna", "accounts": A}, {"search": "account-and-patient-compartment"}),
            ("Patient/anna", {"scope": "system/*.rs"}, {"read": "unfenced", "delete": "no-scope"}),
            ("Patient/anna", {"scope": "user/Patient.rs?gender=male"}, {"read": "scope-query"}),
            ("Practitioner/gp", {"accounts": A}, {"read": "shared-type", "update": "shared-read-only"}),
            ("Practitioner/private", {"accounts": A}, {"read": "no-account"}),
            ("Binary/told", {"accounts": A}, {"read": "security-context", "update": "no-account"}),
            ("Binary/told", {"patient": "anna"}, {"search": "security-context"}),
            ("CompartmentDefinition/patient", {"accounts": A}, {"update": "governs-the-server"}),
        ],
    )  # fmt: skip
    def test_is_told_the_rule(self, clinics: Clinics, key: str, asked: Json, rules: dict[str, str]) -> None:
        clinics.letter("told", "Patient/anna")
        found = decisions(explained(clinics.admin, key, **asked))
        assert {name: found[name][1] for name in rules} == rules
        assert set(found) == {"read", "search", "update", "delete"}

    @pytest.mark.parametrize(
        "query", ["scopes=x", "scope=a&scope=b", "accounts=x", "patient=a/b", "patient=1&patient=2", "_count=1"]
    )
    def test_must_be_one(self, clinics: Clinics, query: str) -> None:
        answer = clinics.admin.get(f"Patient/anna/$explain-access?{query}")
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"]


class TestWhoAsks:
    def test_needs_to_read_without_a_fence_or_to_set_accounts(self, clinics: Clinics, door: Door) -> None:
        asked = "Patient/anna/$explain-access"
        assert door.client("system/*.rs").get(asked).status_code == 200
        assert door.client("accounts.write").get(asked).status_code == 200
        assert clinics.a.get(asked).status_code == 200
        assert clinics.b.get(asked).status_code == 404
        assert door.client("system/*.cruds", accounts=[A]).get(asked).status_code == 403
        assert door.client("system/Observation.rs").get(asked).status_code == 403
        assert clinics.app.get(asked).status_code == 403
        assert clinics.admin.get("Patient/none/$explain-access").status_code == 404
        assert clinics.a.get("Practitioner/gp/$explain-access").status_code == 200
        assert clinics.admin.post(asked, json={}).status_code == 405

    def test_learns_nothing_of_what_gives_an_account_unseen(self, clinics: Clinics) -> None:
        clinics.put("Observation/mine", A, status="final", code={"text": "x"}, subject={"reference": "Patient/chidi"})
        assert [
            one["source"][0]
            for one in parts(explained(clinics.a, "Observation/mine"), "account")
            if one["account"] == [B]
        ] == [{"kind": "inherited"}]
        assert parts(explained(clinics.b, "Observation/mine"), "account")[1]["source"][0]["from"] == "Patient/chidi"

    def test_learns_nothing_of_a_context_unseen(self, clinics: Clinics) -> None:
        """It sees the Binary by its own account, and not the resource that the Binary follows."""
        clinics.put(
            "DocumentReference/theirs",
            None,
            status="current",
            subject={"reference": "Patient/chidi"},
            content=[{"attachment": {"url": "x"}}],
        )
        clinics.letter("between", "DocumentReference/theirs", A)
        for asked in ({"accounts": B}, {"accounts": "Organization/none"}):
            # Nor by a query that the Binary does not meet: only what is open is held to it.
            for scope in ("system/*.rs", "system/Binary.rs?_tag=none system/DocumentReference.rs"):
                told = decisions(explained(clinics.a, "Binary/between", scope=scope, **asked))
                assert told["read"] == (None, "hidden-from-you")
        assert decisions(explained(clinics.a, "Binary/between", accounts=A))["read"] == (True, "account")
        assert decisions(explained(clinics.admin, "Binary/between", accounts=B))["read"] == (True, "security-context")
        assert clinics.admin.delete("DocumentReference/theirs").status_code == 204
        assert decisions(explained(clinics.a, "Binary/between", accounts=B))["read"] == (None, "hidden-from-you")
        assert decisions(explained(clinics.admin, "Binary/between", accounts=B))["read"] == (False, "no-account")

    def test_is_held_to_its_scopes_where_no_claim_fences_it(self, clinics: Clinics, door: Door) -> None:
        clinics.letter("scoped", "Patient/anna")
        binaries = door.client("system/Binary.rs")
        assert decisions(explained(binaries, "Binary/scoped", accounts=A))["read"] == (None, "hidden-from-you")
        assert binaries.get("Binary/scoped/$explain-access?patient=anna").status_code == 422
        clinics.put(
            "Observation/scoped", None, status="final", code={"text": "x"}, subject={"reference": "Patient/anna"}
        )
        (found,) = parts(explained(door.client("system/Observation.rs"), "Observation/scoped"), "account")
        assert found["source"] == [{"kind": "inherited"}]

    def test_learns_nothing_of_content_unseen(self, clinics: Clinics, door: Door) -> None:
        """Who sets accounts and does not read cannot find out what a record says by asking for one query after another."""
        clinics.put("Observation/o", A, status="final", code={"text": "x"}, subject={"reference": "Patient/anna"})
        clinics.letter("o", "Observation/o", A)
        for who in (door.client("accounts.write", accounts=[A]), door.client("accounts.write")):
            for status in ("final", "amended"):
                narrow = f"system/Observation.rus?status={status}"
                told = decisions(explained(who, "Observation/o", scope=narrow))
                assert told == dict.fromkeys(("read", "search", "update"), (None, "hidden-from-you")) | {
                    "delete": (False, "no-scope")
                }
                # Where the fence closes, nothing is asked of the content.
                assert decisions(explained(who, "Observation/o", scope=narrow, accounts=B))["read"] == (
                    False,
                    "no-account",
                )
                through = explained(who, "Binary/o", scope=f"system/Binary.rs {narrow}", patient="anna")
                assert decisions(through)["read"] == (None, "hidden-from-you")
            assert decisions(explained(who, "Observation/o", scope="system/*.rs"))["read"] == (True, "unfenced")
        told = decisions(explained(clinics.a, "Observation/o", scope="system/Observation.rs?status=amended"))
        assert told["read"] == (False, "scope-query")

    def test_asks_of_no_patient_unseen(self, clinics: Clinics) -> None:
        hidden, absent = (clinics.a.get(f"Patient/anna/$explain-access?patient={name}") for name in ("chidi", "absent"))
        assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())
        assert hidden.status_code == 422
        assert clinics.admin.get("Patient/anna/$explain-access?patient=absent").status_code == 200

    def test_learns_nothing_of_the_links_of_patients_unseen(self, clinics: Clinics) -> None:
        """Whether a Patient agrees that it is replaced is told to those who see it. (The link that says so hands it the other's accounts.)"""
        clinics.put("Patient/old", B)
        clinics.put("Patient/new", A, link=[{"other": {"reference": "Patient/old"}, "type": "replaces"}])
        clinics.put("Observation/old", A, status="final", code={"text": "x"}, subject={"reference": "Patient/old"})
        told = []
        replaced: dict[str, Any] = {"link": [{"other": {"reference": "Patient/new"}, "type": "replaced-by"}]}
        for link in ({}, replaced):
            clinics.put("Patient/old", B, **link)
            assert decisions(explained(clinics.admin, "Observation/old", patient="new"))["read"][0] is bool(link)
            told.append(decisions(explained(clinics.a, "Observation/old", patient="new"))["read"][0])
        assert told == [None, True]


@pytest.fixture
def audited(new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(new_store(history_settle=0, audit="Patient.write"), keys_folder, monkeypatch)


def test_who_may_know_of_an_event_and_not_of_its_entities_learns_nothing_of_them(audited: Door) -> None:
    clinics = Clinics(audited)
    (event,) = {
        f"AuditEvent/{one['resource']['id']}"
        for one in clinics.admin.get("AuditEvent?entity=Patient/chidi").json()["entry"]
    }
    events = audited.client("system/AuditEvent.rs", "events")
    for asked in ({"accounts": A}, {"accounts": B}, {"accounts": B, "scope": "system/AuditEvent.rs?_tag=none"}):
        assert decisions(explained(events, event, **asked))["read"] == (None, "hidden-from-you")
    assert decisions(explained(events, event, scope="system/*.rs"))["read"] == (True, "unfenced")
    assert decisions(explained(clinics.admin, event, accounts=A))["read"] == (False, "hidden-audit-entities")
    assert decisions(explained(clinics.admin, event, accounts=B))["read"] == (True, "audit-entities")


def test_its_definition_and_route_are_published(clinics: Clinics) -> None:
    listed = clinics.admin.get("metadata").json()["rest"][0]["resource"]
    assert all("explain-access" in [one["name"] for one in each["operation"]] for each in listed)
    assert clinics.admin.get("OperationDefinition/bulkhead-explain-access").json()["code"] == "explain-access"
