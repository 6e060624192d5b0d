"""`POST [base]` through its handler: gzip, Prefer, reads of every kind within bundles, and what a fault looks like."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from bulkhead.store import Store, heads
from functions import http
from tests.support.bundle_samples import SYSTEM, bundle, create, delete, get, observation, patient, statuses, update

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _served(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "connect", lambda: store)


def send(body: bytes, scope: str = "system/*.cruds", **headers: str) -> Json:
    """The event that API Gateway makes of an answer to `POST [base]`."""
    claims = {"sub": "somebody", "scope": scope}
    return http.serve(
        {
            "routeKey": "POST /fhir/R4",
            "rawPath": "/fhir/R4",
            "rawQueryString": "",
            "headers": {"host": "localhost", **headers},
            "requestContext": {"http": {"method": "POST"}, "authorizer": {"jwt": {"claims": claims}}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
    )


def post(
    *entries: Any, kind: str = "transaction", status: int = 200, scope: str = "system/*.cruds", **headers: str
) -> Json:
    answer = send(json.dumps(bundle(*entries, kind=kind)).encode(), scope, **headers)
    assert answer["statusCode"] == status, answer["body"]
    content: Json = json.loads(answer["body"])
    return content


def test_gzip_both_ways() -> None:
    entries = [create(patient(str(n)), f"urn:uuid:{n}") for n in range(60)]
    body = gzip.compress(json.dumps(bundle(*entries)).encode())
    answer = send(body, **{"content-encoding": "gzip", "accept-encoding": "gzip"})
    assert answer["headers"]["content-encoding"] == "gzip"
    made = json.loads(gzip.decompress(base64.b64decode(answer["body"])))
    assert statuses(made["entry"]) == ["201"] * 60


def test_every_kind_of_read() -> None:
    post(update(patient("1", id="a")), update(observation("Patient/a", id="o")))
    post(update(patient("1", id="a", active=True)))
    reads = [
        get("Patient/a"),
        get("Patient/a/_history/1"),
        get("Patient/a/_history"),
        get(f"Patient?identifier={SYSTEM}%7C1"),
        get("Patient/a/Observation"),
        get("Patient/a/*?_count=1"),
        {"request": {"method": "POST", "url": "Observation/_search?patient=a"}},
        {"request": {"method": "HEAD", "url": "Patient/a"}},
        {"request": {"method": "GET", "url": "Patient/a", "ifNoneMatch": 'W/"2"'}},
    ]
    for kind in ("transaction", "batch"):
        answers = post(*reads, kind=kind)["entry"]
        assert statuses(answers) == ["200"] * 8 + ["304"]
        resources = [content.get("resource", {}) for content in answers]
        assert resources[0]["meta"]["versionId"] == "2"
        assert answers[0]["response"]["etag"] == 'W/"2"'
        assert answers[0]["response"]["lastModified"] == resources[0]["meta"]["lastUpdated"]
        assert resources[1]["meta"]["versionId"] == "1"
        assert [found.get("type") for found in resources[2:7]] == ["history", *["searchset"] * 4]
        assert [found.get("total") for found in resources[2:5]] == [2, 1, 1]
        assert len(resources[5]["entry"]) == 1
        assert resources[6]["entry"][0]["resource"]["id"] == "o"
        assert resources[7] == resources[8] == {}


def test_reads_of_a_transaction_see_what_it_writes() -> None:
    answers = post(get(f"Patient?identifier={SYSTEM}|1"), create(patient("1")))["entry"]
    assert answers[0]["resource"]["total"] == 1


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("Nonsense", 404),
        ("Nonsense/1", 404),
        ("Patient?_sort=nonsense", 400),
        ("Patient/absent", 404),
        ("nonsense/1/2/3/4", 400),
    ],
)
def test_a_read_that_cannot_succeed(url: str, status: int) -> None:
    outcome = post(create(patient()), get(url), status=status)
    assert outcome["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    answers = post(create(patient()), get(url), kind="batch")["entry"]
    assert statuses(answers) == ["201", str(status)]
    assert answers[1]["response"]["outcome"]["issue"][0]["expression"][0].startswith("Bundle.entry[1]")


def test_reads_have_the_rights_of_the_caller() -> None:
    post(update(patient("1", id="a")))
    answers = post(get("Patient/a"), get("Patient?name=x"), kind="batch", scope="system/Observation.cruds")["entry"]
    assert statuses(answers) == ["403", "403"]


def test_prefer_representation_shows_what_a_read_shows() -> None:
    made = post(create(patient("1")), prefer="return=representation")["entry"][0]
    read = post(get(made["response"]["location"].partition("/_history")[0]))["entry"][0]
    assert made["resource"] == read["resource"]
    assert made["resource"]["meta"]["compartment"] == [{"reference": f"Patient/{read['resource']['id']}"}]


def test_a_fault_is_one_outcome_that_names_the_entry() -> None:
    outcome = post(create(patient("1")), create(patient(gender="x", active="y")), status=400)
    assert outcome["resourceType"] == "OperationOutcome"
    assert sorted(issue["expression"][0] for issue in outcome["issue"]) == [
        "Bundle.entry[1].resource.active",
        "Bundle.entry[1].resource.gender",
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"resourceType": "Patient"}', b'{"resourceType": "Bundle"}']
)
def test_nonsense_is_refused(body: bytes) -> None:
    answer = send(body)
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["resourceType"] == "OperationOutcome"


def test_an_operation_is_refused_where_it_stands() -> None:
    operation = {
        "request": {"method": "POST", "url": "Patient/a/$set-accounts"},
        "resource": {"resourceType": "Parameters"},
    }
    answers = post(operation, delete("Patient/a"), kind="batch")["entry"]
    assert statuses(answers) == ["403", "204"]


def test_what_inherits_too_much_to_be_stored_is_refused_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort of patients, each with its accounts: the other entries of a batch are done."""
    monkeypatch.setattr(heads, "ITEM_BYTES", 4_000)
    accounts = {"accounts": [{"reference": "Organization/a"}]}
    names = [f"a-patient-of-the-cohort-{n}" for n in range(90)]
    scope = "system/*.cruds accounts.write"
    post(*(update(patient(id=name, meta=accounts)) for name in names), kind="batch", scope=scope)
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in names]
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": members}
    answer = post(create(patient("1")), create(group), kind="batch")
    assert statuses(answer["entry"]) == ["201", "413"]
    (issue,) = answer["entry"][1]["response"]["outcome"]["issue"]
    assert (issue["code"], issue["expression"]) == ("too-long", ["Bundle.entry[1].resource"])
    refused = post(create(patient("2")), create(group), status=413)
    assert refused["issue"][0]["expression"] == ["Bundle.entry[1].resource"]
