"""The audit trail through the front door: what leaves AuditEvents, who may see them, and that nobody changes one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import settings
from bulkhead.api import trail
from bulkhead.audit import recording
from bulkhead.facts.audit_names import PREFIX
from bulkhead.fhir import validation
from bulkhead.jobs import executions
from bulkhead.store import Store
from functions.processing import handler as processing_steps
from tests.support.door import ADDRESS, Door
from tests.support.faults import Failing, unreachable

A, B = "Organization/a", "Organization/b"
LIST = {
    "resourceType": "List",
    "id": "l1",
    "status": "current",
    "mode": "working",
    "subject": {"reference": "Patient/p1"},
}
REST = "http://hl7.org/fhir/restful-interaction"


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door(store, keys_folder, monkeypatch)
    with made.client() as admin:
        for name in ("a", "b"):
            put(admin, {"resourceType": "Organization", "id": name, "name": name})
            put(admin, {"resourceType": "Patient", "id": f"p{'1' if name == 'a' else '2'}"})
    return made


@pytest.fixture
def admin(door: Door) -> httpx.Client:
    return door.client(subject="admin")


def put(client: httpx.Client, resource: dict[str, Any]) -> httpx.Response:
    answer = client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text
    return answer


def share(client: httpx.Client, key: str, *accounts: str, propagate: bool = True, status: int = 200) -> httpx.Response:
    parameters = [{"name": "accounts", "valueReference": {"reference": account}} for account in accounts]
    flag = {"name": "propagate", "valueBoolean": propagate}
    answer = client.post(f"{key}/$set-accounts", json={"resourceType": "Parameters", "parameter": [*parameters, flag]})
    assert answer.status_code == status, answer.text
    return answer


def events(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    found = client.get("AuditEvent", params={"_count": "1000", **query}).raise_for_status().json()
    return [entry["resource"] for entry in found.get("entry", ())]


def told(event: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Interaction, action, and what it is about."""
    return event["subtype"][0]["code"], event["action"], [entity["what"]["reference"] for entity in event["entity"]]


def test_each_change_and_each_read_of_a_list_leaves_an_event_that_its_patient_finds(admin: httpx.Client) -> None:
    put(admin, LIST)
    put(admin, {**LIST, "title": "changed"})
    admin.get("List/l1")
    admin.get("List/l1/_history/1")
    admin.get("List/l1/_history")
    admin.get("Patient/p1/List")
    admin.get("List?subject=Patient/p1")
    admin.delete("List/l1")
    today = events(admin)[0]["recorded"][:10]
    found = events(admin, patient="p1", date=f"ge{today}", _sort="date")
    both = ["List/l1", "Patient/p1"]
    assert [told(event) for event in found] == [
        ("create", "C", both),
        ("update", "U", both),
        ("read", "R", both),
        ("vread", "R", both),
        ("history-instance", "R", both),
        ("search-type", "R", both),
        ("search-type", "R", both),
        ("delete", "D", both),
    ]
    assert len(events(admin, entity="List/l1")) == 8
    for event in found:
        stored = {name: value for name, value in event.items() if name != "meta"}
        assert validation.faults(stored, "AuditEvent") == []
        assert event["agent"] == [
            {
                "who": {"identifier": {"value": "admin"}},
                "requestor": True,
                "network": {"address": ADDRESS, "type": "2"},
            }
        ]


def test_a_search_by_what_a_list_names_reads_the_list(admin: httpx.Client) -> None:
    put(admin, LIST | {"code": {"coding": [{"system": "http://loinc.org", "code": "10160-0"}]}})
    for query in ("MedicationRequest?_list=l1", "MedicationRequest?patient=p1&_list=$current-medications"):
        before = len(events(admin, entity="List/l1"))
        assert admin.get(query).status_code == 200
        found = events(admin, entity="List/l1", _sort="-date")
        assert len(found) == before + 1
        assert told(found[0])[:2] == ("search-type", "R")
    before = len(events(admin))
    assert admin.get("MedicationRequest?_list=none").status_code == 200
    assert len(events(admin)) == before


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", ["alone", "batch", "transaction"])
def test_criteria_that_ask_what_a_list_names_read_it(admin: httpx.Client, method: str, kind: str) -> None:
    """What such a request does tells what is in the List."""
    medication: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
    }
    put(admin, medication)
    put(admin, LIST | {"entry": [{"item": {"reference": "MedicationRequest/m1"}}]})
    url = "MedicationRequest" if method == "POST" else "MedicationRequest?_list=l1"
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "MedicationRequest.status"},
        {"name": "value", "valueCode": "completed"},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    body = {"PUT": medication, "POST": medication, "PATCH": patch}.get(method)
    if_none_exist = "_list=l1" if method == "POST" else None
    before = len(events(admin, entity="List/l1"))
    if kind == "alone":
        headers = {"content-type": "application/fhir+json"} | (
            {"if-none-exist": if_none_exist} if if_none_exist else {}
        )
        answer = admin.request(method, url, headers=headers, content=None if body is None else json.dumps(body))
        assert answer.status_code in (200, 204), answer.text
    else:
        request = {"method": method, "url": url} | ({"ifNoneExist": if_none_exist} if if_none_exist else {})
        entry = {"request": request} | ({} if body is None else {"resource": body})
        answer = admin.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert answer.json()["entry"][0]["response"]["status"][:3] in ("200", "204"), answer.text
    found = events(admin, entity="List/l1", _sort="-date")
    assert len(found) == before + 1
    assert told(found[0])[:2] == ("search-type", "R")


@pytest.mark.parametrize(
    "headers",
    [{"if-none-match": 'W/"1"'}, {"if-none-match": "*"}, {"if-modified-since": "Sat, 01 Jan 2095 00:00:00 GMT"}],
)
def test_a_reader_who_has_the_version_already_reads_it_again(admin: httpx.Client, headers: dict[str, str]) -> None:
    put(admin, LIST)
    assert admin.get("List/l1", headers=headers).status_code == 304
    assert [told(event)[:2] for event in events(admin, entity="List/l1", _sort="date")] == [
        ("create", "C"),
        ("read", "R"),
    ]


@pytest.mark.parametrize("returns", ["minimal", "OperationOutcome", "representation"])
@pytest.mark.parametrize("kind", ["alone", "batch", "transaction"])
def test_a_list_that_criteria_find_and_nothing_changes_is_read_whatever_the_answer_shows(
    admin: httpx.Client, kind: str, returns: str
) -> None:
    named = {"identifier": [{"system": "urn:s", "value": "l"}]}
    put(admin, LIST | named)
    other = {name: value for name, value in LIST.items() if name != "id"} | named
    test = json.dumps([{"op": "test", "path": "/mode", "value": "working"}])
    criteria, prefer = "identifier=urn:s|l", {"prefer": f"return={returns}"}
    if kind == "alone":
        found = admin.post("List", json=other, headers={"if-none-exist": criteria} | prefer)
        tested = admin.patch("List/l1", content=test, headers={"content-type": "application/json-patch+json"} | prefer)
        assert (found.status_code, tested.status_code) == (200, 200)
    else:
        patch = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
        patch["data"] = base64.b64encode(test.encode()).decode()
        entries = [
            [{"request": {"method": "POST", "url": "List", "ifNoneExist": criteria}, "resource": other}],
            [{"request": {"method": "PATCH", "url": "List/l1"}, "resource": patch}],
        ]
        for entry in entries:
            answer = admin.post("", json={"resourceType": "Bundle", "type": kind, "entry": entry}, headers=prefer)
            assert answer.json()["entry"][0]["response"]["status"][:3] == "200", answer.text
    interactions = [told(event)[1] for event in events(admin, entity="List/l1", _sort="date")]
    assert interactions == ["C", "R", "R"]


@pytest.mark.parametrize("kind", ["alone", "batch", "transaction"])
def test_who_writes_and_is_shown_nothing_reads_nothing(
    new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store: Store = new_store(audit="List.read")
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    with Door(store, keys_folder, monkeypatch).client() as admin:
        headers = {"prefer": "return=minimal"}
        for title in ("one", "two"):
            resource = LIST | {"title": title}
            if kind == "alone":
                assert admin.put("List/l1", json=resource, headers=headers).status_code in (200, 201)
            else:
                entry = {"request": {"method": "PUT", "url": "List/l1"}, "resource": resource}
                admin.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]}).raise_for_status()
        assert events(admin) == []


def test_what_nobody_asked_to_record_leaves_none(admin: httpx.Client) -> None:
    put(admin, {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}})
    admin.get("Observation/o")
    admin.get("List")
    admin.get("Patient/p1/*")
    assert events(admin) == []


def test_changes_within_bundles_and_reads_too(admin: httpx.Client) -> None:
    entries: list[dict[str, Any]] = [
        {"resource": LIST, "request": {"method": "PUT", "url": "List/l1"}},
        {"request": {"method": "GET", "url": "List?subject=Patient/p1"}},
    ]
    for kind in ("transaction", "batch"):
        admin.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries}).raise_for_status()
        entries[0]["resource"] = {**LIST, "title": kind}
    interactions = [told(event)[:2] for event in events(admin, patient="p1", _sort="date")]
    assert sorted(interactions) == [("create", "C"), ("search-type", "R"), ("search-type", "R"), ("update", "U")]


def test_a_list_whose_accounts_a_bundle_has_set_is_read_all_the_same_where_it_is_shown(admin: httpx.Client) -> None:
    """The version is the bundle's own, and its content is not: the commit has recorded no change of that."""
    put(admin, LIST)
    accounts = {"name": "accounts", "valueReference": {"reference": A}}
    nothing = {"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "List.status"},
        {"name": "value", "valueCode": "current"}]}  # fmt: skip
    entries = [
        {"request": {"method": method, "url": url}, "resource": {"resourceType": "Parameters", "parameter": [content]}}
        for method, url, content in (
            ("POST", "List/l1/$set-accounts", accounts),
            ("PATCH", "List/l1", nothing),
        )
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = admin.post("", json=bundle, headers={"prefer": "return=representation"}).json()
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["200", "200"]
    assert answer["entry"][1]["resource"]["meta"]["versionId"] == "2"
    found = [told(event) for event in events(admin)]
    about = ["List/l1", "Patient/p1"]
    assert sorted(found) == [("create", "C", about), ("operation", "E", about), ("read", "R", about)]


def test_one_event_for_each_patient_of_a_search(admin: httpx.Client) -> None:
    put(admin, LIST)
    put(admin, {**LIST, "id": "l2", "subject": {"reference": "Patient/p2"}})
    admin.get("List?status=current")
    for patient, other in (("p1", "l2"), ("p2", "l1")):
        (searched,) = [event for event in events(admin, patient=patient) if told(event)[0] == "search-type"]
        assert f"List/{other}" not in told(searched)[2]


def test_set_accounts_leaves_one_event_whatever_it_changes(admin: httpx.Client) -> None:
    assert share(admin, "Patient/p1", A).json()["parameter"][0]["valueInteger"] == 1
    share(admin, "Patient/p1", A)
    share(admin, "Patient/p1", A, propagate=False)
    found = events(admin, patient="p1", _sort="date")
    assert [event["subtype"][1]["code"] for event in found] == ["$set-accounts"] * 3
    details = [{each["type"]: each["valueString"] for each in event["entity"][0]["detail"]} for event in found]
    assert [(each["accounts"], each["propagate"]) for each in details] == [(A, "true"), (A, "true"), (A, "false")]


def test_the_trail_is_not_a_member_that_propagation_counts_or_changes(admin: httpx.Client) -> None:
    put(admin, LIST)
    for _ in range(3):
        assert share(admin, "Patient/p1", A).json()["parameter"][0]["valueInteger"] == 2
    assert all("accounts" not in event["meta"] and event["meta"]["versionId"] == "1" for event in events(admin))


@pytest.mark.parametrize("whole", [True, False])
def test_a_letter_is_data_of_whom_its_document_is_about(
    new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """A Binary points at no patient: it follows its document, which the same transaction makes, or which is there already."""
    store: Store = new_store(audit="Binary.read,Binary.write")
    monkeypatch.setattr(settings, "current", lambda: store.settings)
    admin = Door(store, keys_folder, monkeypatch).client(subject="admin")
    document: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "content": [{"attachment": {"title": "x"}}],
    }
    document["subject"] = {"reference": "Patient/p1"}
    letter: dict[str, Any] = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "aGk="}
    letter["securityContext"] = {"reference": "DocumentReference/d"}
    if whole:
        made = [document, letter]
        entries = [
            {"request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}, "resource": one} for one in made
        ]
        sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        admin.post("", json=sent).raise_for_status()
    else:
        put(admin, document)
        put(admin, letter)
    admin.get("Binary/b").raise_for_status()
    admin.delete("Binary/b").raise_for_status()
    about = ["Binary/b", "Patient/p1"]
    found = events(admin, patient="p1", _sort="date")
    assert [told(event) for event in found] == [("create", "C", about), ("read", "R", about), ("delete", "D", about)]


def test_a_history_names_each_version_that_it_shows(admin: httpx.Client) -> None:
    put(admin, LIST)
    put(admin, {**LIST, "title": "second"})
    put(admin, {**LIST, "title": "third", "subject": {"reference": "Patient/p2"}})
    admin.get("List/l1/_history").raise_for_status()
    shown = [one["entity"] for one in events(admin, subtype="history-instance")]
    versions = {of["what"]["reference"]: [one["valueString"] for one in read["detail"]] for read, of in shown}
    assert versions == {"Patient/p1": ["2", "1"], "Patient/p2": ["3"]}


class TestRefusals:
    def test_a_token_without_the_right(self, door: Door, admin: httpx.Client) -> None:
        with door.client("system/*.rs", subject="reader") as reader:
            share(reader, "Patient/p1", A, status=403)
            assert reader.put("Patient/p1", json={"resourceType": "Patient", "id": "p1"}).status_code == 403
        found = events(admin, _sort="date")
        assert [event["agent"][0]["who"]["identifier"]["value"] for event in found] == ["reader"] * 2
        assert [(event["outcome"], event["outcomeDesc"]) for event in found] == [("4", "403 forbidden")] * 2
        assert [told(event)[2] for event in found] == [["Patient/p1"]] * 2

    def test_what_a_fence_hides_is_recorded_as_what_is_not_there(self, door: Door, admin: httpx.Client) -> None:
        with door.client(accounts=[B], subject="other") as other:
            for key in ("Patient/p1", "Patient/nobody"):
                assert other.get(key).status_code == 404
        assert [told(event)[2] for event in events(admin, outcome="4", _sort="date")] == [
            ["Patient/p1"],
            ["Patient/nobody"],
        ]

    def test_entries_of_a_batch(self, door: Door, admin: httpx.Client) -> None:
        entries = [
            {"request": {"method": "GET", "url": "Patient/p1"}},
            {"request": {"method": "DELETE", "url": "Patient/p2"}},
        ]
        with door.client("system/*.rs", accounts=[B]) as other:
            answer = other.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["404", "403"]
        assert sorted(told(event)[2] for event in events(admin, outcome="4")) == [["Patient/p1"], ["Patient/p2"]]

    @pytest.mark.parametrize("path", ["Patient", "Patient?name=x", "Patient/_history", "Patient/$lastn"])
    def test_of_no_resource_names_none(self, door: Door, admin: httpx.Client, path: str) -> None:
        with door.client("system/Observation.rs", accounts=[A]) as other:
            assert other.get(path).status_code in (403, 404)
        assert ["entity" in event for event in events(admin, outcome="4")] == [False]

    def test_of_a_job_names_no_resource(self, door: Door, admin: httpx.Client) -> None:
        with door.client(accounts=[A]) as other:
            assert other.get("job/patient/status").status_code == 404
        assert ["entity" in event for event in events(admin, outcome="4")] == [False]

    @pytest.mark.parametrize("kind", ["batch", "transaction"])
    @pytest.mark.parametrize("background", [False, True])
    def test_entries_name_what_they_are_about_whatever_they_ask(
        self, door: Door, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch, *, kind: str, background: bool
    ) -> None:
        monkeypatch.setattr(executions, "start", lambda store, job: None)
        paths = ["Patient/p1/$everything", "/Patient/p1/_history/1", "Patient/p2/%24meta", "Patient?name=x"]
        entries: list[dict[str, Any]] = [{"request": {"method": "GET", "url": path}} for path in paths]
        entries += [{"request": {"method": "DELETE", "url": "/Patient/p3/"}}]
        sent = {"resourceType": "Bundle", "type": kind, "entry": entries[-1:] if kind == "transaction" else entries}
        headers = {"Prefer": "respond-async"} if background else {}
        with door.client("system/Observation.cruds", accounts=[A]) as other:
            answer = other.post("", json=sent, headers=headers)
            if answer.status_code == 202:
                processing_steps.process(door.store, {"job": answer.headers["content-location"].split("/")[-2]})
        about = [
            [entity["what"]["reference"] for entity in one.get("entity", ())] for one in events(admin, outcome="4")
        ]
        every = [[], ["Patient/p1"], ["Patient/p1"], ["Patient/p2"], ["Patient/p3"]]
        assert sorted(about) == (every if kind == "batch" else every[-1:])

    def test_who_has_no_token(self, door: Door, admin: httpx.Client) -> None:
        with door.with_token(None) as nobody:
            assert nobody.get("Patient/p1").status_code == 401
        (found,) = events(admin, outcome="4")
        assert (told(found)[2], found["outcomeDesc"]) == (["Patient/p1"], "401 login")


class TestNobodyChangesOne:
    @pytest.fixture
    def key(self, admin: httpx.Client) -> str:
        share(admin, "Patient/p1", A)
        (event,) = events(admin)
        return f"AuditEvent/{event['id']}"

    def test_the_servers_own(self, admin: httpx.Client, key: str) -> None:
        event = admin.get(key).json()
        changed = {**event, "outcome": "12"}
        patch = [{"op": "replace", "path": "/outcome", "value": "12"}]
        tag = {"name": "meta", "valueMeta": {"tag": [{"system": "urn:x", "code": "y"}]}}
        answers = [
            admin.put(key, json=changed),
            admin.patch(key, json=patch, headers={"content-type": "application/json-patch+json"}),
            admin.delete(key),
            admin.delete(f"AuditEvent?_id={event['id']}"),
            admin.put(f"AuditEvent?_id={event['id']}", json=changed),
            admin.post(f"{key}/$meta-add", json={"resourceType": "Parameters", "parameter": [tag]}),
            share(admin, key, A, propagate=False, status=405),
        ]
        assert [answer.status_code for answer in answers] == [405] * 7
        for entry in ({"method": "DELETE", "url": key}, {"method": "PUT", "url": key}):
            content = {"request": entry, **({"resource": changed} if entry["method"] == "PUT" else {})}
            for kind, status in (("transaction", 405), ("batch", 200)):
                answer = admin.post("", json={"resourceType": "Bundle", "type": kind, "entry": [content]})
                assert answer.status_code == status
                if kind == "batch":
                    assert answer.json()["entry"][0]["response"]["status"].startswith("405")
        assert admin.get(key).json() == event

    def test_a_clients_own(self, admin: httpx.Client, key: str) -> None:
        event = {name: value for name, value in admin.get(key).json().items() if name not in ("id", "meta")}
        made = admin.post("AuditEvent", json=event)
        assert made.status_code == 201
        identifier = made.json()["id"]
        assert (
            admin.put(f"AuditEvent/{identifier}", json={**event, "id": identifier, "outcome": "12"}).status_code == 405
        )
        assert admin.delete(f"AuditEvent/{identifier}").status_code == 405

    def test_no_client_makes_one_of_the_servers(self, admin: httpx.Client, key: str) -> None:
        event = {**admin.get(key).json(), "id": f"{PREFIX}forged"}
        assert admin.put(f"AuditEvent/{PREFIX}forged", json=event).status_code == 403


class TestWhatCannotBeRecordedIsNotDone:
    """The same at every call of DynamoDB: with an event unwritten, no answer shows a List and no refusal is told."""

    @pytest.mark.parametrize("path", ["List/l1", "Patient/p1/List", "List?subject=Patient/p1"])
    def test_a_read(self, door: Door, admin: httpx.Client, path: str) -> None:
        put(admin, LIST)
        before = len(events(admin))
        for failed, answer in _failing(door, lambda: admin.get(path)):
            recorded = len(events(admin)) > before
            before = len(events(admin))
            assert recorded or (failed and answer.status_code == 503 and "l1" not in answer.text)

    def test_a_change(self, door: Door, admin: httpx.Client) -> None:
        for number, (_, answer) in enumerate(_failing(door, lambda: admin.put("List/l1", json=LIST))):
            made = admin.get("List/l1/_history").status_code == 200
            created = [event for event in events(admin, entity="List/l1") if event["action"] == "C"]
            assert len(created) == made, number
            if made:
                assert answer.status_code in (200, 201, 503)
                return

    def test_a_refusal(self, door: Door, admin: httpx.Client) -> None:
        with door.client("system/*.rs") as reader:
            for failed, answer in _failing(door, lambda: reader.delete("Patient/p1")):
                assert answer.status_code == (503 if failed else 403)


def _failing(door: Door, call: Any) -> Any:
    """(whether a call of DynamoDB failed, the answer), for a failure at each of its calls in turn, up to one without any."""
    healthy = door.store.table.client
    for at in range(50):
        failing: Any = Failing(healthy, at, unreachable())
        door.store.table.client = failing
        try:
            answer = call()
        finally:
            door.store.table.client = healthy
        yield failing.struck, answer
        if not failing.struck:
            return
    raise AssertionError("it never came through")


class TestFence:
    """The trail is fenced like what it speaks of, as that is when somebody looks."""

    def seen_by(self, door: Door, *accounts: str, **query: str) -> list[str]:
        with door.client(accounts=list(accounts)) as client:
            found = events(client, _sort="date", **query)
            assert all(client.get(f"AuditEvent/{event['id']}").status_code == 200 for event in found)
            return [told(event)[0] for event in found]

    def test_it_follows_its_subjects(self, door: Door, admin: httpx.Client) -> None:
        put(admin, LIST)
        share(admin, "Patient/p1", A)
        assert self.seen_by(door, A) == ["create", "operation"]
        assert self.seen_by(door, B) == []
        share(admin, "Patient/p1", B)
        assert self.seen_by(door, B, patient="p1") == ["create", "operation", "operation"]
        with door.client(accounts=[A]) as former:
            assert events(former, patient="p1") == []
            assert former.get(f"AuditEvent/{events(admin)[0]['id']}").status_code == 404
            assert former.get("AuditEvent/_history").json().get("entry") is None

    def test_a_patient_sees_who_looked(self, door: Door, admin: httpx.Client) -> None:
        put(admin, LIST)
        admin.get("List/l1")
        put(admin, {**LIST, "id": "l2", "subject": {"reference": "Patient/p2"}})
        with door.client("patient/*.rs", patient="p1") as patient:
            assert [told(event)[0] for event in events(patient, _sort="date")] == ["create", "read"]
            assert sorted(told(event)[0] for event in events(patient, patient="p1")) == ["create", "read"]
            assert events(patient, patient="p2") == []

    def test_a_refusal_is_told_to_those_whose_data_it_was_about(self, door: Door, admin: httpx.Client) -> None:
        share(admin, "Patient/p1", A)
        with door.client(accounts=[B], subject="intruder") as intruder:
            intruder.get("Patient/p1")
            intruder.get("Patient/nobody")
            assert events(intruder) == []
        with door.client(accounts=[A]) as own:
            (refused,) = events(own, outcome="4")
            assert refused["agent"][0]["who"]["identifier"]["value"] == "intruder"


def test_what_a_dead_worker_left_unrecorded_is_recorded_before_it_is_told(
    door: Door, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died between its commit and the trail: a List that a conditional create found is in the answer that it kept."""
    identifier = [{"system": "urn:s", "value": "l"}]
    put(admin, {**LIST, "identifier": identifier})
    found = {name: value for name, value in LIST.items() if name != "id"} | {"identifier": identifier}
    request = {"method": "POST", "url": "List", "ifNoneExist": "identifier=urn:s|l"}
    made = {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}}
    entries = [{"request": request, "resource": found}, made, {"request": {"method": "GET", "url": "Patient/p1"}}]
    monkeypatch.setattr(executions, "start", lambda store, job: None)
    monkeypatch.setattr(executions, "is_running", lambda store, job: False)
    headers = {"prefer": "respond-async, return=representation"}
    taken = admin.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}, headers=headers)
    assert taken.status_code == 202, taken.text
    status = taken.headers["content-location"]

    def die(*arguments: Any, **named: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as dying:
        dying.setattr(trail, "record_refused_entries", die)
        with pytest.raises(RuntimeError):
            processing_steps.process(door.store, {"job": status.split("/")[-2]})
    before = len(events(admin, entity="List/l1"))
    with monkeypatch.context() as broken:
        broken.setattr(recording, "record", die)
        refused = admin.get(status)
        assert refused.status_code == 500
        assert "l1" not in refused.text
    answer = admin.get(status).raise_for_status().json()["entry"][0]["resource"]
    assert answer["entry"][0]["resource"]["id"] == "l1"
    after = events(admin, entity="List/l1")
    assert len(after) == before + 1
    assert ("read", "R", ["List/l1", "Patient/p1"]) in [told(event) for event in after]
