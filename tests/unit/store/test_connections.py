"""Connections to DynamoDB: kept, given up when the server closes them, and with botocore's errors when something fails."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from botocore import exceptions

from bulkhead.store import connections
from bulkhead.store.connections import Connections

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Sends what it is told: for each connection, the responses to the requests that come on it, and then closes the connection.

    None among the responses: nothing is sent, and the connection stays open.
    """

    def __init__(self, scripts: Sequence[Sequence[bytes | None]], context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.closed = [threading.Event() for _ in scripts]
        self._scripts, self._context = scripts, context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for script, closed in zip(self._scripts, self.closed, strict=True):
            try:
                accepted, _ = self._socket.accept()
                with self._context.wrap_socket(accepted, server_side=True) if self._context else accepted as connection:
                    self._answer(connection, script)
            except OSError:
                # A client that does not trust us, or the end of the test.
                continue
            finally:
                closed.set()

    def _answer(self, connection: socket.socket, script: Sequence[bytes | None]) -> None:
        for response in script:
            self.requests.append(_request(connection))
            if response is None:
                self._done.wait(30)
                return
            connection.sendall(response)

    def stop(self) -> None:
        self._done.set()
        self._socket.close()


def _request(connection: socket.socket) -> bytes:
    """A request whose body is a JSON object without another in it."""
    text = b""
    while not text.endswith(b"}"):
        piece = connection.recv(1000)
        if not piece:
            raise OSError("the client is gone")
        text += piece
    return text


@contextmanager
def serving(*scripts: Sequence[bytes | None]) -> Iterator[tuple[Server, Connections]]:
    server = Server(scripts)
    try:
        yield server, Connections(f"http://127.0.0.1:{server.port}", kept=1, timeout=(5, 5))
    finally:
        server.stop()


def post(made: Connections) -> connections.Response:
    return made.post({"host": "here", "x-amz-target": "GetItem"}, b'{"a":1}')


def test_requests_share_a_connection() -> None:
    with serving([OK, OK]) as (server, made):
        assert [post(made), post(made)] == [(200, {"content-length": "2"}, b"{}")] * 2
    sent = b'POST / HTTP/1.1\r\nhost: here\r\nx-amz-target: GetItem\r\ncontent-length: 7\r\n\r\n{"a":1}'
    assert server.requests == [sent, sent]


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    with serving([OK], [OK]) as (server, made):
        post(made)
        assert server.closed[0].wait(30)
        assert post(made).content == b"{}"


def test_no_more_connections_are_kept_than_wanted() -> None:
    with serving([], [OK]) as (_, made):
        one, other = made._connection(), made._connection()
        made._idle += [one, other]
        post(made)
        assert made._idle == [one]
        assert other.socket.fileno() == -1


@pytest.mark.parametrize(
    ("response", "content", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n4\r\n\":1}\r\n0\r\nx: y\r\n\r\n", b'{"a":1}', True),
        (b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" + OK, b"{}", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nConnection: Close\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}", False),
        (OK + b"HTTP/1.1 200 OK", b"{}", False),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 60_000 + b"\r\nContent-Length: 200000\r\n\r\n" + b" " * 200_000, b" " * 200_000, True),
    ],
)  # fmt: skip
def test_where_a_response_ends(response: bytes, content: bytes, is_kept: bool) -> None:
    with serving([response]) as (_, made):
        found = post(made)
        assert (found.status_code, found.content) == (200, content)
        assert bool(made._idle) is is_kept


@pytest.mark.parametrize("response", [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"])
def test_a_response_may_come_byte_by_byte(response: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(5)
        sending = threading.Thread(target=lambda: [far.send(response[at : at + 1]) for at in range(len(response))])
        sending.start()
        found, stays = connections._read(cast("Any", OneByOne(near)))
        sending.join()
    assert (found.content, stays) == (b"{}", True)


class OneByOne:
    """A socket that gives one byte at a time."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made

    def recv(self, _: int) -> bytes:
        return self._made.recv(1)

    def recv_into(self, place: memoryview) -> int:
        return self._made.recv_into(place[:1])


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xy\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_what_is_not_a_whole_response_is_a_closed_connection(response: bytes) -> None:
    with serving([response]) as (_, made):
        with pytest.raises(exceptions.ConnectionClosedError):
            post(made)
        assert not made._idle


def test_a_silent_server_is_given_up_with_its_connection() -> None:
    """What it may send late is no response to the next request."""
    with serving([OK, None]) as (_, made):
        post(made)
        (connection,) = made._idle
        connection.socket.settimeout(0.01)
        with pytest.raises(exceptions.ReadTimeoutError):
            post(made)
        assert not made._idle
        assert connection.socket.fileno() == -1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(exceptions.EndpointConnectionError):
        post(Connections(f"http://127.0.0.1:{port}", kept=1, timeout=(5, 5)))


def test_a_server_that_cannot_be_reached_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", late)
    with pytest.raises(exceptions.ConnectTimeoutError):
        post(Connections("http://127.0.0.1", kept=1, timeout=(5, 5)))


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for 127.0.0.1, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "DynamoDB")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secured(certificate: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    started: list[Server] = []

    def start(*scripts: Sequence[bytes | None]) -> Server:
        started.append(Server(scripts, context))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    monkeypatch.setattr("botocore.httpsession.get_cert_path", lambda verify: str(certificate))


def test_tls(secured: Callable[..., Server], certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting(monkeypatch, certificate)
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    server = secured([large, OK])
    made = Connections(f"https://127.0.0.1:{server.port}", kept=1, timeout=(5, 5))
    assert post(made).content == b"x" * 1_000_000
    assert post(made).content == b"{}"
    assert len(server.requests) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: Callable[..., Server]) -> None:
    server = secured([OK])
    with pytest.raises(exceptions.SSLError, match="certificate verify failed"):
        post(Connections(f"https://127.0.0.1:{server.port}", kept=1, timeout=(5, 5)))
    assert not server.requests


def test_a_certificate_of_another_name_is_refused(
    secured: Callable[..., Server], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(monkeypatch, certificate)
    server = secured([OK])
    with pytest.raises(exceptions.SSLError, match="certificate verify failed"):
        post(Connections(f"https://localhost:{server.port}", kept=1, timeout=(5, 5)))
    assert not server.requests
