"""The local server as a process of its own, and a client on it."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(*options: str) -> Iterator[httpx.Client]:
    """A client whose base URL is that of a server started with `--empty --no-auth`."""
    with started(*options) as (client, _):
        yield client


@contextmanager
def started(*options: str, auth: bool = False, **environment: str) -> Iterator[tuple[httpx.Client, int]]:
    """The same, with the server's process id; `environment` are variables for it. With `auth` it asks for tokens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "infra.local", "--port", str(port), "--empty", *options]
    command += [] if auth else ["--no-auth"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}/fhir/R4", timeout=600)
        for _ in range(300):
            try:
                client.get("/Patient/none")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield client, process.pid
    finally:
        process.terminate()
        process.wait(30)


def post(client: httpx.Client, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    response = client.post(path, json=body, headers={"content-type": "application/fhir+json", **headers})
    response.raise_for_status()
    return response


def set_accounts(
    client: httpx.Client, path: str, organization: str, prefer: str, look: Callable[[], object] = lambda: None
) -> int:
    """`$set-accounts` with propagate, until it is done; how many resources it counts. `look` is called at every poll."""
    parameters: list[dict[str, Any]] = [
        {"name": "accounts", "valueReference": {"reference": organization}},
        {"name": "propagate", "valueBoolean": True},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    answer = post(client, f"{path}/$set-accounts", body, **({"prefer": prefer} if prefer else {}))
    while answer.status_code == 202:
        status = answer.headers.get("content-location") or str(answer.request.url)
        look()
        time.sleep(0.02)
        answer = client.get(status)
    result = answer.json()
    if result["resourceType"] == "Bundle":
        result = result["entry"][0]["resource"]
    return int(result["parameter"][0]["valueInteger"])


def token(client: httpx.Client, scope: str, *options: str) -> str:
    """A token for the server that the client is for; `options` are those of `make token`."""
    command = [
        sys.executable,
        "-m",
        "infra.local.token",
        "--port",
        str(client.base_url.port),
        "--scope",
        scope,
        *options,
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def ratio(call: Callable[[int], object], other: Callable[[int], object], times: int) -> str:
    """How much longer `call` takes than `other`, by turns, so that both have the same of what else the machine does."""
    taken: tuple[list[float], list[float]] = ([], [])
    for n in range(times + times // 10):
        for each, one in zip(taken, (call, other), strict=True):
            begun = time.perf_counter()
            one(n)
            each.append((time.perf_counter() - begun) * 1000)
    medians = [statistics.median(each[times // 10 :]) for each in taken]
    return f"{medians[0] / medians[1]:5.2f} ({medians[0]:.1f} ms, {medians[1]:.1f} ms without)"


def milliseconds(call: Callable[[int], object], times: int) -> str:
    """p50 and p95 of `call`, after a tenth of warm-up."""
    taken = []
    for n in range(times + times // 10):
        begun = time.perf_counter()
        call(n)
        taken.append((time.perf_counter() - begun) * 1000)
    taken = sorted(taken[times // 10 :])
    return f"p50 {statistics.median(taken):6.1f} ms   p95 {taken[int(len(taken) * 0.95)]:6.1f} ms"
