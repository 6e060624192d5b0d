"""Bundles in the background over HTTP: uploads, answers that are fetched, and a server that is killed in between."""

from __future__ import annotations

import gzip
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running import Server, pages

Json = dict[str, Any]
ASYNC = {"Prefer": "respond-async"}
ENTRIES = 300


def entries(count: int, **patient: Any) -> list[Json]:
    urn = "urn:uuid:9d2b1b7e-5f0e-4c39-9c6b-2f3b8f6a1c11"
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": urn},
    }
    resources: list[Json] = [{"resourceType": "Patient", **patient}, *[observation] * (count - 1)]
    made: list[Json] = [
        {"resource": each, "request": {"method": "POST", "url": each["resourceType"]}} for each in resources
    ]
    made[0]["fullUrl"] = urn
    return made


def transaction(count: int, **patient: Any) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries(count, **patient)}


def finished(client: httpx.Client, location: str) -> Json:
    """The entry of a job's batch-response, when it is over."""
    while (answer := client.get(location)).status_code == 202:
        assert answer.headers["x-progress"]
        time.sleep(0.02)
    entry: Json
    (entry,) = answer.raise_for_status().json()["entry"]
    return entry


def offered(client: httpx.Client) -> Json:
    """The parameters of an upload's offer, by name."""
    answer = client.post(f"{client.base_url}$upload").raise_for_status()
    return {each["name"]: each for each in answer.json()["parameter"]}


@pytest.fixture
def base(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_an_upload_is_processed(client: httpx.Client, base: str, encode: Any) -> None:
    offer = offered(client)
    content = encode(json.dumps(transaction(3)).encode())
    # No token, no header beside what the HTTP library adds by itself.
    assert httpx.put(offer["url"]["valueUrl"], content=content).status_code == 200
    accepted = client.post(base, json=offer["next"]["resource"], headers=ASYNC)
    assert accepted.status_code == 202
    answer = finished(client, accepted.headers["content-location"])
    assert [each["response"]["status"] for each in answer["resource"]["entry"]] == ["201 Created"] * 3


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}], ids=["its own name", "a key"])
def test_submissions_that_race_are_one_job(
    client: httpx.Client, server: Server, base: str, key: dict[str, str]
) -> None:
    """Eight clients at once submit one upload, five times each: one job, whose bundle is processed once."""
    marker = f"race-{len(key)}"
    offer = offered(client)
    body = transaction(20, identifier=[{"system": "urn:race", "value": marker}])
    assert httpx.put(offer["url"]["valueUrl"], content=json.dumps(body).encode()).status_code == 200
    barrier = threading.Barrier(8)

    def submit(_: int) -> list[httpx.Response]:
        with server.client() as own:
            barrier.wait()
            return [own.post(base, json=offer["next"]["resource"], headers=ASYNC | key) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for each in pool.map(submit, range(8)) for answer in each]
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    (location,) = {answer.headers["content-location"] for answer in answers}
    assert [each["response"]["status"] for each in finished(client, location)["resource"]["entry"]] == [
        "201 Created"
    ] * 20
    assert len(list(pages(client, f"/Patient?identifier=urn:race|{marker}"))) == 1


def test_an_upload_in_xml_and_its_answer(client: httpx.Client, base: str) -> None:
    offer = offered(client)
    bundle = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource><Basic><code><text value="x"/>'
        '</code></Basic></resource><request><method value="POST"/><url value="Basic"/></request></entry></Bundle>'
    )
    httpx.put(offer["url"]["valueUrl"], content=bundle.encode())
    parameters = f'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="upload"/><valueId value="{offer["upload"]["valueId"]}"/></parameter></Parameters>'
    xml = {**ASYNC, "Content-Type": "application/fhir+xml"}
    accepted = client.post(base, content=parameters, headers=xml)
    location = accepted.headers["content-location"]
    while (answer := client.get(location, headers={"Accept": "application/fhir+xml"})).status_code == 202:
        time.sleep(0.02)
    assert answer.text.count('<status value="201 Created"/>') == 1


@pytest.mark.parametrize(
    ("body", "prefer", "status"),
    [
        ({"resourceType": "Parameters", "parameter": [{"name": "upload", "valueId": "0" * 32}]}, "respond-async", 404),
        ({"resourceType": "Parameters", "parameter": [{"name": "upload", "valueId": "0" * 32}]}, "return=minimal", 400),
        ({"resourceType": "Parameters"}, "respond-async", 400),
        ({"resourceType": "Patient"}, "respond-async", 400),
    ],
)
def test_what_is_refused(client: httpx.Client, base: str, body: Json, prefer: str, status: int) -> None:
    answer = client.post(base, json=body, headers={"Prefer": prefer})
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert answer.json()["issue"][0]["expression"]


def test_upload_takes_nothing(client: httpx.Client, base: str) -> None:
    assert client.post(f"{base}/$upload", json={"resourceType": "Parameters"}).status_code == 200
    for body in ({"resourceType": "Patient"}, {"resourceType": "Parameters", "parameter": [{"name": "x"}]}):
        assert client.post(f"{base}/$upload", json=body).status_code == 400
    assert client.get(f"{base}/$upload").status_code == 405


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With tokens, and answers that are soon too large."""
    with Server("--empty", "--quiet", ANSWER_LIMIT="2000") as running:
        yield running


def test_an_answer_that_is_too_large_is_fetched(strict: Server) -> None:
    with strict.client(strict.printed("TOKEN")) as client:
        (patient,) = entries(1)
        del patient["fullUrl"]
        body = {"resourceType": "Bundle", "type": "batch", "entry": [patient] * 20}
        accepted = client.post(strict.url, json=body, headers=ASYNC)
        entry = finished(client, accepted.headers["content-location"])
        assert "resource" not in entry
        # No token: a client must not send one to S3, which would refuse it.
        answer = httpx.get(entry["response"]["location"]).json()
        assert [each["response"]["status"] for each in answer["entry"]] == ["201 Created"] * 20


def test_without_a_token_nothing(strict: Server) -> None:
    with strict.client() as client:
        assert client.post(f"{strict.url}/$upload").status_code == 401
        assert client.post(strict.url, json=transaction(2), headers=ASYNC).status_code == 401


def test_a_killed_server_does_a_transaction_once(tmp_path: Path) -> None:
    """Killed at two moments after it had accepted a transaction; started again, the job goes on by itself."""
    arguments = ("--empty", "--no-auth", "--quiet", "--data", str(tmp_path))
    location = path = ""
    for number, moment in enumerate((0.02, 0.3)):
        with Server(*arguments) as server, server.client() as client:
            body = transaction(ENTRIES, identifier=[{"system": "urn:run", "value": str(number)}])
            location = client.post(server.url, json=body, headers=ASYNC).headers["content-location"]
            path = location.removeprefix(server.url)
            threading.Event().wait(moment)
            server.stop(signal.SIGKILL)
        with Server(*arguments) as server, server.client() as client:
            entry = finished(client, server.url + path)
            assert entry["response"]["status"] == "200 OK"
            assert len(entry["resource"]["entry"]) == ENTRIES
            (found,) = pages(client, f"/Patient?identifier=urn:run|{number}")
            members = list(pages(client, f"/Patient/{found['resource']['id']}/Observation?_count=500"))
            assert len(members) == ENTRIES - 1
