"""The client of a cold start: made where the environment says all that it needs, and boto3's otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bulkhead.store import Store, direct, keys
from bulkhead.store.direct import DirectClient
from infra.local import aws
from infra.local.dynamodb import Process

NO_GUARD: Any = None
PLAIN = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "key",
    "AWS_SESSION_TOKEN": "token",
}


def made(environment: dict[str, str], endpoint_url: str | None = None) -> DirectClient | None:
    return direct.client(
        environment, connections=2, timeout=(1, 1), endpoint_url=endpoint_url, make_full=lambda: pytest.fail("boto3")
    )


def without(name: str) -> dict[str, str]:
    return {key: text for key, text in PLAIN.items() if key != name}


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, "https://dynamodb.eu-central-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "http://all"}, "http://all"),
        ({"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_DYNAMODB": "http://own"}, "http://own"),
    ],
)
def test_where_it_goes(more: dict[str, str], endpoint: str) -> None:
    found = made(PLAIN | more)
    assert found
    assert (found.meta.endpoint_url, found.meta.region_name) == (endpoint, "eu-central-1")
    given = made(PLAIN | more, "http://given")
    assert given
    assert given.meta.endpoint_url == "http://given"


def test_the_endpoint_is_the_one_that_boto3_finds() -> None:
    import boto3

    for region in ("eu-central-1", "us-east-1", "ap-southeast-2", "me-central-1"):
        found = made(PLAIN | {"AWS_REGION": region})
        assert found
        assert found.meta.endpoint_url == boto3.client("dynamodb", region_name=region).meta.endpoint_url


@pytest.mark.parametrize("region", ["cn-north-1", "us-iso-east-1", "us-isob-east-1", "us-gov-west-1"])
def test_other_partitions_are_boto3s(region: str) -> None:
    assert made(PLAIN | {"AWS_REGION": region}) is None


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_what_the_environment_does_not_say_boto3_finds_out(name: str) -> None:
    assert made(without(name)) is None


@pytest.mark.parametrize("name", [*direct._UNUSUAL, *direct._ON_THE_WAY])
def test_what_it_does_not_understand_is_boto3s(name: str) -> None:
    assert made(PLAIN | {name: "something"}) is None


@pytest.mark.parametrize("name", direct._ON_THE_WAY)
@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("localhost", True),
        ("[::1]", True),
        ("127.0.0.1.example", False),
        ("128.0.0.1", False),
    ],
)
def test_what_is_on_the_way_does_not_matter_to_this_machine(name: str, host: str, *, is_here: bool) -> None:
    assert (made(PLAIN | {name: "something"}, f"http://{host}:1") is not None) == is_here


def test_the_local_server_has_it_too() -> None:
    """It keeps boto3 from its user's own files of settings, by a path that holds nothing."""
    environment = aws._environment("http://127.0.0.1:1", "secret", Process("http://127.0.0.1:2", NO_GUARD), auth=False)
    found = made(environment)
    assert found
    assert found.meta.endpoint_url == "http://127.0.0.1:2"


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_of_the_user_sees_what_goes_to_the_local_database(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "localhost")
    environment = aws._environment("http://127.0.0.1:1", "secret", Process("http://127.9.8.7:2", NO_GUARD), auth=False)
    assert environment["NO_PROXY"] == environment["no_proxy"] == "localhost,127.9.8.7"


@pytest.mark.parametrize(
    "endpoint", ["http://host/path", "http://host?query", "http://user:password@host", "unix://host"]
)
def test_an_unusual_endpoint_is_boto3s(endpoint: str) -> None:
    assert made(PLAIN, endpoint) is None


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://dynamodb.eu-central-1.amazonaws.com", "dynamodb.eu-central-1.amazonaws.com"),
        ("https://host:443/", "host"),
        ("http://host:443", "host:443"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_host_of_a_request(endpoint: str, host: str) -> None:
    """It is signed, so it is exactly what botocore makes of the endpoint."""
    from botocore import auth

    assert direct._host(endpoint) == host == auth._host_from_url(endpoint)  # type: ignore[attr-defined]


class Answering(BaseHTTPRequestHandler):
    """Keeps the headers of requests, and gives credentials and items."""

    seen: ClassVar[list[dict[str, str]]]

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, document: Any) -> None:
        type(self).seen.append({name.lower(): text for name, text in self.headers.items()})
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._send({"Item": {"pk": {"S": "a"}}})

    def do_GET(self) -> None:
        end = {"Expiration": "2999-01-01T00:00:00Z", "Token": "token-2"}
        self._send({"AccessKeyId": "id-2", "SecretAccessKey": "key-2", **end})


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Its URL, and the headers that it was sent."""

    class Handler(Answering):
        seen: ClassVar[list[dict[str, str]]] = []

    answering = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=answering.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{answering.server_port}", Handler.seen
    answering.shutdown()
    answering.server_close()
    thread.join()


def test_requests_are_signed_with_the_session_token(server: Any) -> None:
    url, seen = server
    found = made(PLAIN, url)
    assert found
    assert found.get_item(TableName="t", Key={})["Item"] == {"pk": {"S": "a"}}
    (headers,) = seen
    assert headers["x-amz-security-token"] == "token"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    assert "/eu-central-1/dynamodb/aws4_request" in headers["authorization"]


def test_a_restored_snapshot_asks_for_its_credentials(server: Any) -> None:
    url, seen = server
    environment = {"AWS_REGION": "eu-central-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials"}
    found = made(environment, url)
    assert found
    found.get_item(TableName="t", Key={})
    asked, signed = seen
    assert "authorization" not in asked
    assert (signed["x-amz-security-token"], "Credential=id-2/" in signed["authorization"]) == ("token-2", True)


def test_what_has_no_short_way_is_boto3s(store: Store) -> None:
    client: Any = store.table.client
    assert isinstance(client, DirectClient)
    assert client.describe_table(TableName=store.table.name)["Table"]["TableName"] == store.table.name
    store.table.put({"pk": {"S": "a"}, "sk": {"S": "b"}})
    assert [item["pk"]["S"] for item in store.table.scan(0, 1, None)[0]] == ["a"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName="nowhere")
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_table(**keys.table_definition(store.table.name))


def test_a_function_has_its_client_when_it_has_started() -> None:
    """And boto3's models are not read for it."""
    root = Path(__file__).resolve().parents[3]
    program = """
import sys
import functions.resources.handler
from bulkhead.store import connect
assert connect.cache_info().currsize == 1
assert type(connect().table.client).__name__ == "DirectClient"
assert not {"boto3", "botocore.client", "botocore.loaders", "s3transfer"} & set(sys.modules)
"""
    environment = PLAIN | {
        "AWS_LAMBDA_FUNCTION_NAME": "resources",
        "PYTHONPATH": f"{root}:{root / 'layers/bulkhead/python'}",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_function_starts_without_credentials_too() -> None:
    """Under SnapStart they are asked of an endpoint, which may have none while the snapshot is made."""
    root = Path(__file__).resolve().parents[3]
    program = """
import functions.resources.handler
from bulkhead.store import connect
assert connect.cache_info().currsize == 0
"""
    environment = {
        "AWS_REGION": "eu-central-1",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/credentials",
        "AWS_LAMBDA_FUNCTION_NAME": "resources",
        "PYTHONPATH": f"{root}:{root / 'layers/bulkhead/python'}",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
