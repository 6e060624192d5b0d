"""`--workers 2`: two processes answer over one table; what there may be only one of is there once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_process import gone, refused
from tests.support.running import Server, processes_with

ATTEMPTS = 1000


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Server]:
    with Server("--workers", "2", "--empty", "--data", str(tmp_path)) as running:
        yield running


def workers(folder: Path) -> list[int]:
    lines = processes_with("infra.local.workers", "pid,args")
    return [int(line.split()[0]) for line in lines if str(folder) in line]


def put(client: httpx.Client, key: str, **content: Any) -> httpx.Response:
    kind, identifier = key.split("/")
    return client.put(f"/{key}", json={"resourceType": kind, "id": identifier, **content})


def test_what_one_stores_the_other_shows_and_tokens_count_everywhere(two: Server, tmp_path: Path) -> None:
    assert len(workers(tmp_path)) == 2
    token = two.printed("TOKEN")

    def stored(number: int) -> int:
        # A connection each, so that both workers get some.
        with two.client(token) as writer, two.client(token) as reader:
            assert put(writer, f"Patient/p{number}").status_code == 201
            return reader.get(f"/Patient/p{number}").status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(stored, range(40))) == {200}
    with two.client() as stranger:
        assert stranger.get("/Patient/p1").status_code == 401


def test_a_job_is_done_once(two: Server) -> None:
    with two.client(two.printed("TOKEN")) as client:
        put(client, "Organization/a", name="A").raise_for_status()
        put(client, "Patient/p").raise_for_status()
        for number in range(5):
            put(client, f"Basic/b{number}", code={"text": "x"}, subject={"reference": "Patient/p"}).raise_for_status()
        account = {"name": "accounts", "valueReference": {"reference": "Organization/a"}}
        parameters = {"resourceType": "Parameters", "parameter": [account, {"name": "propagate", "valueBoolean": True}]}
        begun = client.post("/Patient/p/$set-accounts", json=parameters, headers={"Prefer": "respond-async"})
        assert begun.status_code == 202
        for _ in range(ATTEMPTS):
            answer = client.get(begun.headers["content-location"])
            if answer.status_code != 202:
                break
        assert answer.status_code == 200
        for number in range(5):
            assert client.get(f"/Basic/b{number}").json()["meta"]["versionId"] == "2"


def test_a_worker_that_dies_is_replaced(two: Server, tmp_path: Path) -> None:
    before = workers(tmp_path)
    os.kill(before[0], signal.SIGKILL)
    for _ in range(ATTEMPTS):
        if len(set(workers(tmp_path)) - set(before)) == 1:
            break
    with two.client(two.printed("TOKEN")) as client:
        assert client.get("/Patient").status_code == 200
    assert before[0] not in workers(tmp_path)
    assert len(workers(tmp_path)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_ends(two: Server, tmp_path: Path, number: signal.Signals) -> None:
    two.process.send_signal(number)
    two.process.wait(timeout=3)
    with contextlib.suppress(ValueError):
        two.stop()
    assert gone(str(tmp_path))


@pytest.mark.parametrize("number", ["0", "-1", "x", "65"])
def test_a_wrong_number_is_refused(number: str) -> None:
    with pytest.raises(RuntimeError, match="argument --workers"):
        Server("--workers", number)


def test_what_lags_is_for_one_worker(tmp_path: Path) -> None:
    assert "--gsi-lag works with one worker only" in refused(
        "--workers", "2", "--gsi-lag", "100", "--data", str(tmp_path)
    )
