"""`service/document/new` and `service/document/update`: their patterns, and the transactions that they are."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.store import Store
from tests.support.door import Door
from tests.support.faults import Failing, unreachable

A, B = "Organization/a", "Organization/b"
PATIENT = {"reference": "Patient/p"}
BYTES, NEW, OLD, ORIGIN = "urn:uuid:binary", "urn:uuid:new", "DocumentReference/old", "urn:uuid:provenance"
Bundle = dict[str, Any]


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door(store, keys_folder, monkeypatch)
    with made.client() as admin:
        for name in ("a", "b"):
            put(admin, {"resourceType": "Organization", "id": name, "name": name})
        put(admin, {"resourceType": "Patient", "id": "p"})
        put(admin, {"resourceType": "Binary", "id": "first", "contentType": "text/plain", "data": "Zmlyc3Q="})
        put(admin, {**document("Binary/first"), "id": "old"})
    return made


@pytest.fixture
def admin(door: Door) -> httpx.Client:
    return door.client(subject="admin")


def put(client: httpx.Client, resource: dict[str, Any]) -> None:
    answer = client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def document(url: str, status: str = "current", replaces: str | None = None) -> dict[str, Any]:
    relates = {"relatesTo": [{"code": "replaces", "target": {"reference": replaces}}]} if replaces else {}
    attachment = {"contentType": "text/plain", "url": url}
    base = {"resourceType": "DocumentReference", "status": status, "subject": PATIENT}
    return {**base, "content": [{"attachment": attachment}], **relates}


def entry(resource: dict[str, Any], full_url: str | None = None, **request: str) -> dict[str, Any]:
    asked = {"method": "POST", "url": resource["resourceType"], **request}
    return {"resource": resource, "request": asked} | ({"fullUrl": full_url} if full_url else {})


def binary() -> dict[str, Any]:
    return entry({"resourceType": "Binary", "contentType": "text/plain", "data": "c2Vjb25k"}, BYTES)


def provenance(*targets: str) -> dict[str, Any]:
    resource = {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "the ward"}}],
    }
    return entry(resource, ORIGIN)


def transaction(*entries: dict[str, Any]) -> Bundle:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def new() -> Bundle:
    return transaction(binary(), entry(document(BYTES), NEW), provenance(NEW))


def update(**old: str) -> Bundle:
    """`old` are members of the old document's request."""
    superseded = {**document("Binary/first", "superseded"), "id": "old"}
    return transaction(
        binary(),
        entry(superseded, method="PUT", url=OLD, **old),
        entry(document(BYTES, replaces=OLD), NEW),
        provenance(NEW, OLD),
    )


def send(client: httpx.Client, bundle: Bundle) -> httpx.Response:
    """To the service that takes this kind of bundle."""
    kind = "update" if any("relatesTo" in one["resource"] for one in bundle["entry"]) else "new"
    return client.post(f"service/document/{kind}", json=bundle)


def places(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert all(issue["code"] == "processing" for issue in answer.json()["issue"])
    return [issue["expression"][0] for issue in answer.json()["issue"]]


def count(client: httpx.Client) -> dict[str, int]:
    """How many resources there are of each type that a document makes."""
    types = ("DocumentReference", "Provenance", "Binary")
    return {name: client.get(f"{name}?_summary=count").json()["total"] for name in types}


BEFORE = {"DocumentReference": 1, "Provenance": 0, "Binary": 1}
AFTER = {"DocumentReference": 2, "Provenance": 1, "Binary": 2}


def test_a_new_document(admin: httpx.Client) -> None:
    answer = send(admin, new()).raise_for_status().json()
    assert (answer["type"], [one["response"]["status"] for one in answer["entry"]]) == (
        "transaction-response",
        ["201 Created"] * 3,
    )
    bytes_, made, origin = answer["entry"]
    assert "resource" not in bytes_
    where = bytes_["response"]["location"].partition("/_history")[0]
    assert made["resource"]["content"][0]["attachment"]["url"] == where
    assert admin.get(where).content == b"second"
    assert origin["resource"]["target"] == [{"reference": f"DocumentReference/{made['resource']['id']}"}]
    assert count(admin) == AFTER


def test_a_document_is_replaced(admin: httpx.Client) -> None:
    answer = send(admin, update(ifMatch='W/"1"')).raise_for_status().json()
    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created", "200 OK", *["201 Created"] * 2]
    made = answer["entry"][2]["resource"]
    assert admin.get(OLD).json()["status"] == "superseded"
    assert made["relatesTo"] == [{"code": "replaces", "target": {"reference": OLD}}]
    current = admin.get("Patient/p/DocumentReference?status=current").json()["entry"]
    assert [one["resource"]["id"] for one in current] == [made["id"]]
    found = admin.get(f"Provenance?target={OLD}").json()["entry"]
    assert [one["resource"]["target"][0]["reference"] for one in found] == [f"DocumentReference/{made['id']}"]


def test_a_document_that_is_replaced_already_is_replaced_no_more(admin: httpx.Client) -> None:
    send(admin, update()).raise_for_status()
    again = send(admin, update())
    assert (again.status_code, again.json()["issue"][0]["expression"]) == (409, ["Bundle.entry[1].resource.status"])
    assert count(admin) == AFTER


def test_if_match_is_respected(admin: httpx.Client) -> None:
    answer = send(admin, update(ifMatch='W/"7"'))
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (412, ["Bundle.entry[1].request.ifMatch"])
    assert count(admin) == BEFORE


def test_two_who_replace_a_document_at_once(door: Door, admin: httpx.Client) -> None:
    """One of them is told to look again: the chain of documents has no fork."""
    start, answers = threading.Barrier(4), []

    def run() -> None:
        client = door.client()
        start.wait()
        answers.append(send(client, update()).status_code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 409, 409, 409]
    assert count(admin) == AFTER


@pytest.mark.parametrize("kind", [new, update])
def test_a_failure_of_the_table_leaves_all_or_nothing(
    admin: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch, kind: Callable[[], Bundle]
) -> None:
    """The table does not answer from the n-th call on, for every n that there is."""
    kept, lost = 0, 0
    for at in range(60):
        put(admin, {**document("Binary/first"), "id": "old"})
        before = count(admin)
        failing = Failing(store.table.client, at, unreachable(), for_ever=True)
        with monkeypatch.context() as patch:
            patch.setattr(store.table, "client", failing)
            answer = send(admin, kind())
        made = {name: number - before[name] for name, number in count(admin).items()}
        status = "superseded" if made["Provenance"] and kind is update else "current"
        assert admin.get(OLD).json()["status"] == status
        assert made in (dict.fromkeys(before, 0), dict.fromkeys(before, 1))
        kept, lost = kept + made["Provenance"], lost + (not made["Provenance"])
        if not failing.struck:
            assert answer.status_code == 200
            break
        assert answer.status_code in (200, 503)
        assert answer.status_code == 503 or made["Provenance"]
    assert kept
    assert lost


Change = Callable[[Bundle], object]


def resource(bundle: Bundle, index: int) -> dict[str, Any]:
    found: dict[str, Any] = bundle["entry"][index]["resource"]
    return found


BASIC = entry({"resourceType": "Basic", "code": {"text": "x"}})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda b: b.update(type="batch"), "Bundle.type"),
        (lambda b: b["entry"].pop(0), "Bundle.entry"),
        (lambda b: b["entry"].pop(1), "Bundle.entry"),
        (lambda b: b["entry"].append({**binary(), "fullUrl": "urn:uuid:more"}), "Bundle.entry[3].resource"),
        (lambda b: b["entry"].append(entry(document(BYTES), "urn:uuid:more")), "Bundle.entry[3].resource"),
        (lambda b: b["entry"].append({**provenance(NEW), "fullUrl": "urn:uuid:more"}), "Bundle.entry[3].resource"),
        (lambda b: b["entry"].append(BASIC), "Bundle.entry[3].resource"),
        (
            lambda b: b["entry"].append({"request": {"method": "DELETE", "url": OLD}}),
            "Bundle.entry[3].request.method",
        ),
        (lambda b: resource(b, 1).update(status="superseded"), "Bundle.entry[1].resource.status"),
        (
            lambda b: resource(b, 1)["content"][0]["attachment"].update(url="Binary/first"),
            "Bundle.entry[1].resource.content",
        ),
        (lambda b: resource(b, 1)["content"][0]["attachment"].pop("url"), "Bundle.entry[1].resource.content"),
        (lambda b: resource(b, 2).update(target=[PATIENT]), "Bundle.entry[2].resource.target"),
    ],
)
def test_departures_of_a_new_document(admin: httpx.Client, change: Change, place: str) -> None:
    bundle = new()
    change(bundle)
    assert place in places(admin.post("service/document/new", json=bundle))
    assert count(admin) == BEFORE


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda b: b["entry"].pop(0), "Bundle.entry"),
        (lambda b: b["entry"].pop(1), "Bundle.entry"),
        (lambda b: b["entry"].append(BASIC), "Bundle.entry[4].resource"),
        (lambda b: b["entry"].append(entry(document(BYTES), "urn:uuid:more")), "Bundle.entry[4].resource"),
        (lambda b: resource(b, 1).update(status="current"), "Bundle.entry[1].resource.status"),
        (lambda b: resource(b, 2).update(status="entered-in-error"), "Bundle.entry[2].resource.status"),
        (lambda b: resource(b, 2).pop("relatesTo"), "Bundle.entry[2].resource.relatesTo"),
        (lambda b: resource(b, 2)["relatesTo"][0].update(code="appends"), "Bundle.entry[2].resource.relatesTo"),
        (
            lambda b: resource(b, 2)["relatesTo"][0]["target"].update(reference="DocumentReference/other"),
            "Bundle.entry[2].resource.relatesTo",
        ),
        (lambda b: resource(b, 3)["target"].pop(0), "Bundle.entry[3].resource.target"),
        (lambda b: resource(b, 3)["target"].pop(1), "Bundle.entry[3].resource.target"),
        (
            lambda b: resource(b, 2)["content"][0]["attachment"].update(url="urn:uuid:none"),
            "Bundle.entry[2].resource.content",
        ),
        (lambda b: b["entry"][1].update(request={"method": "POST", "url": "DocumentReference"}), "Bundle.entry[1].request"),
    ],
)  # fmt: skip
def test_departures_of_an_update(admin: httpx.Client, change: Change, place: str) -> None:
    bundle = update()
    change(bundle)
    assert place in places(admin.post("service/document/update", json=bundle))
    assert (count(admin), admin.get(OLD).json()["status"]) == (BEFORE, "current")


def test_what_replaces_a_document_is_no_new_one(admin: httpx.Client) -> None:
    bundle = transaction(binary(), entry(document(BYTES, replaces=OLD), NEW))
    assert places(admin.post("service/document/new", json=bundle)) == ["Bundle.entry[1].resource.relatesTo"]


def test_all_departures_are_told_at_once(admin: httpx.Client) -> None:
    bundle = update()
    resource(bundle, 2).update(status="entered-in-error")
    resource(bundle, 3)["target"].pop()
    assert len(places(admin.post("service/document/update", json=bundle))) == 2


def test_a_provenance_may_be_left_out(admin: httpx.Client) -> None:
    for bundle in (new(), update()):
        assert send(admin, {**bundle, "entry": bundle["entry"][:-1]}).status_code == 200


def test_faults_of_form_are_those_of_any_transaction(admin: httpx.Client) -> None:
    bundle = new()
    resource(bundle, 1)["status"] = "unheard of"
    answer = send(admin, bundle)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["Bundle.entry[1].resource.status"])
    for body in ({"resourceType": "DocumentReference"}, {"resourceType": "Bundle", "type": "transaction", "entry": {}}):
        assert admin.post("service/document/new", json=body).status_code == 400


def test_references_in_the_forms_that_a_transaction_resolves(admin: httpx.Client) -> None:
    """Ids of the client's own, absolute URLs, relative to the fullUrl, with a version."""
    base = admin.get("Basic").json()["link"][0]["url"].removesuffix("/Basic")
    own = update()
    own["entry"][0] = entry({**resource(own, 0), "id": "b2"}, method="PUT", url="Binary/b2")
    own["entry"][2] = entry(
        {**document("Binary/b2", replaces=f"{base}/{OLD}"), "id": "d2"}, method="PUT", url="DocumentReference/d2"
    )
    own["entry"][3] = provenance("DocumentReference/d2/_history/1", f"{base}/{OLD}")
    assert send(admin, own).status_code == 200
    elsewhere = new()
    root = "http://elsewhere.example/fhir"
    elsewhere["entry"][0]["fullUrl"] = f"{root}/Binary/7"
    elsewhere["entry"][1] = entry(document("Binary/7"), f"{root}/DocumentReference/8")
    elsewhere["entry"][2] = provenance(f"{root}/DocumentReference/8")
    assert send(admin, elsewhere).status_code == 200


def test_a_collection_stands_for_the_transaction(admin: httpx.Client) -> None:
    bundle = update()
    entries = [{name: value for name, value in one.items() if name != "request"} for one in bundle["entry"]]
    assert send(admin, {**bundle, "type": "collection", "entry": entries}).status_code == 200
    assert (count(admin), admin.get(OLD).json()["status"]) == (AFTER, "superseded")


def test_a_new_document_under_an_id_that_is_taken(admin: httpx.Client) -> None:
    bundle = new()
    bundle["entry"][1] = entry({**document(BYTES), "id": "old"}, NEW, method="PUT", url=OLD)
    answer = send(admin, bundle)
    assert (answer.status_code, count(admin)) == (412, BEFORE)


def test_the_plain_transaction_gives_the_same(admin: httpx.Client) -> None:
    for bundle in (new(), update()):
        plain = copy.deepcopy(bundle)
        plain["entry"] = [one for one in plain["entry"] if one.get("fullUrl") != ORIGIN]
        if len(plain["entry"]) == 3:
            put(admin, {**document("Binary/first"), "id": "old"})
        assert admin.post("", json=plain).status_code == 200


def test_less_is_shown_as_prefer_asks(admin: httpx.Client) -> None:
    answer = admin.post("service/document/new", json=new(), headers={"Prefer": "return=minimal"}).json()
    assert not any("resource" in one for one in answer["entry"])
    assert admin.post("$document-new", json=new()).status_code == 200
    assert admin.post("$document-update", json=update()).status_code == 200


# Fences


def test_a_fenced_caller(door: Door, admin: httpx.Client) -> None:
    def share(key: str, account: str) -> None:
        listed = [{"name": "accounts", "valueReference": {"reference": account}}]
        admin.post(f"{key}/$set-accounts", json={"resourceType": "Parameters", "parameter": listed}).raise_for_status()

    share("Patient/p", A)
    ours, theirs = door.client(accounts=[A]), door.client(accounts=[B])
    hidden = send(theirs, update())
    assert places(hidden) == ["Bundle.entry[1].request.url"]
    unknown = update()
    unknown["entry"][1] = entry({**resource(unknown, 1), "id": "none"}, method="PUT", url="DocumentReference/none")
    resource(unknown, 2)["relatesTo"][0]["target"]["reference"] = "DocumentReference/none"
    resource(unknown, 3)["target"][1]["reference"] = "DocumentReference/none"
    assert hidden.text.replace("old", "none") == send(theirs, unknown).text
    # A document of a patient whom they do not see: 422 as of any resource.
    assert send(theirs, new()).status_code == 422
    share(OLD, A)
    done = send(ours, update()).raise_for_status().json()
    made = done["entry"][2]["resource"]
    assert made["meta"]["accounts"] == [{"reference": A}]
    assert theirs.get(f"DocumentReference/{made['id']}").status_code == 404


def test_who_may_not_write_is_refused(door: Door, admin: httpx.Client) -> None:
    for scope in ("system/*.rs", "system/DocumentReference.cruds"):
        client = door.client(scope)
        assert [send(client, bundle).status_code for bundle in (new(), update())] == [403, 403]
    assert count(admin) == BEFORE
    assert door.with_token(None).post("service/document/new", json=new()).status_code == 401
