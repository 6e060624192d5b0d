"""Documents follow what they belong to, and directories are for everybody: seen from outside, by two clinics and a patient's app."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import settings
from bulkhead.store import Store
from bulkhead.store.capacity import metered
from tests.support.door import Door

Json = dict[str, Any]

A, B = "Organization/a", "Organization/b"
RIGHTS = "system/*.cruds accounts.write"
LETTER = base64.b64encode(b"a letter").decode()


class Clinics:
    """Two clinics with a patient each, a directory, and those who ask."""

    def __init__(self, door: Door) -> None:
        self.store = door.store
        self.admin = door.client()
        self.a = door.client(RIGHTS, "a", accounts=[A])
        self.b = door.client(RIGHTS, "b", accounts=[B])
        self.app = door.client("patient/*.rs", "app", patient="anna")
        self.writing_app = door.client("patient/*.cruds", "writing app", patient="anna")
        for key, account in (
            (A, None),
            (B, None),
            ("Practitioner/gp", None),
            ("Practitioner/private", B),
            ("Patient/anna", A),
            ("Patient/chidi", B),
        ):
            self.put(key, account)

    def put(
        self, key: str, account: str | None = None, who: httpx.Client | None = None, **content: Any
    ) -> httpx.Response:
        meta = {"meta": {"accounts": [{"reference": account}]}} if account else {}
        answer = (who or self.admin).put(key, json=resource(key, **content) | meta)
        if who is None:
            assert answer.status_code in (200, 201), answer.text
        return answer

    def letter(
        self, name: str, context: str | None, account: str | None = None, who: httpx.Client | None = None
    ) -> httpx.Response:
        follows = {"securityContext": {"reference": context}} if context else {}
        return self.put(f"Binary/{name}", account, who, contentType="text/plain", data=LETTER, **follows)

    def note(self, name: str, patient: str = "Patient/anna") -> None:
        self.put(
            f"DocumentReference/{name}",
            status="current",
            subject={"reference": patient},
            content=[{"attachment": {"url": f"Binary/{name}"}}],
        )


def resource(key: str, **content: Any) -> Json:
    resource_type, _, identifier = key.partition("/")
    name = {"name": identifier} if resource_type == "Organization" else {}
    return {"resourceType": resource_type, "id": identifier, **name, **content}


def sees(client: httpx.Client, key: str) -> bool:
    """Whether a client sees a resource: all ways to it must agree."""
    resource_type, _, identifier = key.partition("/")
    status = client.get(key, headers={"accept": "application/fhir+json"}).status_code
    assert status in (200, 404)
    found = client.get(f"{resource_type}?_id={identifier}").json()
    version = client.get(f"{key}/_history/1", headers={"accept": "application/fhir+json"}).status_code
    history = client.get(f"{key}/_history").status_code
    of_type = keys(client.get(f"{resource_type}/_history?_count=1000").json())
    assert [bool(found.get("entry")), found["total"] > 0, version == 200, history == 200, key in of_type] == [
        status == 200
    ] * 5
    return status == 200


def keys(bundle: Json, mode: str | None = None) -> set[str]:
    entries = [one for one in bundle.get("entry", []) if "resource" in one]
    if mode:
        entries = [one for one in entries if one["search"]["mode"] == mode]
    return {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in entries}


@pytest.fixture
def clinics(new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clinics:
    store: Store = new_store(history_settle=0, audit="off", definitions_ttl=3600)
    return Clinics(Door(store, keys_folder, monkeypatch))


class TestABinary:
    def test_is_open_to_whoever_sees_its_context(self, clinics: Clinics) -> None:
        clinics.note("n")
        clinics.letter("n", "DocumentReference/n")
        clinics.letter("p", "Patient/anna")
        for name in ("Binary/n", "Binary/p"):
            assert [sees(who, name) for who in (clinics.a, clinics.app, clinics.b, clinics.admin)] == [
                True,
                True,
                False,
                True,
            ]
        assert clinics.a.get("Binary/n", headers={"accept": "text/plain"}).text == "a letter"
        # It follows what it belongs to: shared with the other clinic, and taken back.
        for accounts, seen in (([A, B], True), ([A], False)):
            listed = [{"name": "accounts", "valueReference": {"reference": account}} for account in accounts]
            body = {"resourceType": "Parameters", "parameter": [*listed, {"name": "propagate", "valueBoolean": True}]}
            assert clinics.admin.post("Patient/anna/$set-accounts", json=body).status_code == 200
            assert [sees(clinics.b, name) for name in ("Binary/n", "Binary/p")] == [seen, seen]
            assert keys(clinics.b.get("Binary").json()) == ({"Binary/n", "Binary/p"} if seen else set())

    def test_is_open_to_its_own_accounts_besides(self, clinics: Clinics) -> None:
        clinics.letter("n", "Patient/anna", B)
        assert [sees(who, "Binary/n") for who in (clinics.a, clinics.b, clinics.app)] == [True, True, True]

    def test_needs_a_scope_for_both(self, clinics: Clinics, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clinics.letter("n", "Patient/anna")
        door = Door(clinics.store, keys_folder, monkeypatch)
        assert door.client("system/Patient.rs", accounts=[A]).get("Binary/n").status_code == 403
        assert door.client("system/Binary.rs", accounts=[A]).get("Binary/n").status_code == 404
        assert (
            door.client("system/Binary.rs system/Patient.r?gender=male", accounts=[A]).get("Binary/n").status_code
            == 404
        )
        assert sees(door.client("system/Binary.rs system/Patient.r", accounts=[A]), "Binary/n")

    def test_is_read_only_to_whoever_only_follows(self, clinics: Clinics) -> None:
        clinics.letter("n", "Patient/anna")
        for who in (clinics.a, clinics.writing_app):
            assert clinics.letter("n", "Patient/anna", who=who).status_code == 403
            assert who.delete("Binary/n").status_code == 403
            patch = [{"op": "replace", "path": "/contentType", "value": "text/html"}]
            assert (
                who.patch("Binary/n", json=patch, headers={"content-type": "application/json-patch+json"}).status_code
                == 403
            )
        assert clinics.a.post("Binary/n/$set-accounts", json={"resourceType": "Parameters"}).status_code == 404

    def test_chains_and_circles_end_closed(self, clinics: Clinics) -> None:
        clinics.letter("one", "Patient/anna")
        clinics.letter("two", "Binary/one")
        clinics.letter("circle", "Patient/anna")
        clinics.letter("itself", None)
        clinics.letter("circle", "Binary/two")
        clinics.letter("itself", "Binary/itself")
        assert sees(clinics.a, "Binary/one")
        assert not any(sees(clinics.a, f"Binary/{name}") for name in ("two", "circle", "itself"))
        # A Binary that carries the account itself is seen by it, and so is what follows it.
        clinics.letter("one", "Patient/anna", A)
        assert sees(clinics.a, "Binary/two")

    def test_follows_nothing_that_is_deleted(self, clinics: Clinics) -> None:
        clinics.note("n")
        clinics.letter("n", "DocumentReference/n")
        assert clinics.admin.delete("DocumentReference/n").status_code == 204
        assert clinics.a.get("Binary/n").status_code == 404
        assert clinics.app.get("Binary/n").status_code == 404

    def test_is_brought_by_what_reaches_it(self, clinics: Clinics) -> None:
        clinics.note("n")
        clinics.letter("n", "DocumentReference/n")
        for who in (clinics.a, clinics.app):
            assert "Binary/n" in keys(who.get("Patient/anna/$everything").json())
            assert "Binary/n" in keys(who.get("DocumentReference?_id=n&_revinclude=*").json())
            assert "DocumentReference/n" in keys(who.get("Binary?_id=n&_include=*").json())
        clinics.letter("foreign", "Patient/chidi", A)
        assert keys(clinics.a.get("Binary?_id=foreign&_include=*").json()) == {"Binary/foreign"}

    def test_of_many_the_contexts_are_read_at_once(self, clinics: Clinics) -> None:
        for n in range(30):
            clinics.note(f"n{n:02}")
            clinics.letter(f"n{n:02}", f"DocumentReference/n{n:02}")
        with metered(clinics.store.table.client) as all_of_them:
            assert len(keys(clinics.admin.get("Binary?_count=50&_sort=_id").json())) == 30
        with metered(clinics.store.table.client) as followed:
            assert len(keys(clinics.a.get("Binary?_count=50&_sort=_id").json())) == 30
        assert followed.total <= all_of_them.total + 1

    def test_a_search_costs_what_the_caller_sees(self, clinics: Clinics) -> None:
        clinics.letter("mine", "Patient/anna")
        writes = [
            resource(f"Binary/h{n:04}", contentType="text/plain", securityContext={"reference": "Patient/chidi"})
            for n in range(600)
        ]
        entries = [{"resource": one, "request": {"method": "PUT", "url": f"Binary/{one['id']}"}} for one in writes]
        answer = clinics.admin.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
        with metered(clinics.store.table.client) as meter:
            assert keys(clinics.a.get("Binary?_total=accurate").json()) == {"Binary/mine"}
        assert sum(meter.units.values()) < 250, meter

    def test_hidden_and_absent_cost_the_same(self, clinics: Clinics) -> None:
        clinics.letter("follows", "Patient/chidi")
        clinics.letter("plain", None, B)
        for who in (clinics.a, clinics.app):
            costs = []
            for name in ("follows", "plain", "absent"):
                with metered(clinics.store.table.client) as meter:
                    assert who.get(f"Binary/{name}").status_code == 404
                costs.append(meter.total)
            assert len(set(costs)) == 1, costs


class TestTheContextOfANewBinary:
    FAULTY = ("Patient/chidi", "Patient/none", "Patient/anna/_history/1", "https://elsewhere.example/Patient/anna", "urn:uuid:5c3e6f0a-33e8-4b6f-8e4e-7d2a5a5f0b3c")  # fmt: skip

    @pytest.mark.parametrize("context", FAULTY)
    def test_must_be_seen_by_its_writer_in_every_way_to_write(self, clinics: Clinics, context: str) -> None:
        assert clinics.letter("own", "Patient/anna", who=clinics.a).status_code == 201
        body = resource("Binary/own", contentType="text/plain", data=LETTER, securityContext={"reference": context})
        new = {name: value for name, value in body.items() if name != "id"}
        add = [{"op": "replace", "path": "/securityContext/reference", "value": context}]
        merge = {"securityContext": {"reference": context}}
        a = clinics.a
        answers = [
            a.post("Binary", json=new),
            a.put("Binary/own", json=body),
            a.put("Binary/new", json=body | {"id": "new"}),
            a.patch("Binary/own", json=add, headers={"content-type": "application/json-patch+json"}),
            a.patch("Binary/own", content=json.dumps(merge), headers={"content-type": "application/merge-patch+json"}),
            a.post("Binary", content=b"x", headers={"content-type": "text/plain", "x-security-context": context}),
            a.put("Binary/own", content=b"x", headers={"content-type": "text/plain", "x-security-context": context}),
            a.post("", json=bundle(entry("POST", "Binary", new))),
            a.post("", json=bundle(entry("PUT", "Binary/own", body))),
        ]
        assert {answer.status_code for answer in answers} == {422}, [answer.text for answer in answers]
        assert all("securityContext" in answer.text for answer in answers)
        in_batch = a.post("", json=bundle(entry("PUT", "Binary/own", body)) | {"type": "batch"}).json()
        assert in_batch["entry"][0]["response"]["status"].startswith("422")
        assert (
            clinics.admin.get("Binary/own", headers={"accept": "application/fhir+json"}).json()["meta"]["versionId"]
            == "1"
        )

    def test_is_shared_by_unfenced_callers_only(self, clinics: Clinics) -> None:
        """Every caller reads what follows a directory entry without accounts."""
        clinics.put("Practitioner/shared")
        own = resource("Practitioner/own")
        for who in (clinics.a, clinics.writing_app):
            refused = clinics.letter("planted", "Practitioner/shared", who=who)
            assert refused.status_code == 403, refused.text
            assert refused.json()["issue"][0]["expression"] == ["Binary.securityContext.reference"]
        assert clinics.a.put("Practitioner/own", json=own).status_code == 201
        assert clinics.letter("kept", "Practitioner/own", who=clinics.a).status_code == 201
        clinics.letter("notice", "Practitioner/shared")
        assert sees(clinics.a, "Binary/notice")
        # One that does already may be changed by whoever carries it, as before.
        clinics.letter("owned", "Practitioner/shared", A)
        assert clinics.letter("owned", "Practitioner/shared", who=clinics.a).status_code == 200

    def test_may_be_a_url_of_this_server(self, clinics: Clinics) -> None:
        base = clinics.admin.get("Patient?_id=anna").json()["entry"][0]["fullUrl"].removesuffix("Patient/anna")
        assert clinics.letter("own", f"{base}Patient/anna", who=clinics.a).status_code == 201
        assert sees(clinics.app, "Binary/own")

    def test_that_is_deleted_or_deleted_with_it_is_none(self, clinics: Clinics) -> None:
        clinics.note("n")
        binary = resource("Binary/x", contentType="text/plain", securityContext={"reference": "DocumentReference/n"})
        both = bundle(entry("PUT", "Binary/x", binary), {"request": {"method": "DELETE", "url": "DocumentReference/n"}})
        assert clinics.admin.post("", json=both).status_code == 422
        assert clinics.admin.delete("DocumentReference/n").status_code == 204
        assert clinics.admin.put("Binary/x", json=binary).status_code == 422

    def test_that_stood_before_may_stay(self, clinics: Clinics) -> None:
        """Who may change the Binary need not see what it follows already."""
        clinics.letter("n", "Patient/chidi", A)
        patch = [{"op": "replace", "path": "/contentType", "value": "text/html"}]
        answer = clinics.a.patch("Binary/n", json=patch, headers={"content-type": "application/json-patch+json"})
        assert answer.status_code == 200, answer.text
        assert sees(clinics.b, "Binary/n")

    @pytest.mark.parametrize("context", [None, "Patient/anna"])
    def test_leaves_what_it_followed_only_if_its_writer_sees_that(self, clinics: Clinics, context: str | None) -> None:
        """The other clinic sees the Binary only through its patient: whoever does not see that patient cannot end it."""
        clinics.letter("n", "Patient/chidi", A)
        clinics.put("Patient/gone", B)
        clinics.letter("gone", "Patient/gone", A)
        assert clinics.admin.delete("Patient/gone").status_code == 204
        a, raw = clinics.a, {"content-type": "text/plain"} | ({"x-security-context": context} if context else {})
        json_patch, merge_patch = ({"content-type": f"application/{name}-patch+json"} for name in ("json", "merge"))
        follows = {"securityContext": {"reference": context}} if context else {}
        change = {"op": "replace", "path": "/securityContext", "value": {"reference": context}}
        merged = {"securityContext": {"reference": context} if context else None}
        for name in ("n", "gone"):
            key = f"Binary/{name}"
            body = resource(key, contentType="text/plain", data=LETTER, **follows)
            answers = [
                a.put(key, json=body),
                a.put(key, content=b"x", headers=raw),
                a.patch(
                    key, json=[change if context else {"op": "remove", "path": "/securityContext"}], headers=json_patch
                ),
                a.patch(key, content=json.dumps(merged), headers=merge_patch),
                a.post("", json=bundle(entry("PUT", key, body))),
            ]
            assert {answer.status_code for answer in answers} == {403}, [answer.text for answer in answers]
            assert all("securityContext" in answer.json()["issue"][0]["expression"][0] for answer in answers)
        assert sees(clinics.b, "Binary/n")

    def test_leaves_what_its_writer_sees(self, clinics: Clinics) -> None:
        clinics.letter("n", "Patient/anna", A)
        assert clinics.a.put("Practitioner/own", json=resource("Practitioner/own")).status_code == 201
        assert clinics.letter("n", "Practitioner/own", who=clinics.a).status_code == 200
        assert clinics.letter("n", None, who=clinics.a).status_code == 200
        clinics.letter("n", "Patient/chidi")
        assert clinics.letter("n", None, who=clinics.admin).status_code == 200

    def test_does_not_come_loose_by_deleting_and_making_it_again(self, clinics: Clinics) -> None:
        clinics.letter("n", "Patient/chidi", A)
        assert clinics.a.delete("Binary/n").status_code == 204
        assert clinics.letter("n", None, who=clinics.a).status_code == 403

    def test_is_the_one_resource_that_links_to_it(self, clinics: Clinics) -> None:
        urls = [f"urn:uuid:5c3e6f0a-33e8-4b6f-8e4e-7d2a5a5f0b{n:02}" for n in range(3)]
        binary = {"resourceType": "Binary", "contentType": "text/plain", "data": LETTER}
        note = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": "Patient/anna"}}
        linking = note | {"content": [{"attachment": {"url": urls[0]}}]}
        one = clinics.a.post(
            "",
            json=bundle(entry("POST", "Binary", binary, urls[0]), entry("POST", "DocumentReference", linking, urls[1])),
        )
        assert one.status_code == 200, one.text
        made, document = (each["response"]["location"].partition("/_history")[0] for each in one.json()["entry"])
        assert clinics.a.get(made, headers={"accept": "application/fhir+json"}).json()["securityContext"] == {
            "reference": document
        }
        assert sees(clinics.app, made)
        two = bundle(
            entry("POST", "Binary", binary, urls[0]),
            entry("POST", "DocumentReference", linking, urls[1]),
            entry("POST", "DocumentReference", linking, urls[2]),
        )
        unknown = clinics.a.post("", json=two).json()["entry"][0]["response"]["location"].partition("/_history")[0]
        assert "securityContext" not in clinics.a.get(unknown, headers={"accept": "application/fhir+json"}).json()
        assert clinics.app.get(unknown).status_code == 404

    def test_lets_a_patients_app_add_a_document(self, clinics: Clinics) -> None:
        binary = {"resourceType": "Binary", "contentType": "text/plain", "data": LETTER}
        note = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": "Patient/anna"}}
        url = "urn:uuid:5c3e6f0a-33e8-4b6f-8e4e-7d2a5a5f0b00"
        linking = note | {"content": [{"attachment": {"url": url}}]}
        made = clinics.writing_app.post(
            "", json=bundle(entry("POST", "Binary", binary, url), entry("POST", "DocumentReference", linking))
        )
        assert made.status_code == 200, made.text
        assert sees(clinics.a, made.json()["entry"][0]["response"]["location"].partition("/_history")[0])
        for context in (None, "Practitioner/gp", "Patient/chidi"):
            assert clinics.letter("x", context, who=clinics.writing_app).status_code in (403, 422)


class TestPlantedLinksOpenNothing:
    def test_only_the_context_counts(self, clinics: Clinics) -> None:
        clinics.letter("secret", "Patient/chidi", B)
        clinics.put(
            "DocumentReference/plant",
            who=clinics.a,
            status="current",
            subject={"reference": "Patient/anna"},
            content=[{"attachment": {"url": "Binary/secret"}}],
        )
        clinics.put(
            "List/plant",
            who=clinics.a,
            status="current",
            mode="working",
            subject={"reference": "Patient/anna"},
            entry=[{"item": {"reference": "Binary/secret"}}],
        )
        clinics.letter("plant", "Patient/anna", who=clinics.a)
        for who in (clinics.a, clinics.app):
            assert not sees(who, "Binary/secret")
            assert "Binary/secret" not in keys(who.get("Patient/anna/$everything").json())
            assert "Binary/secret" not in keys(who.get("List?_include=*&_include=List:item").json())
            assert keys(who.get("Binary").json()) == {"Binary/plant"}

    def test_whoever_takes_the_contexts_place_gains_nothing(self, clinics: Clinics) -> None:
        """A context that is gone stays its owner's: nobody else makes it anew under their own account."""
        clinics.note("n", "Patient/chidi")
        clinics.letter("n", "DocumentReference/n", B)
        clinics.admin.delete("DocumentReference/n")
        answer = clinics.put(
            "DocumentReference/n", who=clinics.a, status="current", content=[{"attachment": {"url": "Binary/n"}}]
        )
        assert answer.status_code == 404
        assert not sees(clinics.a, "Binary/n")

    def test_nobody_asks_for_hidden_binaries_by_what_points_at_them(self, clinics: Clinics) -> None:
        clinics.letter("secret", "Patient/chidi")
        clinics.put(
            "List/plant",
            who=clinics.a,
            status="current",
            mode="working",
            entry=[{"item": {"reference": "Binary/secret"}}],
        )
        assert keys(clinics.a.get("List?item:Binary._id=secret").json()) == set()
        assert keys(clinics.a.get("Binary?_has:List:item:_id=plant").json()) == set()
        assert keys(clinics.a.get("Patient?_revinclude=*").json()) == {"Patient/anna", "List/plant"} - {"List/plant"}


class TestSharedTypes:
    def test_are_read_by_everyone_where_they_carry_no_account(self, clinics: Clinics) -> None:
        for who in (clinics.a, clinics.b, clinics.app):
            assert all(sees(who, key) for key in (A, B, "Practitioner/gp"))
        assert [sees(who, "Practitioner/private") for who in (clinics.a, clinics.b, clinics.app)] == [
            False,
            True,
            False,
        ]
        assert keys(clinics.a.get("Practitioner?_total=accurate").json()) == {"Practitioner/gp"}
        assert clinics.b.get("Practitioner?_summary=count").json()["total"] == 2

    def test_take_part_in_includes_and_chains(self, clinics: Clinics) -> None:
        clinics.put("Practitioner/gp", name=[{"family": "Moreau"}])
        clinics.put(
            "Patient/anna",
            A,
            generalPractitioner=[{"reference": "Practitioner/gp"}, {"reference": "Practitioner/private"}],
        )
        for who in (clinics.a, clinics.app):
            found = who.get("Patient?_include=Patient:general-practitioner").json()
            assert keys(found, "include") == {"Practitioner/gp"}
            assert keys(who.get("Patient?general-practitioner:Practitioner.name=moreau").json()) == {"Patient/anna"}
            assert keys(who.get("Practitioner?_has:Patient:general-practitioner:_id=anna").json()) == {
                "Practitioner/gp"
            }
            assert keys(who.get("Practitioner?name=moreau").json()) == {"Practitioner/gp"}

    def test_need_a_scope(self, clinics: Clinics, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        door = Door(clinics.store, keys_folder, monkeypatch)
        assert door.client("patient/Observation.rs", patient="anna").get("Practitioner/gp").status_code == 403
        assert sees(door.client("patient/Practitioner.rs", patient="anna"), "Practitioner/gp")
        assert door.client("patient/Practitioner.rs?name=x", patient="anna").get("Practitioner/gp").status_code == 404

    def test_are_written_by_whom_no_claim_fences(self, clinics: Clinics) -> None:
        for who in (clinics.a, clinics.writing_app):
            refused = clinics.put("Practitioner/gp", who=who, gender="female")
            assert refused.status_code == 403
            assert "shared" in refused.json()["issue"][0]["diagnostics"]
            assert who.delete("Practitioner/gp").status_code == 403
            patch = [{"op": "add", "path": "/gender", "value": "female"}]
            assert (
                who.patch(
                    "Practitioner/gp", json=patch, headers={"content-type": "application/json-patch+json"}
                ).status_code
                == 403
            )
            in_bundle = who.post(
                "", json=bundle(entry("PUT", "Practitioner/gp", resource("Practitioner/gp", gender="male")))
            )
            assert in_bundle.status_code == 403
            assert who.put("Practitioner?_id=gp", json=resource("Practitioner/gp", gender="male")).status_code == 403
        assert clinics.a.post("Practitioner/gp/$set-accounts", json={"resourceType": "Parameters"}).status_code == 404
        assert clinics.put("Practitioner/new", who=clinics.writing_app).status_code == 403

    def test_are_not_made_by_giving_up_the_last_account(self, clinics: Clinics) -> None:
        assert clinics.put("Practitioner/own", who=clinics.a).status_code == 201
        assert clinics.a.get("Practitioner/own").json()["meta"]["accounts"] == [{"reference": A}]
        clear = {"resourceType": "Parameters"}
        answers = [
            clinics.a.post("Practitioner/own/$set-accounts", json=clear),
            clinics.a.post(
                "Practitioner/own/$set-accounts",
                json=clear | {"parameter": [{"name": "propagate", "valueBoolean": True}]},
            ),
            clinics.a.post(
                "",
                json={
                    "resourceType": "Bundle",
                    "type": "batch",
                    "entry": [entry("POST", "Practitioner/own/$set-accounts", clear)],
                },
            ),
        ]
        refused = [
            answer.json()["entry"][0]["response"]["status"][:3] if "entry" in answer.json() else str(answer.status_code)
            for answer in answers
        ]
        assert set(refused) == {"403"} or set(refused) == {"403", "400"}, [answer.text for answer in answers]
        assert clinics.a.delete("Practitioner/own").status_code == 204
        assert clinics.a.put("Practitioner/own", json=resource("Practitioner/own")).status_code == 201
        assert not sees(clinics.b, "Practitioner/own")
        # Who is not fenced may, and then everyone reads it.
        assert clinics.admin.post("Practitioner/own/$set-accounts", json=clear).status_code == 200
        assert sees(clinics.b, "Practitioner/own")
        assert keys(clinics.b.get("Practitioner").json()) >= {"Practitioner/own", "Practitioner/gp"}

    def test_a_fence_is_an_account_away(self, clinics: Clinics) -> None:
        body = {"resourceType": "Parameters", "parameter": [{"name": "accounts", "valueReference": {"reference": B}}]}
        assert clinics.admin.post("Practitioner/gp/$set-accounts", json=body).status_code == 200
        assert [sees(who, "Practitioner/gp") for who in (clinics.a, clinics.b, clinics.app)] == [False, True, False]

    def test_a_shared_definition_is_not_in_force(self, clinics: Clinics) -> None:
        """What governs the server is what an unfenced caller wrote; a tenant's own serves that tenant."""
        code = {"code": "my-status", "base": ["Observation"], "type": "token", "expression": "Observation.status"}
        definition = resource(
            "SearchParameter/own", status="active", name="x", description="x", url="http://a.example/x", **code
        )
        assert clinics.a.put("SearchParameter/own", json=definition).status_code == 201
        cleared = clinics.admin.post("SearchParameter/own/$set-accounts", json={"resourceType": "Parameters"})
        assert cleared.status_code == 200
        assert sees(clinics.b, "SearchParameter/own")
        for who in (clinics.admin, clinics.b, clinics.a):
            strict = who.get("Observation?my-status=final", headers={"prefer": "handling=strict"})
            assert strict.status_code == 400, strict.text

    def test_a_search_of_many_costs_what_the_caller_sees(self, clinics: Clinics) -> None:
        meta = {"accounts": [{"reference": B}]}
        entries = [
            entry(
                "PUT", f"Practitioner/h{n:04}", resource(f"Practitioner/h{n:04}", meta=meta, name=[{"family": "Smith"}])
            )
            for n in range(600)
        ]
        clinics.put("Practitioner/smith", name=[{"family": "Smith"}])
        answer = clinics.admin.post("", json=bundle(*entries))
        assert answer.status_code == 200, answer.text
        for who in (clinics.a, clinics.app):
            with metered(clinics.store.table.client) as meter:
                found = who.get("Practitioner?name=smith&_total=accurate").json()
            assert (keys(found), found["total"]) == ({"Practitioner/smith"}, 1)
            assert sum(meter.units.values()) < 250, meter

    def test_can_be_switched_off(self, new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clinics = Clinics(Door(new_store(history_settle=0, shared_types="off"), keys_folder, monkeypatch))
        assert not sees(clinics.a, "Practitioner/gp")
        assert keys(clinics.a.get("Practitioner").json()) == set()


class TestTheTrail:
    def test_of_a_document_is_for_who_sees_it_and_of_the_directory_for_nobody_fenced(
        self, new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store: Store = new_store(history_settle=0, audit="*.read")
        clinics = Clinics(Door(store, keys_folder, monkeypatch))
        monkeypatch.setattr(settings, "current", lambda: store.settings)
        clinics.letter("n", "Patient/anna")
        for key in ("Binary/n", "Practitioner/gp"):
            assert clinics.a.get(key).status_code == 200
        for who, seen in ((clinics.admin, [True, True]), (clinics.a, [True, False]), (clinics.b, [False, False])):
            found = [
                who.get(f"AuditEvent?entity={key}&_summary=count").json()["total"]
                for key in ("Binary/n", "Practitioner/gp")
            ]
            assert [number > 0 for number in found] == seen
        assert clinics.admin.get("AuditEvent?patient=anna&_summary=count").json()["total"] >= 1


def bundle(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def entry(method: str, url: str, body: Json, full_url: str | None = None) -> Json:
    named = {"fullUrl": full_url} if full_url else {}
    return {**named, "resource": body, "request": {"method": method, "url": url}}
