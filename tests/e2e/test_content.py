"""What is right and wrong about the content of a resource, by every way in: create, update, patch, `$validate`, bundles, operations."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
FHIR_JSON, FHIR_XML = {"Content-Type": "application/fhir+json"}, {"Content-Type": "application/fhir+xml"}
JSON_PATCH, MERGE_PATCH = (
    {"Content-Type": "application/json-patch+json"},
    {"Content-Type": "application/merge-patch+json"},
)
OBSERVATION: Json = {"resourceType": "Observation", "id": "content", "status": "final", "code": {"text": "x"}}


def issues(answer: httpx.Response) -> list[tuple[str, list[str]]]:
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return [(issue["code"], issue.get("expression", [])) for issue in outcome["issue"]]


TWICE: list[tuple[str, str, dict[str, str], str, str]] = [
    ("POST", "/Basic", FHIR_JSON, '{"resourceType":"Basic","code":{"text":"a"},"code":{"text":"b"}}', "Basic.code"),
    ("PUT", "/Basic/twice", FHIR_JSON, '{"resourceType":"Basic","id":"twice","code":{"text":"a","text":"b"}}', "Basic.code.text"),
    ("PUT", "/Basic?identifier=urn:x|1", FHIR_JSON, '{"resourceType":"Basic","id":"a","id":"b","code":{"text":"a"}}', "Basic.id"),
    ("POST", "/Basic/$validate", FHIR_JSON, '{"resourceType":"Basic","code":{"text":"a"},"code":{"text":"b"}}', "Basic.code"),
    ("POST", "", FHIR_JSON, '{"resourceType":"Bundle","type":"transaction","entry":[],"entry":[]}', "Bundle.entry"),
    ("POST", "", FHIR_JSON, '{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient","url":"Basic"}}]}', "Bundle.entry[0].request.url"),
    ("POST", "/Patient/anna/$set-accounts", FHIR_JSON, '{"resourceType":"Parameters","parameter":[{"name":"propagate","valueBoolean":false}],"parameter":[]}', "Parameters.parameter"),
    ("POST", "/Patient/anna/$meta-add", FHIR_JSON, '{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":{"tag":[],"tag":[]}}]}', "Parameters.parameter[0].valueMeta.tag"),
    ("POST", "/Patient/anna/$everything", FHIR_JSON, '{"resourceType":"Parameters","parameter":[],"parameter":[]}', "Parameters.parameter"),
    ("PATCH", "/Patient/anna", JSON_PATCH, '[{"op":"add","path":"/language","value":"en","value":"de"}]', "patch[0].value"),
    ("PATCH", "/Patient/anna", MERGE_PATCH, '{"language":"en","language":"de"}', "body.language"),
    ("PATCH", "/Patient/anna", FHIR_JSON, '{"resourceType":"Parameters","parameter":[],"parameter":[]}', "Parameters.parameter"),
    ("POST", "/Basic", FHIR_JSON, '{"resourceType":"Basic","code":{"t\\u0065xt":"a","text":"b"}}', "Basic.code.text"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "headers", "body", "place"), TWICE)
def test_a_member_given_twice_is_refused_in_every_kind_of_body(
    client: httpx.Client, method: str, path: str, headers: dict[str, str], body: str, place: str
) -> None:
    answer = client.request(method, f"{client.base_url}".rstrip("/") + path, content=body, headers=headers)
    assert (answer.status_code, issues(answer)) == (400, [("structure", [place])])


def parameters(path: str, name: str, **value: Any) -> Json:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": path}, {"name": name, **value}]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@pytest.fixture
def observation(client: httpx.Client) -> str:
    """Where an Observation is whose subject is a Patient."""
    body = {**OBSERVATION, "subject": {"reference": "Patient/anna"}}
    client.put("/Observation/content", json=body).raise_for_status()
    return "/Observation/content"


@pytest.mark.parametrize("absolute", [False, True])
def test_conditional_references_are_for_bundles_whatever_the_way_in(
    client: httpx.Client, observation: str, absolute: bool
) -> None:
    before = client.get(observation).json()
    criteria = f"{client.base_url if absolute else ''}Patient?identifier=http://e|NOBODY"
    body = {**OBSERVATION, "subject": {"reference": criteria}}
    place = ["Observation.subject.reference"]
    assert issues(client.post("/Observation/$validate", json=body)) == [("value", place)]
    replaced = [{"op": "replace", "path": "/subject/reference", "value": criteria}]
    answers = [
        client.post("/Observation", json=body),
        client.put(observation, json=body),
        client.patch(observation, json=replaced, headers=JSON_PATCH),
        client.patch(observation, json={"subject": {"reference": criteria}}, headers=MERGE_PATCH),
        client.patch(
            observation, json=parameters("Observation.subject", "value", valueReference={"reference": criteria})
        ),
    ]
    assert [(answer.status_code, issues(answer)) for answer in answers] == [(400, [("value", place)])] * len(answers)
    assert client.get(observation).json() == before


@pytest.mark.parametrize(
    ("below", "wrong"),
    [("Patient/anna", False), ("Patient/anna/_history/1", False), ("Organization/a", True), ("NoSuch/1", True)],
)
def test_an_absolute_reference_below_the_own_base_is_judged_as_the_relative_one(
    client: httpx.Client, observation: str, below: str, wrong: bool
) -> None:
    """Elsewhere, nothing is known of what a URL leads to."""
    body = {**OBSERVATION, "subject": {"reference": f"{client.base_url}{below}"}}
    validated, written = client.post("/Observation/$validate", json=body), client.put(observation, json=body)
    if wrong:
        assert issues(validated) == issues(written)
        assert issues(validated)[0][1] == ["Observation.subject.reference"]
        assert written.status_code == 400
    else:
        assert validated.json()["issue"][0]["severity"] == "information"
        assert written.json()["subject"]["reference"] == below
    foreign = {**OBSERVATION, "subject": {"reference": f"http://elsewhere.example/fhir/{below}"}}
    assert client.post("/Observation/$validate", json=foreign).json()["issue"][0]["severity"] == "information"


BROKEN: list[tuple[str, Json, str]] = [
    ("org-1", {"resourceType": "Organization"}, "Organization"),
    ("per-1", {"resourceType": "Patient", "name": [{"family": "x", "period": {"start": "2024-05-01", "end": "2023-01-01"}}]}, "Patient.name[0].period"),
    ("obs-6", {**OBSERVATION, "valueString": "v", "dataAbsentReason": {"text": "u"}}, "Observation"),
    ("qty-3", {**OBSERVATION, "valueQuantity": {"value": 1, "code": "mg"}}, "Observation.value"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "body", "place"), BROKEN, ids=[key for key, _, _ in BROKEN])
def test_an_invariant_is_named_by_every_way_in(client: httpx.Client, key: str, body: Json, place: str) -> None:
    kind = body["resourceType"]
    identified, inside = {**body, "id": "broken"}, place.replace(kind, "Bundle.entry[0].resource", 1)
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": body, "request": {"method": "POST", "url": kind}}],
    }
    for answer, status in (
        (client.post(f"/{kind}/$validate", json=body), 200),
        (client.post(f"/{kind}", json=body), 400),
        (client.put(f"/{kind}/broken", json=identified), 400),
        (client.post(str(client.base_url).rstrip("/"), json=bundle), 400),
    ):
        (issue,) = answer.json()["issue"]
        assert (answer.status_code, issue["code"]) == (status, "invariant")
        assert issue["expression"] in ([place], [inside])
        assert issue["diagnostics"].endswith(f"({key})")


@pytest.mark.parametrize("patch", ["json", "merge", "fhirpath"])
def test_a_patch_that_breaks_an_invariant_changes_nothing(client: httpx.Client, observation: str, patch: str) -> None:
    before = client.get(observation).json()
    absent, value = {"text": "unknown"}, "v"
    client.put(observation, json={**OBSERVATION, "subject": {"reference": "Patient/anna"}, "dataAbsentReason": absent})
    before = client.get(observation).json()
    match patch:
        case "json":
            body: Any = [{"op": "add", "path": "/valueString", "value": value}]
            answer = client.patch(observation, json=body, headers=JSON_PATCH)
        case "merge":
            answer = client.patch(observation, json={"valueString": value}, headers=MERGE_PATCH)
        case _:
            parts = [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Observation"}, {"name": "name", "valueString": "value"}, {"name": "value", "valueString": value}]  # fmt: skip
            body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
            answer = client.patch(observation, json=body, headers=FHIR_JSON)
    assert (answer.status_code, issues(answer)) == (400, [("invariant", ["Observation"])])
    assert client.get(observation).json() == before


VALUES: list[tuple[str, str, str]] = [
    ('{"resourceType":"Patient","birthDate":"2020-02-30"}', '<birthDate value="2020-02-30"/>', "Patient.birthDate"),
    ('{"resourceType":"Patient","active":"true"}', '<active value="yes"/>', "Patient.active"),
    ('{"resourceType":"Patient","gender":""}', '<gender value=""/>', "Patient.gender"),
    ('{"resourceType":"Patient","multipleBirthInteger":1.0}', '<multipleBirthInteger value="1.0"/>', "Patient.multipleBirth"),
    ('{"resourceType":"Patient","language":" en"}', '<language value=" en"/>', "Patient.language"),
    ('{"resourceType":"Patient","name":[{"family":"a","id":"a b"}]}', '<name id="a b"><family value="a"/></name>', "Patient.name[0].id"),
    ('{"resourceType":"Patient","name":[{"family":"a","id":"a"},{"family":"b","id":"a"}]}', '<name id="a"><family value="a"/></name><name id="a"><family value="b"/></name>', "Patient.name[1].id"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "xml", "place"), VALUES, ids=[place for _, _, place in VALUES])
def test_a_wrong_value_is_named_in_json_and_in_xml(client: httpx.Client, text: str, xml: str, place: str) -> None:
    """What the reader of XML refuses before anything is validated is a 400 of `$validate` as well: there is no resource to speak of."""
    document = f'<Patient xmlns="http://hl7.org/fhir">{xml}</Patient>'
    for path in ("/Patient", "/Patient/$validate"):
        for body, headers in ((text, FHIR_JSON), (document, FHIR_XML)):
            answer = client.post(path, content=body, headers={**headers, "Accept": "application/fhir+json"})
            assert answer.status_code in ((400,) if path == "/Patient" else (200, 400))
            (issue,) = answer.json()["issue"]
            assert (issue["severity"], issue["expression"]) == ("error", [place])


@pytest.mark.parametrize("operation", ["json", "fhirpath"])
def test_a_patch_with_a_wrong_value_is_refused(client: httpx.Client, observation: str, operation: str) -> None:
    if operation == "json":
        body: Any = [{"op": "add", "path": "/effectiveDateTime", "value": "2020-02-30"}]
        answer = client.patch(observation, content=json.dumps(body), headers=JSON_PATCH)
    else:
        parts = [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Observation"}, {"name": "name", "valueString": "effective"}, {"name": "value", "valueDateTime": "2020-02-30"}]  # fmt: skip
        answer = client.patch(
            observation, json={"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        )
    assert answer.status_code == 400
    assert issues(answer)[0][1] != []
    assert "effectiveDateTime" not in client.get(observation).json()


def test_an_entry_that_asks_for_what_is_no_resource_fails_alone(client: httpx.Client) -> None:
    """In XML, too, where what is no resource could not be written."""
    entries = [
        {"request": {"method": "GET", "url": url}} for url in (".well-known/smart-configuration", "Patient/anna")
    ]
    body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    base = str(client.base_url).rstrip("/")
    answered = client.post(base, json=body).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in answered] == ["400", "200"]
    assert client.post(base, json=body, headers={"Accept": "application/fhir+xml"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/Patient"), ("PUT", "/Patient"), ("POST", "/Patient"), ("POST", "/Patient/_search")]
)
def test_a_body_that_is_sent_as_a_form_is_not_repeated(client: httpx.Client, method: str, path: str) -> None:
    body = '{"resourceType": "Patient", "name": [{"family": "Unheard-of"}], "text": "a:b:c"}'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.request(method, path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Unheard-of" not in answer.text
