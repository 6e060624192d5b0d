"""What is refused, and how: the status, an outcome that points at the fault, and never a 5xx."""

from __future__ import annotations

import gzip
import socket

import httpx
import pytest

from tests.support.running import Server

JSON = {"Content-Type": "application/fhir+json"}
PATIENT = b'{"resourceType":"Patient"}'


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/Patient/no-such", b"", 404),
        ("GET", "/Patient/no-such/_history", b"", 404),
        ("GET", "/NoSuchType/1", b"", 404),
        ("GET", "/no/such/path/at/all/here", b"", 404),
        ("GET", "/job/no-such/status", b"", 404),
        ("POST", "/Patient/anna", b"", 405),
        ("GET", "/Patient/anna/$set-accounts", b"", 405),
        ("POST", "/Patient/no-such/$set-accounts", b'{"resourceType":"Parameters"}', 404),
        ("POST", "/Patient", b"", 400),
        ("POST", "/Patient", b"{", 400),
        ("POST", "/Patient", b"[]", 400),
        ("POST", "/Patient", b'{"resourceType":"Patient","text":' + b"[" * 100 + b"]" * 100 + b"}", 400),
        ("POST", "/Patient", b'{"resourceType":"Patient","id":"\xff"}', 400),
        ("PUT", "/Patient/not_an_id", b'{"resourceType":"Patient","id":"not_an_id"}', 400),
    ],
)
def test_every_error_points_at_its_fault(
    client: httpx.Client, method: str, path: str, body: bytes, status: int
) -> None:
    answer = client.request(method, path, content=body, headers=JSON)
    assert answer.status_code == status
    assert all(issue["expression"] for issue in answer.json()["issue"])


def test_what_was_deleted_points_at_its_id(client: httpx.Client) -> None:
    location = client.post("/Patient", content=PATIENT, headers=JSON).headers["location"]
    instance = location.partition("/_history")[0]
    client.delete(instance)
    for gone, place in ((instance, "id"), (f"{instance}/_history/2", "versionId")):
        answer = client.get(gone)
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (410, [place])


def test_operations_of_instances_are_not_there_on_types(client: httpx.Client) -> None:
    parameters = {"resourceType": "Parameters"}
    assert client.post("/Patient/$set-accounts", json=parameters).status_code == 404
    assert client.post("/Patient/anna/$no-such", json=parameters).status_code == 404


def test_a_wrong_method_tells_the_right_ones(client: httpx.Client) -> None:
    assert "PUT" in client.post("/Patient/anna").headers["allow"]
    assert client.get("/Patient/anna/$set-accounts").headers["allow"] == "POST"


@pytest.mark.parametrize("text", ["json", "application/fhir+json", "application/fhir%2Bjson"])
def test_the_format_may_have_a_plus(client: httpx.Client, text: str) -> None:
    assert client.get(f"{client.base_url}Patient/anna?_format={text}").status_code == 200


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip;q=0", None), ("br, gzip;q=0.5", "gzip"), ("identity", None)])
def test_gzip_is_sent_to_those_who_take_it(client: httpx.Client, accepted: str, encoding: str | None) -> None:
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient"}}]}
    answer = client.post(str(client.base_url), json=bundle, headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.json()["type"] == "batch-response"


def test_gzip_of_several_members_is_read_to_its_end(client: httpx.Client) -> None:
    body = gzip.compress(PATIENT[:10]) + gzip.compress(PATIENT[10:])
    assert client.post("/Patient", content=body, headers=JSON | {"Content-Encoding": "gzip"}).status_code == 201
    for broken in (body[:-1], body + b"more"):
        answer = client.post("/Patient", content=broken, headers=JSON | {"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["Content-Encoding"])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: -5", b"400"),
        (b"Content-Length: five", b"400"),
        (b"Transfer-Encoding: chunked", b"400"),
        # RFC 9112, 6.3: without chunked as the last coding nobody knows where the body ends.
        (b"Transfer-Encoding: gzip", b"400"),
    ],
)
def test_a_broken_message_is_an_outcome(server: Server, head: bytes, status: bytes) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"POST /fhir/R4/Patient HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + head + b"\r\n\r\nzz"
        )
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.split(b" ")[1] == status
    assert b'"OperationOutcome"' in answer


@pytest.mark.parametrize(
    "number", ["1.10", "0.0000000000000000000000000001", "1e-7", "1E5", "-0.0", "12345678901234567890"]
)
def test_a_number_comes_back_as_it_was_written(client: httpx.Client, number: str) -> None:
    quantity = f'"valueQuantity":{{"value":{number}}}'
    body = f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{quantity}}}'
    created = client.post("/Observation", content=body, headers=JSON)
    assert f'"value":{number}}}' in created.text
    assert f'"value":{number}}}' in client.get(created.headers["location"]).text
