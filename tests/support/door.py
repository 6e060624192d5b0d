"""The front door in this process: an httpx client whose requests go through routes, tokens and handlers to a store of the test."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.api.routes import BASE, GATEWAY
from bulkhead.store import Store
from functions import http
from infra.local import lambdas
from infra.local.identity import ALL_BUT_PURGE, AUDIENCE, Identity
from infra.local.server import Front
from infra.local.tokens import Verifier

HOST = "http://server.example"
ADDRESS = "192.0.2.7"


class Transport(httpx.BaseTransport):
    """Hands requests to a `Front` as the listener does."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "REQUEST_URI": request.url.raw_path.decode(),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": ADDRESS,
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(body),
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "CONTENT_TYPE": request.headers.get("content-type", ""),
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in request.headers.items()}
        answer = self._front(environ)
        content = b"" if request.method == "HEAD" else answer.body
        return httpx.Response(answer.status, headers=dict(answer.headers), content=content)


class Door:
    """Clients for whoever a test needs: of a server with tokens, on `store`."""

    def __init__(self, store: Store, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "connect", lambda: store)
        self.store = store
        self.identity = Identity(HOST, keys / "identity.pem")
        self._transport = Transport(
            Front(GATEWAY, lambdas.call, Verifier(HOST, [AUDIENCE], self.identity), identity=self.identity)
        )

    def client(self, scope: str = ALL_BUT_PURGE, subject: str = "somebody", **fence: Any) -> httpx.Client:
        """A client with a token; `fence` is `accounts=[...]`, `patient=...`."""
        return self.with_token(self.identity.token(subject, scope, **fence))

    def with_token(self, token: str | None) -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(transport=self._transport, base_url=f"{HOST}{BASE}/", headers=headers)
