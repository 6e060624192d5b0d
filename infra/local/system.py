"""The whole server on this machine: emulated AWS, identity, handlers and the front door."""

from __future__ import annotations

import base64
import fcntl
import gzip
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkhead import settings
from bulkhead.api import routes
from infra import discovery
from infra.local import aws, dynamodb, lambdas, load, sample
from infra.local.door import OWN_ISSUER, Door, import_handlers
from infra.local.identity import ALL_BUT_PURGE, KEYS
from infra.local.listener import Listener, bound
from infra.local.workers import Workers

CACHE = dynamodb.ROOT / ".cache" / "local"


class DataInUse(RuntimeError):
    """Another server runs on the same data folder."""


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    host: str = "127.0.0.1"
    port: int = 8000
    auth: bool = True
    data: Path | None = None
    gsi_lag: int = 0
    """Milliseconds until the indexes of the table show a write: on AWS they lag too."""
    workers: int = 1
    """Processes that answer requests."""

    @property
    def key_file(self) -> Path:
        """The signing key: beside the data; without data, one for all runs, so that tokens outlive a restart."""
        return (self.data or CACHE) / "identity.pem"


class System:
    """Starts on construction; answers requests after `serve`."""

    def __init__(self, options: Options) -> None:
        """OSError if the port is taken, DataInUse if the data folder is, ValueError for an invalid setting."""
        if options.workers > 1 and options.gsi_lag:
            raise ValueError("--gsi-lag works with one worker only: the lagging writes are in its memory")
        self._lock = lock(options.data) if options.data else None
        listening = bound(options.host, options.port)
        self.url = f"http://{_reachable(options.host)}:{listening.getsockname()[1]}"
        if options.auth:
            discover()
        self._door = Door(os.environ, auth=options.auth, key_file=options.key_file, url=self.url)
        self._front: Listener | Workers
        if options.workers > 1:
            arguments = ["--key-file", str(options.key_file.absolute()), *([] if options.auth else ["--no-auth"])]
            self._front = Workers(options.workers, listening, arguments)
        else:
            self._front = self._door.listener(listening)
        self.identity, self.verifier = self._door.identity, self._door.verifier
        if self.identity:
            os.environ["ISSUER"] = self.url
            os.environ["JWKS_URI"] = self.url + KEYS
            # For workers: ISSUER is set, but it is this server.
            os.environ[OWN_ISSUER] = self.url
        self._aws = aws.Aws(options.data, auth=options.auth, gsi_lag=options.gsi_lag)

    @property
    def issuer(self) -> str:
        """The issuer of tokens; "" where this server issues them, or needs none."""
        return self.verifier.issuer if self.verifier and not self.identity else ""

    def serve(self) -> None:
        """Prepares table and bucket, then answers; meanwhile it imports the modules that the first requests need."""
        self._aws.prepare()
        self._front.serve()
        threading.Thread(target=import_handlers, name="imports", daemon=True).start()

    def load_sample(self) -> None:
        """Posts the sample clinic, unless an earlier run did. RuntimeError if it is refused."""
        from bulkhead.store import connect

        if connect().read(f"Patient/{sample.PEOPLE[0].id}"):
            return
        body = gzip.compress(json.dumps(sample.bundle()).encode())
        if self.verifier and not self.identity:
            # A remote issuer gives us no token for this: the bundle bypasses the front door.
            faults = _loaded(body)
        else:
            token = self.identity.token("sample", ALL_BUT_PURGE) if self.identity else None
            faults = load.post(f"{self.url}{routes.BASE}", token, body).faults
        if faults:
            raise RuntimeError("; ".join(faults))

    def stop(self) -> None:
        """Ends everything that was started; running requests have a second to finish."""
        self._front.stop()
        self._aws.stop()
        if self._lock:
            self._lock.close()


def _loaded(body: bytes) -> list[str]:
    """The faults that the handler of bundles reports for a bundle."""
    route = routes.BY_KEY[f"POST {routes.BASE}"]
    event = {
        "routeKey": route.key,
        "rawPath": routes.BASE,
        "headers": {"content-type": "application/fhir+json", "content-encoding": "gzip"},
        "requestContext": {
            "http": {"method": "POST"},
            "authorizer": {"jwt": {"claims": {"sub": "sample", "scope": ALL_BUT_PURGE}}},
        },
        "isBase64Encoded": True,
        "body": base64.b64encode(body).decode(),
    }
    answer = lambdas.call(route.function, event)
    return [] if answer["statusCode"] == 200 else [answer["body"]]


def issuer(host: str, port: int) -> str:
    """The URL of the issuer, which is the server's own."""
    return f"http://{_reachable(host)}:{port}"


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def lock(data: Path) -> IO[str]:
    """Locks the data folder for this process; the kernel releases the lock when the process ends, however it ends."""
    data.mkdir(parents=True, exist_ok=True)
    file = open(data / "lock", "w")  # noqa: SIM115 - held open as long as the server runs
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DataInUse(f"another server uses {data}") from None
    return file


def discover() -> None:
    """Sets the endpoints of a remote issuer from its discovery document, where no variable names its keys. ValueError."""
    known = settings.from_environment(os.environ)
    if known.issuer and not known.jwks_uri:
        for name, url in discovery.endpoints(known.issuer).items():
            os.environ.setdefault(name, url)
