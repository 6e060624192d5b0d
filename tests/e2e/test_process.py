"""The server as a process: it starts, ends, survives and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.running import LAST_LINE, Server, processes_with, start

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

    with Server(*arguments) as server, server.client(token) as client:
        assert client.get(f"/Patient/{created.json()['id']}").json() == created.json()


def test_the_sample_clinic_is_loaded_once(tmp_path: Path) -> None:
    for _ in range(2):
        with Server("--no-auth", "--data", str(tmp_path)) as server, server.client() as client:
            assert client.get("/Patient/anna").json()["meta"]["versionId"] == "1"


def test_without_dynoxide_moto_stands_in_and_says_so() -> None:
    with Server("--no-auth", BULKHEAD_DYNOXIDE="/nowhere") as server, server.client() as client:
        assert client.get("/Patient/anna").status_code == 200
        assert any("Falling back to moto" in line for line in server.banner)


def test_two_servers_cannot_share_a_data_folder_or_a_port(tmp_path: Path) -> None:
    with Server("--empty", "--no-auth", "--data", str(tmp_path)) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        for arguments in (["--data", str(tmp_path)], ["--port", port]):
            refused = start("--empty", "--no-auth", *arguments)
            output, _ = refused.communicate(timeout=30)
            assert refused.returncode == 1
            assert "Cannot start" in output
            assert LAST_LINE not in output
            assert "Traceback" not in output


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
