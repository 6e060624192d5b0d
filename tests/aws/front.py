"""A front before the emulator: what AWS does and the emulator leaves out.

It is the service endpoint, to which TLS never gets, and the custom domain of the API, with API Gateway's and Lambda's limits.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

REQUEST_HEAD = 10_240
"""Bytes of request line and headers that API Gateway accepts."""
REQUEST_BODY = 10_000_000
"""Bytes of a request's body that API Gateway accepts."""
PAYLOAD = 6_291_556
"""Bytes of JSON that go into a Lambda function, and out of it."""
# About one connection only (RFC 9110, 7.6.1), or made anew here.
_OF_THE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")

Answer = tuple[int, Mapping[str, str], bytes]


class Front:
    """Passes requests on to `target`, and what `https` clients of AWS would be told, it tells."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._connections = threading.local()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.close_connection = True
                self.raw_requestline = self.rfile.readline(65_537)
                if self.raw_requestline and self.parse_request():
                    body = self.rfile.read(int(self.headers.get("content-length", 0)))
                    self._answer(front.answer(self.command, self.path, dict(self.headers), body))

            def _answer(self, answer: Answer) -> None:
                status, headers, body = answer
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(body)))
                elif "content-length" in headers:
                    self.send_header("Content-Length", headers["content-length"])
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The bucket's policy refuses what did not come by TLS; a load balancer says by this header that it did."""
        return self.forward(method, path, headers | {"X-Forwarded-Proto": "https"}, body)

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        response: HTTPResponse
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
                response = connection.getresponse()
                break
            except OSError:
                # The emulator may close a connection that was idle.
                connection.close()
                if attempt == 2:
                    raise
        content = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    def _connection(self) -> HTTPConnection:
        if not hasattr(self._connections, "kept"):
            self._connections.kept = HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        kept: HTTPConnection = self._connections.kept
        return kept


class Domain(Front):
    """A custom domain of the API whose host in the emulator is `api_host`."""

    api_host = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        head = len(f"{method} {path} HTTP/1.1\r\n") + sum(
            len(f"{name}: {value}\r\n") for name, value in headers.items()
        )
        if head > REQUEST_HEAD:
            return _message(431, "Request Header Fields Too Large")
        if len(body) > REQUEST_BODY or _payload(headers, body) > PAYLOAD:
            return _message(413, "Request Entity Too Large")
        kept = {name: value for name, value in headers.items() if name.lower() != "host"}
        status, answered, content = self.forward(method, path, {**kept, "Host": self.api_host}, body)
        if _payload(answered, content) > PAYLOAD:
            return _message(500, "Internal Server Error")
        return status, answered, content


def _payload(headers: Mapping[str, str], body: bytes) -> int:
    """Bytes of the JSON in which a function is given a request, or gives an answer."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = base64.b64encode(body).decode()
    return len(json.dumps({"headers": dict(headers), "body": text}, ensure_ascii=False).encode())


def _message(status: int, message: str) -> Answer:
    """As API Gateway itself answers."""
    return status, {"content-type": "application/json"}, json.dumps({"message": message}).encode()
