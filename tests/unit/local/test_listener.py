"""What clients may send, over real sockets: bounds on heads and bodies, slow clients, and HTTP's corners."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.listener import SMALL, Limits, Listener, _Protocol
from infra.local.wsgi import Answer, Environ, read_body

LIMITS = Limits(body=200_000, bodies=300_000, head=4096, headers=20, connections=40, head_seconds=1, pause_seconds=1)
Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    listeners: list[Listener] = []

    def start(answer: Callable[[Environ], Answer], limits: Limits = LIMITS, **named: Any) -> int:
        listener = Listener("127.0.0.1", 0, answer, threads=2, limits=limits, **named)
        listeners.append(listener)
        listener.serve()
        return listener.port

    yield start
    for listener in listeners:
        listener.stop()


def echo(environ: Environ) -> Answer:
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    return Answer(
        200, {"Content-Type": "application/json"}, json.dumps(told | {"size": len(read_body(environ))}).encode()
    )


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def exchanged(port: int, *sent: bytes) -> bytes:
    with connected(port) as connection:
        for each in sent:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(each)
        return received(connection)


def place(answer: bytes) -> tuple[int, str]:
    """Status, and what the outcome points at."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["issue"][0]["expression"][0]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", (414, "path")),
        (b"GET /" + b"a" * 500_000, (414, "path")),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n", (431, "headers")),
        (b"GET / HTTP/1.1\r\nY: 1\r\nX: " + b"a" * 5_000_000, (431, "headers")),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 21 + b"\r\n", (431, "headers")),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000, (431, "headers")),
        ("GET /?name=Müller HTTP/1.1\r\n\r\n".encode(), (400, "message")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", (413, "body")),
        (b"POST / HTTP/1.1\r\nContent-Length: 200001\r\n\r\n", (413, "body")),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1", (400, "message")),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", (400, "message")),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"a" * 32768 + b"\r\n") * 20, (413, "body")),
    ],
)  # fmt: skip
def test_what_breaks_a_limit_or_http_is_an_outcome_that_names_the_place(
    serve: Serve, head: bytes, expected: tuple[int, str]
) -> None:
    assert place(exchanged(serve(echo), head)) == expected


def test_a_body_up_to_the_limit_is_read(serve: Serve) -> None:
    url = f"http://127.0.0.1:{serve(echo)}/"
    assert httpx.post(url, content=b"x" * 200_000).json()["size"] == 200_000
    assert httpx.post(url, content=iter([b"x" * 100_000] * 2)).json()["size"] == 200_000


def test_a_large_body_is_not_read_before_it_is_admitted(serve: Serve) -> None:
    port = serve(echo, admit=lambda environ: Answer(401, {"Content-Type": "text/plain"}, b"no"))
    for head in (b"Content-Length: 100000", b"Content-Length: 999999999999", b"Transfer-Encoding: chunked"):
        with connected(port) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n")
            # Not a byte of the body was sent.
            assert connection.recv(65536).startswith(b"HTTP/1.1 401")
    assert httpx.post(f"http://127.0.0.1:{port}/", content=b"x" * 10_000_000).status_code == 401


def test_slow_clients_take_no_thread(serve: Serve) -> None:
    """More slow ones than there are threads, of every kind, while others are answered."""
    limits = Limits(body=200_000, head_seconds=60, pause_seconds=60)
    port = serve(
        lambda environ: Answer(200, {}, b"x" * 10_000_000) if environ["REQUEST_URI"] == "/large" else echo(environ),
        limits,
    )
    slow = [b"", b"GE", b"GET / HTTP/1.1\r\nX-A", b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1", b"GET /large HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n1"]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for start in slow * 5:
            stack.enter_context(connected(port)).sendall(start)
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("start", "status"),
    [(b"", None), (b"GET / HTTP/1.1\r\nX-A: ", 408), (b"\r\n", None), (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1", 408),
     (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 408)],
)  # fmt: skip
def test_who_does_not_go_on_is_cut_off(serve: Serve, start: bytes, status: int | None) -> None:
    answer = exchanged(serve(echo), start)
    assert not answer or place(answer)[0] in (status, 408)
    assert status is None or answer


def test_who_does_not_take_an_answer_is_cut_off(serve: Serve) -> None:
    """Time is told to the connection here."""
    clock = iter(range(0, 1000, 100))

    class Stuck:
        aborted = False

        def get_write_buffer_size(self) -> int:
            return 1000

        def is_closing(self) -> bool:
            return False

        def abort(self) -> None:
            self.aborted = True

    connection = object.__new__(_Protocol)
    connection._limits, connection._head_since, connection._answer_since = Limits(answer_seconds=150), None, None
    connection.transport = stuck = Stuck()  # type: ignore[assignment] # a transport that takes nothing
    cut = []
    for _ in range(3):
        connection.check(next(clock))
        cut.append(stuck.aborted)
    assert cut == [False, False, True]


def test_too_many_connections_are_told_so(serve: Serve) -> None:
    port = serve(echo, Limits(connections=3))
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connected(port))
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert place(exchanged(port))[0] == 503
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code in (200, 503)


def test_expect_is_answered_before_the_body_comes(serve: Serve) -> None:
    port = serve(echo)
    with connected(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"abc")
        assert b'"size": 3' in received(connection)
    assert place(exchanged(port, b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n")) == (
        413,
        "body",
    )


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    requests = b"".join(b"POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\nab" % number for number in range(5))
    answer = exchanged(serve(echo), requests + b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 6
    places = [answer.index(f'"REQUEST_URI": "/{name}"'.encode()) for name in (*range(5), "last")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("target", "uri"),
    [(b"/fhir/R4/Patient?a=b", "/fhir/R4/Patient?a=b"), (b"http://elsewhere.example/Patient?x", "/Patient?x"),
     (b"/a%00b?c=%00", "/a%00b?c=%00"), (b"/a%2Fb//c/", "/a%2Fb//c/")],
)  # fmt: skip
def test_targets_arrive_as_they_were_sent(serve: Serve, target: bytes, uri: str) -> None:
    answer = exchanged(serve(echo), b"GET " + target + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["REQUEST_URI"] == uri


def test_headers(serve: Serve) -> None:
    sent = (
        "If-None-Exist: family=Müller\r\nX-Old: ".encode()
        + b"M\xfcller\r\nX-Two: a\r\nx-two: b\r\nX_Two: c\r\nContent_Type: d\r\n"
    )
    answer = exchanged(serve(echo), b"GET / HTTP/1.1\r\n" + sent + b"Connection: close\r\n\r\n")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["HTTP_IF_NONE_EXIST"] == "family=Müller"
    assert told["HTTP_X_OLD"] == "Müller"
    assert told["HTTP_X_TWO"] == "a,b"
    assert "CONTENT_TYPE" not in told


def test_head_tells_the_length(serve: Serve) -> None:
    port = serve(lambda _: Answer(200, {}, b"12345"))
    answer = exchanged(port, b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.count(b"content-length: 5") == 2
    assert answer.count(b"12345") == 1


def test_a_large_answer_arrives_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 40_000
    assert httpx.get(f"http://127.0.0.1:{serve(lambda _: Answer(200, {}, body))}/").content == body


def test_it_stops_while_requests_are_at_work_and_connections_open() -> None:
    working, ended = threading.Event(), threading.Event()

    def hang(_: Environ) -> Answer:
        working.set()
        ended.wait(30)
        return Answer(200)

    listener = Listener("127.0.0.1", 0, hang, threads=2)
    listener.serve()
    with connected(listener.port) as connection, connected(listener.port):
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert working.wait(10)
        listener.stop()
        ended.set()


def test_small_bodies_need_one_turn_of_a_thread(serve: Serve) -> None:
    asked: list[Environ] = []
    url = f"http://127.0.0.1:{serve(echo, admit=asked.append)}/"
    httpx.post(url, content=b"x" * SMALL)
    assert asked == []
    httpx.post(url, content=b"x" * (SMALL + 1))
    assert len(asked) == 1


def test_the_page_of_limits_says_what_the_listener_takes() -> None:
    page = (Path(__file__).parents[3] / "docs/limits.md").read_text()
    taken = f"{Limits.body // 10**6} MB, and {Limits.head // 2**10} KB of request line and headers"
    assert taken in page
