"""DynamoDB on this machine: the dynoxide binary as a child process that cannot outlive us."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.2.1"
PLATFORMS = ("darwin-arm64", "darwin-x64", "linux-arm64", "linux-x64", "win32-x64")
"""The platforms that dynoxide is built for, by npm's names: the packages @dynoxide/..."""
ENDPOINT = "AWS_ENDPOINT_URL_DYNAMODB"
ROOT = Path(__file__).resolve().parents[2]
SHARED_MEMORY = Path("/dev/shm")
LOOPBACK = "127.0.0.1"

# The guard holds the read end of a pipe. When we close our end, or are killed, it kills dynoxide and cleans up.
GUARD = """
exec 3<&0
"$@" </dev/null &
child=$!
{ read -r _ <&3; kill -9 "$child"; } 2>/dev/null &
wait "$child" 2>/dev/null
[ -z "$SCRATCH" ] || rm -rf "$SCRATCH"
"""


class BinaryMissing(RuntimeError):
    """dynoxide is not installed, or not built for this platform."""


class StartFailed(RuntimeError):
    """dynoxide ended, or did not answer, before it was ready."""


@dataclass
class Process:
    """A running dynoxide."""

    endpoint: str
    guard: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ends the process and removes its temporary file; no effect if it has ended already."""
        if self.guard.stdin and not self.guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                # A line as well, because a fork of ours may still hold the pipe open.
                self.guard.stdin.write(b"\n")
                self.guard.stdin.close()
        self.guard.wait(timeout=10)


def npm_platform() -> str:
    """npm's name of this platform, such as `linux-x64` or `darwin-arm64`."""
    machine = platform.machine().lower()
    architecture = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    system = platform.system().lower()
    return f"{'win32' if system == 'windows' else system}-{architecture}"


def find_binary() -> Path:
    """`$BULKHEAD_DYNOXIDE`, else the binary that `make setup` installed, else the PATH; BinaryMissing if there is none."""
    named = os.environ.get("BULKHEAD_DYNOXIDE")
    if named is not None:
        if not os.path.isfile(named) or not os.access(named, os.X_OK):
            raise BinaryMissing(
                f"BULKHEAD_DYNOXIDE is {named!r}, which is not a program; set it to the path of dynoxide"
            )
        return Path(named)
    installed = ROOT / "node_modules" / "@dynoxide" / npm_platform() / "dynoxide"
    if os.access(installed, os.X_OK):
        return installed
    on_path = shutil.which("dynoxide")
    if on_path:
        return Path(on_path)
    raise BinaryMissing(missing())


def missing() -> str:
    """Instructions for a machine without dynoxide."""
    known = npm_platform() in PLATFORMS
    fetch = (
        f"run `make setup`, which fetches @dynoxide/{npm_platform()} {VERSION}"
        if known
        else (f"it is not built for {npm_platform()}, only for {', '.join(PLATFORMS)}")
    )
    return (
        f"DynamoDB is missing. The emulator dynoxide is not installed: {fetch}; or set BULKHEAD_DYNOXIDE to its program;"
        f" or start another DynamoDB, such as DynamoDB Local (docker run -p 8001:8000 amazon/dynamodb-local), and set"
        f" {ENDPOINT}=http://127.0.0.1:8001"
    )


def start(path: str | None = None, attempts: int = 5) -> Process:
    """Starts a dynoxide on a private address, with its data in the file `path`; temporary if None. Returns when it answers.

    Raises BinaryMissing, or StartFailed if it does not come up.
    """
    binary = find_binary()
    for _ in range(attempts):
        process = _launch(binary, path, _free_address())
        if _wait_until_ready(process):
            return process
        process.stop()
    raise StartFailed(f"{binary} did not start in {attempts} attempts")


def _launch(binary: Path, path: str | None, address: tuple[str, int]) -> Process:
    host, port = address
    scratch = "" if path else _scratch()
    database = path or (f"{scratch}/dynamodb.sqlite" if scratch else "")
    command = [str(binary), "serve", "--host", host, "-p", str(port)]
    if database:
        command += ["--db-path", database]
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "guard", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "SCRATCH": scratch},
        # A terminal's Ctrl-C reaches a whole process group: we end first, then dynoxide.
        start_new_session=True,
    )
    return Process(f"http://{host}:{port}", guard)


def _scratch() -> str:
    """A new folder in shared memory, where SQLite is faster than in dynoxide's own in-memory mode; "" if there is none."""
    if not os.access(SHARED_MEMORY, os.W_OK):
        return ""
    return tempfile.mkdtemp(prefix="bulkhead-", dir=SHARED_MEMORY)


def _free_address() -> tuple[str, int]:
    """A loopback address and a free port of it.

    dynoxide looks at no signature, and lets the pages of every origin call it (CORS `*`). A website that somebody opens in a browser beside
    it could try all ports of 127.0.0.1, and would have the whole table. It cannot try 16 million addresses. Systems that have only
    127.0.0.1, such as macOS, get that.
    """
    picked = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    for host in (picked, LOOPBACK):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, 0))
            return host, int(probe.getsockname()[1])
    raise StartFailed(f"{LOOPBACK} has no free port")


def _wait_until_ready(process: Process, seconds: float = 20) -> bool:
    """Whether the process answers in time; False if it ends first (another process took its port)."""
    host = process.endpoint.removeprefix("http://")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.guard.poll() is None:
        try:
            connection = http.client.HTTPConnection(host, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        else:
            return process.guard.poll() is None
    return False
