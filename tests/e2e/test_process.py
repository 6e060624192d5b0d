"""The server as a process: it starts, ends, survives and leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.running import LAST_LINE, Server, processes_with, start

PATIENT = {"resourceType": "Patient", "name": [{"family": "Nobody-Shall-Read-This"}]}


def gone(text: str) -> bool:
    """Whether no process with `text` in its command line is left, after a moment for the guard to act."""
    return any(not processes_with(text) for _ in range(100))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    with Server("--empty", "--no-auth", "--data", str(tmp_path)) as server:
        assert any("dynoxide" in line for line in processes_with(str(tmp_path)))
        status = server.stop(number)

    assert status == (-number if number == signal.SIGKILL else 0)
    assert gone(str(tmp_path))


def test_data_and_tokens_survive_a_kill(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ("--empty", "--data", str(tmp_path), "--port", port)
    with Server(*arguments) as server:
        token = server.printed("TOKEN")
        with server.client(token) as client:
            created = client.post("/Patient", json=PATIENT)
            assert created.status_code == 201
        server.stop(signal.SIGKILL)

    # The data is patients': no other user of the machine may read it.
    assert [path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077] == []
    with Server(*arguments) as server, server.client(token) as client:
        assert client.get(f"/Patient/{created.json()['id']}").json() == created.json()


def test_the_sample_clinic_is_loaded_once(tmp_path: Path) -> None:
    for _ in range(2):
        with Server("--no-auth", "--data", str(tmp_path)) as server, server.client() as client:
            assert client.get("/Patient/anna").json()["meta"]["versionId"] == "1"


def refused(*arguments: str, **environment: str) -> str:
    """What a server prints that does not start."""
    process = start("--empty", *arguments, **environment)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Cannot start: " in output
    assert LAST_LINE not in output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize(
    ("name", "value"),
    [("BULKHEAD_DYNOXIDE", "/nowhere"), ("BULKHEAD_DYNOXIDE", ""), ("AWS_ENDPOINT_URL_DYNAMODB", "8001")],
)
def test_without_a_database_it_says_so_and_stops(tmp_path: Path, name: str, value: str) -> None:
    assert f"{name} is {value!r}" in refused("--data", str(tmp_path), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH", "of"), ("HISTORY_ACCESS", "curent"), ("SEARCH_HANDLING", "strikt"), ("SYNC_LIMIT", "-1"), ("LOG_LEVEL", "loud"),
     ("AUDIT", "List.reads")],
)  # fmt: skip
def test_a_misspelt_setting_stops_the_start(name: str, value: str) -> None:
    output = refused(**{name: value})
    assert name in output
    assert value in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_three_seconds_under_load(number: signal.Signals) -> None:
    with Server("--empty", "--no-auth", "--quiet") as server:
        begun, ended = threading.Barrier(9), threading.Event()

        def ask() -> None:
            with contextlib.suppress(httpx.HTTPError), server.client() as client:
                client.get("/metadata")
                begun.wait(30)
                while not ended.is_set():
                    client.post("/Patient", json=PATIENT)

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait(30)
        server.process.send_signal(number)
        assert server.process.wait(timeout=3) == 0
        ended.set()


def test_two_servers_cannot_share_a_data_folder_or_a_port(tmp_path: Path) -> None:
    with Server("--empty", "--no-auth", "--data", str(tmp_path)) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        for arguments in (["--data", str(tmp_path)], ["--port", port]):
            refused("--no-auth", *arguments)


def test_no_patient_is_named_in_the_log() -> None:
    with Server("--empty", "--no-auth", LOG_LEVEL="INFO") as server:
        with server.client() as client:
            created = client.post("/Patient", json=PATIENT).json()
            client.get("/Patient", params={"family": "Nobody-Shall-Read-This"})
            client.post("/Patient", json={**PATIENT, "birthDate": "Nobody-Shall-Read-This"})
            client.put(f"/Patient/{created['id']}", json={**created, "gender": "Nobody-Shall-Read-This"})
            client.post("/Patient", content="Nobody-Shall-Read-This")
            client.get("/Nobody-Shall-Read-This/1")
        server.stop()

    assert any('"route": "POST /fhir/R4/{type}", "status": 201' in line for line in server.log)
    assert [line for line in server.log if "Nobody" in line] == []
