"""`--workers N`: processes that answer requests from one socket over one table, so that the server uses several cores.

The parent keeps everything that must exist only once: the database, S3, Step Functions with its jobs, the sweeper, and the issuer's
key, which the workers read. The parent replaces a worker that ends; when the parent ends, however it ends, the workers do.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from infra.local import logs

READY = b"ready\n"
STOP_SECONDS = 2.0
log = logging.getLogger("bulkhead.local")


class Workers:
    """Processes that serve on one socket. The environment of this process configures them."""

    def __init__(self, number: int, listening: socket.socket, arguments: list[str]) -> None:
        """`arguments` are those of `main`, without the socket's."""
        self._number, self._socket, self._arguments = number, listening, arguments
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    def serve(self) -> None:
        """Starts the workers, and returns when all of them answer. RuntimeError if one does not start."""
        for process in [self._start() for _ in range(self._number)]:
            if not _is_ready(process):
                raise RuntimeError("a worker did not start")
            threading.Thread(target=self._replace, args=(process,), name="workers", daemon=True).start()

    def stop(self) -> None:
        """Stops the workers, after a moment in which running requests can finish."""
        self._stopping.set()
        with self._lock:
            processes = list(self._processes)
        for process in processes:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._socket.close()

    def _start(self) -> subprocess.Popen[bytes]:
        number = self._socket.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.workers", "--socket", str(number), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[number],
            # A terminal's Ctrl-C reaches a whole process group: the parent stops the workers itself.
            start_new_session=True,
        )
        with self._lock:
            self._processes.append(process)
        return process

    def _replace(self, process: subprocess.Popen[bytes]) -> None:
        """Starts another worker whenever one ends, until one fails to start."""
        while True:
            process.wait()
            with self._lock:
                self._processes.remove(process)
            if self._stopping.is_set():
                return
            log.error("a worker ended, another is started", extra={"status": process.returncode})
            process = self._start()
            if not _is_ready(process):
                log.error("a worker did not start")
                return


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    return bool(process.stdout and process.stdout.readline() == READY)


def main(arguments: list[str]) -> int:
    """One worker, until its standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.workers", description=main.__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--no-auth", action="store_true")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.set_up(os.environ["FRONT_LOG_LEVEL"])
    sys.setswitchinterval(0.001)
    from infra.local import door

    listener = door.Door(os.environ, auth=not given.no_auth, key_file=given.key_file).listener(
        socket.socket(fileno=given.socket)
    )
    door.import_handlers()
    listener.serve()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()
    listener.stop()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Running requests would otherwise keep the process alive until they end.
    os._exit(status)
