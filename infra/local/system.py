"""The whole server on this machine: emulated AWS, identity, handlers and the front door."""

from __future__ import annotations

import base64
import fcntl
import gzip
import json
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkhead import settings
from bulkhead.access.shared_types import shared_types
from bulkhead.api import routes
from bulkhead.audit import recording
from bulkhead.compartments import private
from bulkhead.fhir.rules import invariants
from infra import discovery
from infra.local import aws, dynamodb, lambdas, load, sample, server
from infra.local.identity import ALL_BUT_PURGE, KEYS, Identity
from infra.local.listener import Limits, Listener, bound
from infra.local.tokens import RemoteKeys, Verifier
from infra.local.workers import Workers

CACHE = dynamodb.ROOT / ".cache" / "local"
OWN_ISSUER = "BULKHEAD_OWN_ISSUER"
"""The variable that tells workers that ISSUER is this server itself."""


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


class Door:
    """The part that answers requests: routes, tokens, and handlers in this process."""

    def __init__(self, environment: Mapping[str, str], *, auth: bool, key_file: Path, url: str = "") -> None:
        """`url` is the server's own; it issues the tokens unless ISSUER names another place. ValueError for an invalid setting."""
        known = settings.from_environment(environment)
        recording.policy(known.audit)
        private.criteria(known.private)
        shared_types(known.shared_types)
        invariants.unchecked(known.unchecked_invariants)
        audiences = [word.strip() for word in known.audience.split(",") if word.strip()]
        if not audiences:
            raise ValueError("AUDIENCE names no audience")
        own = url or environment.get(OWN_ISSUER, "")
        foreign = known.issuer if known.issuer != environment.get(OWN_ISSUER) else ""
        self.verifier: Verifier | None = None
        self.identity: Identity | None = None
        if auth and foreign:
            self.verifier = Verifier(foreign, audiences, RemoteKeys(known.jwks_uri))
        elif auth:
            self.identity = Identity(own, key_file, audiences[0])
            self.verifier = Verifier(own, audiences, self.identity)
        self._limits = Limits(body=known.request_limit, bodies=4 * known.request_limit)

    def listener(self, listening: socket.socket) -> Listener:
        """A listener on a socket that listens already."""
        front = server.Front(routes.GATEWAY, lambdas.call, self.verifier, identity=self.identity)
        return Listener("", 0, front, admit=front.admit, limits=self._limits, listening=listening)


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


def import_handlers() -> None:
    """Imports the modules that requests need, so that the first requests do not wait for them."""
    for function in dict.fromkeys(route.function for route in routes.ROUTES):
        try:
            lambdas.handler(function)
        except ImportError as error:
            lambdas.log_failure(function, error)
