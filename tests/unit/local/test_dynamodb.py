"""dynoxide as a child process: it serves, it keeps what it is told to keep, and it never outlives us."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local import dynamodb
from tests.conftest import dynamodb_client

ALONE = "from infra.local import dynamodb; print(dynamodb.start().endpoint, flush=True); input()"


def gone(endpoint: str) -> bool:
    """Whether nobody listens any more, after a moment for the guard to act."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    for _ in range(1000):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))):
                return True
    return False


def test_it_starts_and_stops_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "SHARED_MEMORY", tmp_path)
    process = dynamodb.start()
    assert dynamodb_client(process.endpoint).list_tables()["TableNames"] == []
    assert list(tmp_path.iterdir()) != []

    process.stop()
    process.stop()

    assert gone(process.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_its_address_is_one_of_millions() -> None:
    """It answers whoever finds it, web pages too."""
    hosts = {dynamodb._free_address()[0] for _ in range(8)}
    if hosts == {dynamodb.LOOPBACK}:
        pytest.skip("this system has no other loopback address")
    assert len(hosts) == 8
    assert all(ip_address(host).is_loopback and host != dynamodb.LOOPBACK for host in hosts)
    process = dynamodb.start()
    found = urlsplit(process.endpoint)
    with socket.socket() as probe:
        assert probe.connect_ex((dynamodb.LOOPBACK, found.port or 0)) != 0
    process.stop()
    assert found.hostname not in (None, dynamodb.LOOPBACK)


def test_a_system_with_one_loopback_address_gets_that(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] != dynamodb.LOOPBACK:
                raise OSError(errno.EADDRNOTAVAIL, "no such address")
            super().bind(address)

    monkeypatch.setattr("infra.local.dynamodb.socket.socket", Narrow)
    assert dynamodb._free_address()[0] == dynamodb.LOOPBACK


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_we_are_killed(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as alone:
        assert alone.stdout is not None
        endpoint = alone.stdout.readline().strip()
        assert not gone(endpoint)
        alone.send_signal(number)
    assert gone(endpoint)


def test_a_file_keeps_its_tables(tmp_path: Path) -> None:
    from bulkhead.store import keys

    path = str(tmp_path / "dynamodb.sqlite")
    first = dynamodb.start(path)
    dynamodb_client(first.endpoint).create_table(**keys.table_definition("kept"))
    os.kill(first.guard.pid, signal.SIGKILL)
    first.stop()

    second = dynamodb.start(path)
    assert dynamodb_client(second.endpoint).list_tables()["TableNames"] == ["kept"]
    second.stop()


@pytest.mark.parametrize("named", ["/nowhere/dynoxide", "/tmp", "/etc/passwd", ""])
def test_a_wrong_program_is_an_error(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("BULKHEAD_DYNOXIDE", named)
    with pytest.raises(dynamodb.BinaryMissing, match="BULKHEAD_DYNOXIDE is "):
        dynamodb.start()


@pytest.mark.parametrize(("machine", "told"), [("x86_64", "make setup"), ("riscv64", "not built for linux-riscv64")])
def test_without_a_binary_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, told: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(dynamodb, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BULKHEAD_DYNOXIDE", raising=False)
    with pytest.raises(dynamodb.BinaryMissing) as missing:
        dynamodb.start()
    for expected in (told, "BULKHEAD_DYNOXIDE", "AWS_ENDPOINT_URL_DYNAMODB", "DynamoDB Local"):
        assert expected in str(missing.value)


def test_a_binary_that_ends_at_once_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_DYNOXIDE", "/bin/false")
    with pytest.raises(dynamodb.StartFailed):
        dynamodb.start()


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("Linux", "x86_64", "linux-x64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "arm64", "darwin-arm64"),
        ("Darwin", "x86_64", "darwin-x64"),
        ("Windows", "AMD64", "win32-x64"),
    ],
)
def test_platforms_by_npm_names(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert dynamodb.npm_platform() == expected
