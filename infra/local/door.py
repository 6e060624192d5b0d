"""The part of the server that answers requests: in its one process, or in each of its workers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from bulkhead import settings
from bulkhead.access.shared_types import shared_types
from bulkhead.api import routes
from bulkhead.audit import recording
from bulkhead.compartments import private
from bulkhead.fhir.rules import invariants
from infra.local import lambdas, server
from infra.local.identity import Identity
from infra.local.listener import Limits, Listener
from infra.local.tokens import RemoteKeys, Verifier

OWN_ISSUER = "BULKHEAD_OWN_ISSUER"
"""The variable that tells workers that ISSUER is this server itself."""


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


def import_handlers() -> None:
    """Imports the modules that requests need, so that the first requests do not wait for them."""
    for function in dict.fromkeys(route.function for route in routes.ROUTES):
        try:
            lambdas.handler(function)
        except ImportError as error:
            lambdas.log_failure(function, error)
