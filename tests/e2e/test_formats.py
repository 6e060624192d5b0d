"""JSON and XML in and out by HTTP, raw Binaries, HEAD, OPTIONS and CORS (R4 http.html, binary.html)."""

from __future__ import annotations

import base64
import gzip
import re
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from bulkhead.fhir import json, xml
from tests.support.shared_data import shared

JSON, XML = "application/fhir+json", "application/fhir+xml"
IN_XML = {"Accept": XML, "Content-Type": XML}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a &amp; b<br></br></div>'},
    "active": True,
    "name": [{"family": 'Ärz & "Co" <x>', "given": ["Å", "B"], "_given": [None, {"id": "b"}]}],
    "birthDate": "1970-01",
}
PIXELS = bytes(range(256))
FHIR = "{http://hl7.org/fhir}"


def media_type(answer: httpx.Response) -> str:
    header: str = answer.headers.get("content-type", "")
    return header.partition(";")[0]


def content(answer: httpx.Response) -> dict[str, Any]:
    """The resource, without what the server adds."""
    found = xml.loads(answer.content) if "xml" in media_type(answer) else json.loads(answer.content)
    return {name: value for name, value in found.items() if name not in ("id", "meta")}


@pytest.fixture
def patient(client: httpx.Client) -> str:
    answer = client.post("/Patient", json=PATIENT, headers={"Content-Type": JSON})
    return f"/Patient/{answer.json()['id']}"


def test_create_read_update_in_xml(client: httpx.Client) -> None:
    made = client.post("/Patient", content=xml.dumps(PATIENT), headers=IN_XML)
    assert (made.status_code, media_type(made)) == (201, XML)
    assert content(made) == PATIENT
    assert ET.fromstring(made.content).tag == f"{FHIR}Patient"
    key = made.headers["location"].partition("/_history")[0]
    changed = xml.loads(made.content) | {"active": False}
    updated = client.put(key, content=xml.dumps(changed), headers=IN_XML)
    assert (updated.status_code, content(updated)) == (200, PATIENT | {"active": False})
    assert content(client.get(key)) == PATIENT | {"active": False}
    assert content(client.get(f"{key}/_history/1", headers={"Accept": XML})) == PATIENT
    history = client.get(f"{key}/_history", headers={"Accept": XML})
    assert [entry["request"]["method"] for entry in xml.loads(history.content)["entry"]] == ["PUT", "POST"]


def test_search_and_transaction_in_xml(client: httpx.Client) -> None:
    entry = {"fullUrl": "urn:uuid:6a1c5b8e-0000-4000-8000-000000000001", "resource": PATIENT}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry | {"request": {"method": "POST", "url": "Patient"}}],
    }
    answer = client.post("", content=gzip.compress(xml.dumps(bundle)), headers=IN_XML | {"Content-Encoding": "gzip"})
    assert (answer.status_code, media_type(answer)) == (200, XML)
    identifier = xml.loads(answer.content)["entry"][0]["response"]["location"].split("/_history")[0].rpartition("/")[2]
    found = client.get("/Patient", params={"_id": identifier, "_format": "xml"})
    assert [each["resource"]["name"] for each in xml.loads(found.content)["entry"]] == [PATIENT["name"]]
    form = {"Accept": XML, "Content-Type": "application/x-www-form-urlencoded"}
    posted = client.post("/Patient/_search", content=f"_id={identifier}", headers=form)
    assert (media_type(posted), len(xml.loads(posted.content)["entry"])) == (XML, 1)


def test_set_accounts_in_xml(client: httpx.Client, patient: str) -> None:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "accounts", "valueReference": {"reference": "Organization/harbour"}}],
    }
    answer = client.post(f"{patient}/$set-accounts", content=xml.dumps(parameters), headers=IN_XML)
    assert xml.loads(answer.content)["parameter"] == [{"name": "resourcesUpdated", "valueInteger": 1}]
    shown = client.get(patient, headers={"Accept": XML})
    assert xml.loads(shown.content)["meta"]["accounts"] == [{"reference": "Organization/harbour"}]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        (XML, XML),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("application/json", "application/json"),
        (f"{XML};q=0.5, {JSON};q=0.9", JSON),
        (f"{XML};q=0.9, {JSON};q=0.5", XML),
        ("text/turtle, application/fhir+xml;q=0.1", XML),
        (f"{XML}; fhirVersion=4.0", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
    ],
)
def test_accept(client: httpx.Client, patient: str, accept: str | None, expected: str) -> None:
    request = client.build_request("GET", patient)
    request.headers.pop("accept")
    if accept:
        request.headers["Accept"] = accept
    answer = client.send(request)
    assert (answer.status_code, media_type(answer)) == (200, expected)
    assert content(answer) == PATIENT


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_format=xml", XML),
        ("_format=json", JSON),
        ("_format=application/fhir%2Bxml", XML),
        ("_format=application/fhir+xml", XML),
        ("_format=text/xml", XML),
    ],
)
def test_format_wins_over_accept(client: httpx.Client, patient: str, query: str, expected: str) -> None:
    other = XML if expected == JSON else JSON
    assert media_type(client.get(f"{patient}?{query}", headers={"Accept": other})) == expected


def test_pretty(client: httpx.Client, patient: str) -> None:
    for name in ("json", "xml"):
        plain = client.get(patient, params={"_format": name})
        pretty = client.get(patient, params={"_format": name, "_pretty": "true"})
        assert b"\n  " in pretty.content
        assert b"\n  " not in plain.content
        assert content(plain) == content(pretty)


@pytest.mark.parametrize("accept", ["text/turtle", "image/png", f"{JSON}; fhirVersion=5.0", f"{JSON};q=0"])
def test_not_acceptable(client: httpx.Client, patient: str, accept: str) -> None:
    answer = client.get(patient, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["resourceType"]) == (406, "OperationOutcome")
    assert client.get(patient, params={"_format": "ttl"}).status_code == 406


@pytest.mark.parametrize("content_type", ["text/plain", f"{JSON}; charset=iso-8859-1", f"{XML}; fhirVersion=3.0"])
def test_unsupported_media_type(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/Patient", content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, content(answer)["issue"][0]["expression"]) == (415, ["Content-Type"])


def test_patch_in_xml(client: httpx.Client, patient: str) -> None:
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.active"},
        {"name": "value", "valueBoolean": False},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = client.patch(patient, content=xml.dumps(patch), headers=IN_XML)
    assert (answer.status_code, content(answer)) == (200, PATIENT | {"active": False})


def test_what_the_server_says_of_itself_in_xml(client: httpx.Client) -> None:
    for path in ("/metadata", "/OperationDefinition/bulkhead-set-accounts"):
        assert xml.loads(client.get(path, headers={"Accept": XML}).content) == json.loads(client.get(path).content)


def test_errors_in_the_format_asked_for(client: httpx.Client) -> None:
    missing = client.get("/Patient/nobody", headers={"Accept": XML})
    assert (missing.status_code, media_type(missing)) == (404, XML)
    assert xml.loads(missing.content)["resourceType"] == "OperationOutcome"
    unrouted = client.get("/nothing/at/all/here/today", headers={"Accept": XML})
    assert (unrouted.status_code, media_type(unrouted)) == (404, XML)


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        (b"<Patient", "body"),
        (b'<Patient xmlns="http://hl7.org/fhir"><nothing value="1"/></Patient>', "Patient.nothing"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>', "body"),
        (b'<Patient xmlns="http://hl7.org/fhir"><active value="yes"/></Patient>', "Patient.active"),
        (b'{"resourceType": "Patient"}', "body"),
        (b"", "body"),
    ],
)
def test_faulty_xml(client: httpx.Client, body: bytes, expression: str) -> None:
    answer = client.post("/Patient", content=body, headers={"Content-Type": XML})
    assert (answer.status_code, media_type(answer)) == (400, XML)
    assert xml.loads(answer.content)["issue"][0]["expression"] == [expression]


def test_head(client: httpx.Client, patient: str) -> None:
    whole = client.get(patient)
    answer = client.head(patient)
    assert (answer.status_code, answer.content) == (200, b"")
    for name in ("content-type", "etag", "last-modified", "content-length"):
        assert answer.headers[name] == whole.headers[name]
    assert client.head("/Patient/nobody").status_code == 404


def test_options_and_cors(client: httpx.Client, patient: str) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    preflight = client.options(patient, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert {"GET", "HEAD", "PUT", "DELETE"} <= set(re.split(", *", client.options(patient).headers["allow"]))
    answer = client.get(patient, headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "etag" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in client.get(patient).headers


def test_summary_and_elements(client: httpx.Client, patient: str) -> None:
    summary = client.get(patient, params={"_summary": "true"}).json()
    assert "text" not in summary
    assert summary["name"] == PATIENT["name"]
    assert [tag["code"] for tag in summary["meta"]["tag"]] == ["SUBSETTED"]
    assert content(client.get(patient, params={"_elements": "birthDate"})) == {
        "resourceType": "Patient",
        "birthDate": PATIENT["birthDate"],
    }
    both = client.get(f"{patient}?_elements=birthDate&_elements=gender,active").json()
    assert both.keys() & PATIENT.keys() == {"resourceType", "birthDate", "gender", "active"} & PATIENT.keys()
    assert client.get(patient, params={"_summary": "some"}).status_code == 400
    assert client.get(f"{patient}?_summary=true&_summary=text").status_code == 400
    assert "tag" not in client.get(patient).json()["meta"]


# --- Binary


def test_raw_binary_in_and_out(client: httpx.Client, patient: str) -> None:
    context = {"X-Security-Context": patient.strip("/")}
    made = client.post("/Binary", content=PIXELS, headers={"Content-Type": "image/png", **context})
    assert made.status_code == 201
    key = made.headers["location"].partition("/_history")[0]
    raw = client.get(key, headers={"Accept": "image/png"})
    assert (raw.content, raw.headers["content-type"]) == (PIXELS, "image/png")
    assert raw.headers["x-security-context"] == patient.strip("/")
    assert client.get(key, headers={"Accept": "*/*"}).content == PIXELS
    assert client.get(f"{key}/_history/1", headers={"Accept": "*/*"}).content == PIXELS
    for part in ("_elements=contentType", "_summary=true"):
        assert client.get(f"{key}?{part}", headers={"Accept": "*/*"}).json()["contentType"] == "image/png"
    expected = {
        "resourceType": "Binary",
        "contentType": "image/png",
        "securityContext": {"reference": patient.strip("/")},
        "data": base64.b64encode(PIXELS).decode(),
    }
    for accept in (JSON, XML, f"{JSON}, */*;q=0.1"):
        assert content(client.get(key, headers={"Accept": accept})) == expected
    head = client.head(key, headers={"Accept": "image/png"})
    assert (head.headers["content-type"], head.headers["content-length"]) == ("image/png", "256")


def test_raw_binary_update(client: httpx.Client) -> None:
    text = "Größe\n".encode("latin-1")
    made = client.put("/Binary/letter", content=text, headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    assert made.status_code == 201
    raw = client.get("/Binary/letter")
    assert (raw.content, raw.headers["content-type"]) == (text, "text/plain; charset=iso-8859-1")


def test_raw_binary_conditional_update(client: httpx.Client) -> None:
    made = client.put("/Binary?_id=pixels", content=PIXELS, headers={"Content-Type": "image/png"})
    assert made.status_code == 201
    assert client.get(made.headers["location"], headers={"Accept": "image/png"}).content == PIXELS


@pytest.mark.parametrize("content_type", [JSON, "application/json", XML, "application/xml"])
def test_binary_as_a_resource(client: httpx.Client, content_type: str) -> None:
    binary = {"resourceType": "Binary", "contentType": "text/css", "data": "YQ=="}
    body = xml.dumps(binary) if "xml" in content_type else json.dumps(binary)
    made = client.post("/Binary", content=body, headers={"Content-Type": content_type, "Accept": JSON})
    assert (made.status_code, content(made)) == (201, binary)


def test_a_document_that_is_json(client: httpx.Client) -> None:
    made = client.post("/Binary", content=b"[1, 2]", headers={"Content-Type": "application/json"})
    key = made.headers["location"].partition("/_history")[0]
    assert client.get(key, headers={"Accept": "application/json"}).content == b"[1, 2]"
    assert client.get(key, headers={"Accept": JSON}).json()["contentType"] == "application/json"


# --- Real data


def test_official_examples(client: httpx.Client) -> None:
    """POST as JSON, GET as XML, POST that XML: the same resource each time. A slice of the 710 examples."""
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".json"))[::12]
        for name in names:
            example = json.loads(archive.read(name))
            path = f"/{example['resourceType']}"
            first = client.post(path, content=json.dumps(example), headers={"Content-Type": JSON})
            if first.status_code == 400:
                continue  # some official examples are invalid
            key = first.headers["location"].partition("/_history")[0]
            read = client.get(key, headers={"Accept": XML})
            again = client.post(path, content=read.content, headers={"Content-Type": XML, "Accept": JSON})
            assert (name, again.status_code) == (name, 201)
            assert json.canonical(content(again)) == json.canonical(content(first)), name
