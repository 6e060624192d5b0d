"""dynoxide as a child process: it serves, it keeps what it is told to keep, and it never outlives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

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


def test_without_a_binary_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_DYNOXIDE", "/nowhere/dynoxide")
    with pytest.raises(dynamodb.BinaryMissing, match="BULKHEAD_DYNOXIDE"):
        dynamodb.start()


def test_a_binary_that_ends_at_once_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_DYNOXIDE", "/bin/false")
    with pytest.raises(dynamodb.StartFailed):
        dynamodb.start()


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("Linux", "x86_64", "linux-x64"), ("Linux", "aarch64", "linux-arm64"), ("Darwin", "arm64", "darwin-arm64")],
)
def test_platforms_by_npm_names(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert dynamodb.npm_platform() == expected
