"""The whole server on this machine, put together: emulated AWS, identity, handlers and the front door."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkhead import audit, settings
from infra import routes
from infra.local import aws, dynamodb, lambdas, load, sample, server
from infra.local.identity import FULL_RIGHTS, Identity

CACHE = dynamodb.ROOT / ".cache" / "local"


class DataInUse(RuntimeError):
    """Another server runs on the same data folder."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    host: str = "127.0.0.1"
    port: int = 8000
    auth: bool = True
    data: Path | None = None
    gsi_lag: int = 0
    """Milliseconds after which the indexes of the table show a write: as on AWS, where they lag."""

    @property
    def key_file(self) -> Path:
        """The signing key: beside the data, else kept for all runs without data, so that tokens outlive a restart."""
        return (self.data or CACHE) / "identity.pem"


class System:
    """Starts on construction; requests are answered from `serve` on."""

    def __init__(self, options: Options) -> None:
        """OSError when the port is taken, DataInUse when the data folder is, ValueError for a setting that is not understood."""
        audit.policy(settings.from_environment(os.environ).audit)
        self._lock = lock(options.data) if options.data else None
        self.identity = Identity(issuer(options.host, options.port), options.key_file) if options.auth else None
        front = server.Front(routes.ROUTES, lambdas.call, self.identity)
        self._listener = server.Listener(options.host, options.port, front)
        self.url = f"http://{_reachable(options.host)}:{self._listener.port}"
        if self.identity:
            self.identity.issuer = self.url
            os.environ["ISSUER"] = self.url
        self._aws = aws.Aws(options.data, options.auth, options.gsi_lag)

    def serve(self) -> None:
        """Prepares table and bucket, then answers; what the first requests need is imported meanwhile."""
        self._aws.prepare()
        self._listener.serve()
        threading.Thread(target=_import_handlers, name="imports", daemon=True).start()

    def load_sample(self) -> None:
        """Posts the sample clinic through the front door, unless it is there from an earlier run. RuntimeError if refused."""
        from bulkhead.store import connect

        if connect().read(f"Patient/{sample.PEOPLE[0].id}"):
            return
        token = self.identity.token("sample", FULL_RIGHTS) if self.identity else None
        body = gzip.compress(json.dumps(sample.bundle()).encode())
        posted = load.post(f"{self.url}{routes.BASE}", token, body)
        if posted.faults:
            raise RuntimeError("; ".join(posted.faults))

    def stop(self) -> None:
        """Ends all that was started."""
        self._aws.stop()
        self._listener.stop()
        if self._lock:
            self._lock.close()


def issuer(host: str, port: int) -> str:
    """The URL of the issuer, which is the server's own."""
    return f"http://{_reachable(host)}:{port}"


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def lock(data: Path) -> IO[str]:
    """Takes the data folder for this process; the kernel gives it back when the process ends, however it ends."""
    data.mkdir(parents=True, exist_ok=True)
    file = open(data / "lock", "w")  # noqa: SIM115 - held open as long as the server runs
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DataInUse(f"another server uses {data}") from None
    return file


def _import_handlers() -> None:
    for function in dict.fromkeys(route.function for route in routes.ROUTES):
        try:
            lambdas.handler(function)
        except ImportError as error:
            lambdas.log_failure(function, error)
