"""The local server as a process of its own, for tests that speak HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
LAST_LINE = "Ctrl-C stops it."


class Server:
    """A server that is ready; `banner` is what it printed, `url` its base."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = start(*arguments, **environment)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.banner: list[str] = []
        for line in lines:
            self.banner.append(line.rstrip("\n"))
            if line.strip() == LAST_LINE:
                break
        else:
            raise RuntimeError(f"the server ended: {self.process.wait()} {self.banner}")
        # What handlers log goes to the same pipe, which must not fill up.
        self.log: list[str] = []
        self._reader = threading.Thread(target=self.log.extend, args=(lines,), daemon=True)
        self._reader.start()
        answers = next(line for line in self.banner if line.startswith("Bulkhead answers at "))
        self.url = answers.removeprefix("Bulkhead answers at ")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=300)

    def printed(self, name: str) -> str:
        """The value of `NAME=value` in the banner."""
        return next(line for line in self.banner if line.startswith(f"{name}=")).partition("=")[2]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server and gives its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self._reader.join(timeout=10)
        return status


def pages(client: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
    """The entries of a search, to its end."""
    following: str | None = url
    while following:
        bundle = client.get(following).raise_for_status().json()
        yield from bundle.get("entry", [])
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m infra.local` with `arguments`, on any free port unless they name one."""
    port = () if "--port" in arguments else ("--port", "0")
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local", *port, *arguments],
        cwd=ROOT,
        # pytest puts the test's name there, which may be longer than a process may be given.
        env={name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(text: str, columns: str = "args") -> list[str]:
    """The lines of running processes whose command holds `text`, with these columns of `ps`."""
    listed = subprocess.run(["ps", "-axww", "-o", columns], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if text in line]
