"""Semantics, section 1, through the front door: who inherits what and when, what `meta` shows, what a body may say, what is refused.

What `$set-accounts` itself does is in test_set_accounts.py; at once and under way in test_propagation.py; at random in test_propagation_model.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import settings
from bulkhead.fhir import xml
from bulkhead.fhir.definitions import RESOURCE_TYPES
from bulkhead.store import Store
from tests.support.door import Door
from tests.support.scene import A, B, C, parameters

P, Q = "Patient/p", "Patient/q"
CODE = {"text": "x"}
ACCOUNTS = "Parameters.parameter[{}].valueReference.reference"


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(store, keys_folder, monkeypatch)


@pytest.fixture
def client(door: Door) -> httpx.Client:
    """Of a server with three organisations, two patients and an encounter."""
    made = door.client()
    for key in (A, B, C):
        put(made, key, name=key)
    for key in (P, Q):
        put(made, key)
    put(made, "Encounter/e", status="planned", **{"class": {"code": "AMB"}})
    return made


def put(client: httpx.Client, key: str, **content: Any) -> Any:
    resource_type, _, identifier = key.partition("/")
    answer = client.put(key, json={"resourceType": resource_type, "id": identifier, **content})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def observe(client: httpx.Client, name: str, subject: str | None = P, **content: Any) -> str:
    """An observation; its key."""
    whom = {"subject": {"reference": subject}} if subject else {}
    put(client, f"Observation/{name}", status="final", code=CODE, **whom, **content)
    return f"Observation/{name}"


def set_accounts(client: httpx.Client, key: str, *accounts: str, propagate: bool = False) -> int:
    answer = client.post(f"{key}/$set-accounts", json=parameters(*accounts, propagate=propagate))
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["parameter"][0]["valueInteger"]
    return count


def references(client: httpx.Client, key: str, name: str) -> list[str]:
    """What `meta.accounts` or `meta.compartment` shows."""
    meta = client.get(key).json()["meta"]
    return [one["reference"] for one in meta.get(name, [])]


def accounts(client: httpx.Client, key: str) -> list[str]:
    return references(client, key, "accounts")


class TestInheritance:
    def test_a_new_resource_has_what_its_patient_has_at_that_moment(self, client: httpx.Client) -> None:
        """Of a Patient always, whether its last request propagated or not."""
        early = observe(client, "early")
        set_accounts(client, P, A)
        late = observe(client, "late")
        assert (accounts(client, early), accounts(client, late)) == ([], [A])
        observe(client, "early", valueInteger=1)
        assert accounts(client, early) == [A]
        set_accounts(client, P, B)
        assert accounts(client, late) == [A]
        observe(client, "late", valueInteger=1)
        assert accounts(client, late) == [B]

    def test_an_update_of_identical_content_changes_nothing(self, client: httpx.Client) -> None:
        key = observe(client, "o")
        set_accounts(client, P, A)
        observe(client, "o")
        assert client.get(key).json()["meta"]["versionId"] == "1"

    def test_several_patients_in_one_resource_each_give_theirs(self, client: httpx.Client) -> None:
        set_accounts(client, P, A, B)
        set_accounts(client, Q, B, C)
        key = observe(client, "o", Q, performer=[{"reference": P}])
        assert accounts(client, key) == [A, B, C]
        observe(client, "o", P)
        assert accounts(client, key) == [A, B]
        observe(client, "o", None)
        assert accounts(client, key) == []

    def test_only_through_the_parameters_of_the_patient_compartment(self, client: httpx.Client) -> None:
        set_accounts(client, P, A)
        key = observe(client, "o", None, focus=[{"reference": P}])
        assert accounts(client, key) == references(client, key, "compartment") == []
        assert set_accounts(client, P, A, propagate=True) == 1

    def test_other_targets_give_theirs_only_while_they_propagate(self, client: httpx.Client) -> None:
        set_accounts(client, "Encounter/e", A)
        encounter = {"encounter": {"reference": "Encounter/e"}}
        key = observe(client, "o", None, **encounter)
        assert accounts(client, key) == []
        assert set_accounts(client, "Encounter/e", A, propagate=True) == 2
        assert accounts(client, key) == accounts(client, observe(client, "new", None, **encounter)) == [A]
        set_accounts(client, "Encounter/e", A)
        assert accounts(client, observe(client, "newer", None, **encounter)) == []
        observe(client, "o", None, **encounter, valueInteger=1)
        assert accounts(client, key) == []

    def test_an_encounter_that_propagates_and_its_patient_each_give_theirs(self, client: httpx.Client) -> None:
        put(client, "Encounter/e", status="planned", **{"class": {"code": "AMB"}}, subject={"reference": P})
        set_accounts(client, P, A, propagate=True)
        set_accounts(client, "Encounter/e", B, propagate=True)
        key = observe(client, "o", P, encounter={"reference": "Encounter/e"})
        assert accounts(client, key) == [B, A]
        assert accounts(client, "Encounter/e") == [B, A]
        assert set_accounts(client, P, propagate=True) == 3
        assert accounts(client, key) == accounts(client, "Encounter/e") == [B]

    def test_a_deleted_resource_comes_back_with_its_own_and_what_its_patient_has(self, client: httpx.Client) -> None:
        key = observe(client, "o")
        set_accounts(client, key, B)
        set_accounts(client, P, A, propagate=True)
        assert accounts(client, key) == [B, A]
        client.delete(key)
        set_accounts(client, P, C, propagate=True)
        observe(client, "o")
        assert accounts(client, key) == [B, C]
        client.delete(P)
        observe(client, "o", valueInteger=1)
        assert accounts(client, key) == [B, C]

    @pytest.mark.parametrize("kind", ["transaction", "batch"])
    def test_a_patient_and_its_resources_arrive_together(self, client: httpx.Client, kind: str) -> None:
        named, subject = (
            {"accounts": [{"reference": A}]},
            {"reference": "urn:uuid:9d0a3f3e-0000-4000-8000-000000000001"},
        )
        if kind == "batch":
            subject = {"reference": "Patient/new"}
        patient = {"resourceType": "Patient", "id": "new", "meta": named}
        observation = {"resourceType": "Observation", "id": "n", "status": "final", "code": CODE, "subject": subject}
        entries = [
            {
                "fullUrl": "urn:uuid:9d0a3f3e-0000-4000-8000-000000000001",
                "resource": patient,
                "request": {"method": "PUT", "url": "Patient/new"},
            },
            {"resource": observation, "request": {"method": "PUT", "url": "Observation/n"}},
        ]
        answer = client.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries})
        assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["201", "201"]
        if kind == "transaction":
            assert accounts(client, "Observation/n") == [A]
        assert set_accounts(client, "Patient/new", A, propagate=True) == 2
        assert accounts(client, "Observation/n") == [A]

    def test_a_transaction_that_changes_the_patient_gives_what_it_makes_of_it(self, client: httpx.Client) -> None:
        set_accounts(client, P, A)
        patient = {"resourceType": "Patient", "id": "p", "active": True, "meta": {"accounts": [{"reference": B}]}}
        observation = {
            "resourceType": "Observation",
            "id": "o",
            "status": "final",
            "code": CODE,
            "subject": {"reference": P},
        }
        entries = [
            {"resource": observation, "request": {"method": "PUT", "url": "Observation/o"}},
            {"resource": patient, "request": {"method": "PUT", "url": P}},
        ]
        client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).raise_for_status()
        assert accounts(client, "Observation/o") == accounts(client, P) == [B]


class TestBodies:
    """`meta.accounts` in what a client sends."""

    def test_is_ignored_without_the_right(self, client: httpx.Client, door: Door) -> None:
        clinician = door.client("system/*.cruds")
        key = observe(client, "o")
        set_accounts(client, key, B)
        sent = {"status": "final", "code": CODE, "subject": {"reference": P}}
        for listed in ([{"reference": A}], [{"reference": "Organization/unknown"}]):
            put(clinician, key, **sent, meta={"accounts": listed}, valueInteger=len(listed))
            assert accounts(client, key) == [B]
        made = clinician.post(
            "Observation", json={"resourceType": "Observation", **sent, "meta": {"accounts": [{"reference": A}]}}
        )
        assert accounts(client, f"Observation/{made.json()['id']}") == []

    def test_sets_the_own_ones_with_the_right(self, client: httpx.Client) -> None:
        key = observe(client, "o", meta={"accounts": [{"reference": B}, {"reference": A}]})
        assert accounts(client, key) == [B, A]
        observe(client, "o", meta={"accounts": [{"reference": C}]})
        assert accounts(client, key) == [C]

    def test_an_update_that_names_none_leaves_them_alone(self, client: httpx.Client, door: Door) -> None:
        key = observe(client, "o", meta={"accounts": [{"reference": B}]})
        for who in (client, door.client("system/*.cruds")):
            tagged: dict[str, Any] = {"meta": {"tag": [{"code": who.headers["authorization"][-5:]}]}}
            for meta in ({}, tagged):
                observe(who, "o", **meta, valueString=str(id(meta)))
                assert accounts(client, key) == [B]
        patched = [{"op": "add", "path": "/valueInteger", "value": 1}, {"op": "remove", "path": "/valueString"}]
        client.patch(key, json=patched, headers={"content-type": "application/json-patch+json"}).raise_for_status()
        assert accounts(client, key) == [B]

    def test_what_was_read_and_is_sent_back_makes_nothing_inherited_its_own(self, client: httpx.Client) -> None:
        set_accounts(client, P, A)
        key = observe(client, "o", meta={"accounts": [{"reference": B}]})
        read = client.get(key).json()
        assert accounts(client, key) == [B, A]
        client.put(key, json=read | {"valueInteger": 1}).raise_for_status()
        set_accounts(client, P, propagate=True)
        assert accounts(client, key) == [B]


class TestShown:
    def test_accounts_come_once_own_ones_first(self, client: httpx.Client) -> None:
        set_accounts(client, P, A, B)
        key = observe(client, "o")
        set_accounts(client, key, C, B)
        assert accounts(client, key) == [C, B, A]

    def test_compartments_are_the_targets_and_the_accounts(self, client: httpx.Client) -> None:
        set_accounts(client, P, A)
        key = observe(client, "o", performer=[{"reference": Q}], encounter={"reference": "Encounter/e"})
        assert references(client, key, "compartment") == ["Encounter/e", P, Q, A]
        assert references(client, P, "compartment") == [P, A]
        assert references(client, A, "compartment") == []

    def test_are_those_of_the_moment_everywhere(self, client: httpx.Client) -> None:
        key = observe(client, "o")
        set_accounts(client, P, A, propagate=True)
        found = client.get("Observation?_id=o").json()["entry"][0]["resource"]
        listed = client.get(f"{P}/*?_type=Observation").json()["entry"][0]["resource"]
        past = client.get(f"{key}/_history/1").json()
        assert found["meta"] == listed["meta"] == client.get(key).json()["meta"]
        assert [one["reference"] for one in found["meta"]["accounts"]] == [A]
        assert "accounts" not in past["meta"]

    def test_on_request_only_by_setting(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        key = observe(client, "o")
        set_accounts(client, P, A, propagate=True)
        quiet = replace(settings.current(), extended_meta="on-request")
        monkeypatch.setattr(settings, "current", lambda: quiet)
        paths = [key, "Observation?_id=o", f"{key}/_history", f"{P}/$everything"]
        for path in paths:
            assert "accounts" not in client.get(path).text
            assert "compartment" not in client.get(path).text
            assert A in client.get(path, headers={"X-Medplum": "extended"}).text

    @pytest.mark.parametrize("resource_type", sorted(RESOURCE_TYPES)[::12])
    def test_are_searched_for_on_every_type(self, client: httpx.Client, resource_type: str) -> None:
        for query in (f"_account={A}", f"_compartment={P}", f"_compartment={A}"):
            answer = client.get(f"{resource_type}?{query}")
            assert answer.status_code == 200
            (link,) = [each["url"] for each in answer.json()["link"] if each["relation"] == "self"]
            assert query.partition("=")[0] in link

    def test_are_found(self, client: httpx.Client) -> None:
        key = observe(client, "o")
        set_accounts(client, P, A, propagate=True)
        for query, expected in (
            (f"_account={A}", [key]),
            (f"_compartment={P}", [key]),
            (f"_compartment={A}", [key]),
            (f"_account={B}", []),
        ):
            entries = client.get(f"Observation?{query}").json().get("entry", [])
            assert [f"Observation/{entry['resource']['id']}" for entry in entries] == expected
        assert client.get(f"?_account={A}&_type=Patient,Observation&_total=accurate").json()["total"] == 2


class TestRuns:
    def test_nothing_is_skipped_because_the_caller_may_not_read_it(self, client: httpx.Client, door: Door) -> None:
        keys = [observe(client, str(n)) for n in range(3)]
        sharer = door.client("system/Patient.r accounts.write")
        assert sharer.get(keys[0]).status_code == 403
        assert set_accounts(sharer, P, A, propagate=True) == 4
        assert {tuple(accounts(client, key)) for key in keys} == {(A,)}

    def test_nothing_else_changes(self, client: httpx.Client) -> None:
        meta = {
            "profile": ["http://example.org/p"],
            "tag": [{"code": "t"}],
            "security": [{"code": "s"}],
            "source": "#1",
        }
        key = observe(
            client,
            "o",
            meta=meta,
            valueQuantity={"value": 1.10},
            text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        )
        before = client.get(key).json()
        set_accounts(client, P, A, propagate=True)
        after = client.get(key).json()
        assert after["meta"].pop("accounts") == [{"reference": A}]
        changing = ("versionId", "lastUpdated", "compartment")
        assert {n: v for n, v in after["meta"].items() if n not in changing} == {
            n: v for n, v in before["meta"].items() if n not in changing
        }
        assert {n: v for n, v in after.items() if n != "meta"} == {n: v for n, v in before.items() if n != "meta"}
        assert client.get(f"{key}/_history").json()["total"] == 2


def nested(value: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [value]}


REFUSED: dict[str, tuple[Any, str]] = {
    "another resource": ({"resourceType": "Patient"}, "Parameters"),
    "another name": (nested({"name": "account", "valueReference": {"reference": A}}), "Parameters.parameter[0].name"),
    "another type of value": (nested({"name": "accounts", "valueString": A}), "Parameters.parameter[0].valueReference"),
    "not a boolean": (nested({"name": "propagate", "valueString": "true"}), "Parameters.parameter[0].valueBoolean"),
    "propagate twice": (
        {"resourceType": "Parameters", "parameter": [{"name": "propagate", "valueBoolean": True}] * 2},
        "Parameters.parameter[1]",
    ),
    "elsewhere": (parameters("https://elsewhere.example/Organization/a"), ACCOUNTS.format(0)),
    "a type only": (parameters(A, "Organization"), ACCOUNTS.format(1)),
    "a version": (parameters("Organization/a/_history/1"), ACCOUNTS.format(0)),
    "malformed JSON": ('{"resourceType": "Parameters", "parameter": [', "body"),
    "an empty body": ("", "body"),
    "51 accounts": (parameters(*[f"Organization/{n}" for n in range(51)]), "Parameters.parameter"),
}


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_names_the_parameter_and_changes_nothing(self, client: httpx.Client, case: str) -> None:
        body, place = REFUSED[case]
        set_accounts(client, P, B)
        content = {"content": body} if isinstance(body, str) else {"json": body}
        answer = client.post(f"{P}/$set-accounts", **content, headers={"content-type": "application/fhir+json"})
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == [place]
        assert accounts(client, P) == [B]

    def test_malformed_xml_too(self, client: httpx.Client) -> None:
        set_accounts(client, P, B)
        for body in ("<Parameters", '<Parameters xmlns="http://hl7.org/fhir"><parameter>', "<!DOCTYPE x><Parameters/>"):
            answer = client.post(f"{P}/$set-accounts", content=body, headers={"content-type": "application/fhir+xml"})
            assert answer.status_code == 400
            assert answer.text.count("expression")
        good = client.post(
            f"{P}/$set-accounts",
            content=xml.dumps(parameters(A, propagate=True)),
            headers={"content-type": "application/fhir+xml"},
        )
        assert good.status_code == 200
        assert accounts(client, P) == [A]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", f"{P}/$set-accounts", 405),
            ("PUT", f"{P}/$set-accounts", 405),
            ("POST", "Patient/$set-accounts", 404),
            ("POST", "$set-accounts", 404),
        ],
    )
    def test_other_methods_and_levels(self, client: httpx.Client, method: str, path: str, status: int) -> None:
        answer = client.request(method, path, json=parameters(A))
        assert answer.status_code == status
        assert answer.json()["resourceType"] == "OperationOutcome"
