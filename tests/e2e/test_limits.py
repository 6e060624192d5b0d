"""Every limit is a setting, and what goes beyond it is a 4xx that names the place. No nesting breaks the server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bulkhead.api.formats import FHIR_TYPES, JSON, XML, rendered
from tests.support.running import Server

Json = dict[str, Any]
DEEP = 100_000
LIMITS = {"REQUEST_LIMIT": "20000", "ENTRY_LIMIT": "5", "DEPTH_LIMIT": "20", "ACCOUNT_LIMIT": "2", "COUNT_LIMIT": "3",
          "PARAMETER_LIMIT": "4", "VALUE_LIMIT": "3", "CHAIN_LIMIT": "2", "INCLUDE_LIMIT": "2", "SORT_LIMIT": "2"}  # fmt: skip
FHIR = 'xmlns="http://hl7.org/fhir"'


@pytest.fixture(scope="module")
def limited() -> Iterator[httpx.Client]:
    """A server with low limits, and without its sample, which goes beyond them."""
    with Server("--no-auth", "--quiet", "--empty", **LIMITS) as running, running.client() as client:
        yield client


def fault(answer: httpx.Response) -> tuple[int, str]:
    """Status, and the expression of the first issue."""
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return answer.status_code, outcome["issue"][0]["expression"][0]


def sent(client: httpx.Client, path: str, resource: Json, name: str = JSON, **headers: str) -> httpx.Response:
    content = rendered(name, resource, pretty=False)
    sending = {"Content-Type": FHIR_TYPES[name], "Accept": FHIR_TYPES[JSON], **headers}
    return client.post(f"{str(client.base_url).rstrip('/')}{path}", content=content, headers=sending)


def nested(levels: int) -> Json:
    """A Patient whose innermost extension is this many extensions deep: two levels of JSON each."""
    extension: Json = {"url": "http://example.org/e", "valueString": "x"}
    for _ in range(levels - 1):
        extension = {"url": "http://example.org/e", "extension": [extension]}
    return {"resourceType": "Patient", "extension": [extension]}


def bundle(count: int) -> Json:
    entry = {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry] * count}


@pytest.mark.parametrize("name", [JSON, XML])
def test_depth(limited: httpx.Client, name: str) -> None:
    assert sent(limited, "/Patient", nested(9), name).status_code == 201
    status, place = fault(sent(limited, "/Patient", nested(11), name))
    assert (status, place.startswith("Patient.extension[0].extension[0]")) == (400, True)


def test_depth_of_narratives(limited: httpx.Client) -> None:
    def patient(levels: int) -> Json:
        inner = "<div>" * (levels - 1) + "x" + "</div>" * (levels - 1)
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'
        return {"resourceType": "Patient", "text": {"status": "generated", "div": div}}

    assert sent(limited, "/Patient", patient(20)).status_code == 201
    assert fault(sent(limited, "/Patient", patient(21))) == (400, "Patient.text.div")


@pytest.mark.parametrize("name", [JSON, XML])
@pytest.mark.parametrize("prefer", ["return=minimal", "respond-async"])
def test_entries(limited: httpx.Client, name: str, prefer: str) -> None:
    assert sent(limited, "", bundle(5), name, prefer=prefer).is_success
    assert fault(sent(limited, "", bundle(6), name, prefer=prefer)) == (413, "Bundle.entry")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_size(limited: httpx.Client, encoding: str) -> None:
    def answer(length: int) -> httpx.Response:
        content = json.dumps({"resourceType": "Basic", "code": {"text": "x" * length}}).encode()
        headers = {"Content-Type": FHIR_TYPES[JSON], "Content-Encoding": encoding}
        return limited.post(
            "/Basic", content=gzip.compress(content) if encoding == "gzip" else content, headers=headers
        )

    assert answer(19_000).status_code == 201
    assert fault(answer(20_000)) == (413, "body")


def test_accounts(limited: httpx.Client) -> None:
    keys = [f"Organization/{n}" for n in range(3)]
    for key in keys:
        limited.put(f"/{key}", json={"resourceType": "Organization", "id": key[-1], "name": "x"}).raise_for_status()
    given = [{"reference": key} for key in keys]
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "accounts", "valueReference": reference} for reference in given],
    }
    assert fault(sent(limited, "/Organization/0/$set-accounts", parameters)) == (400, "Parameters.parameter")
    patient: Json = {"resourceType": "Patient", "meta": {"accounts": given}}
    assert fault(sent(limited, "/Patient", patient)) == (400, "Patient.meta.accounts")
    patient["meta"]["accounts"].pop()
    assert sent(limited, "/Patient", patient).status_code == 201


@pytest.mark.parametrize("path", ["/Patient", "/Patient/_history", "/_history", "/Patient/nobody/*"])
def test_count(limited: httpx.Client, path: str) -> None:
    """R4 lets a server return fewer than asked for; what is no number is refused."""
    for number in range(4):
        limited.put(f"/Patient/c{number}", json={"resourceType": "Patient", "id": f"c{number}"}).raise_for_status()
    for many in ("1000", "1" * 400):
        assert len(limited.get(path, params={"_count": many}).raise_for_status().json().get("entry", [])) <= 3
    for wrong in ("-1", "x", "1.5"):
        assert fault(limited.get(path, params={"_count": wrong})) == (400, "_count")


@pytest.mark.parametrize(
    ("within", "beyond", "place"),
    [
        ("name=a&name=b&name=c&name=d", "name=a&name=b&name=c&name=d&given=e", "given"),
        ("name=a,b,c", "name=a,b,c,d", "name"),
        ("link:Patient.link:Patient.name=a", "link:Patient.link:Patient.link:Patient.name=a", None),
        ("_has:Patient:link:_has:Patient:link:name=a", "_has:Patient:link:_has:Patient:link:link.name=a", None),
        ("_include=*&_revinclude=*", "_include=*&_revinclude=*&_include=Patient:link", "_include"),
        ("_sort=name,-birthdate", "_sort=name,-birthdate,gender", "_sort"),
    ],
)
def test_searches(limited: httpx.Client, within: str, beyond: str, place: str | None) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert limited.get(f"/Patient?{within}").status_code == 200
    for answer in (limited.get(f"/Patient?{beyond}"), limited.post("/Patient/_search", content=beyond, headers=form)):
        assert fault(answer) == (400, place or beyond.partition("=")[0])
        assert answer.json()["issue"][0]["code"] == "too-costly"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/fhir+json", b'{"resourceType":"Patient","extension":' + b"[" * DEEP + b"]" * DEEP + b"}"),
        ("application/fhir+json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        ("application/fhir+json", b'{"resourceType":"Patient","contained":[' * DEEP),
        ("application/json-patch+json", b"[" * DEEP + b"]" * DEEP),
        ("application/merge-patch+json", b'{"a":' * DEEP),
        ("application/fhir+xml", f"<Patient {FHIR}>".encode() + b'<extension url="u">' * DEEP + b"</extension>" * DEEP),
        ("application/fhir+xml", f"<Patient {FHIR}>".encode() + b"<contained><Patient>" * DEEP),
        ("application/x-www-form-urlencoded", b"subject." * DEEP + b"name=x"),
    ],
)  # fmt: skip
def test_no_nesting_breaks_the_server(client: httpx.Client, content_type: str, content: bytes) -> None:
    base = str(client.base_url).rstrip("/")
    posts = ("", "/Patient", "/Observation/_search", "/Patient/$validate", "/Patient/anna/$set-accounts", "/Patient/anna/$meta-add",
             "/Patient/anna/$everything", "/$upload")  # fmt: skip
    headers = {"Content-Type": content_type}
    answers = [client.post(f"{base}{path}", content=content, headers=headers) for path in posts]
    answers += [
        client.request(method, f"{base}/Patient/anna", content=content, headers=headers) for method in ("PUT", "PATCH")
    ]
    assert {answer.status_code for answer in answers} <= {200, 400, 415, 422}
    assert all(
        answer.status_code != 200 or "everything" in str(answer.url) or "_search" in str(answer.url)
        for answer in answers
    )
