"""What `make serve` takes, and what it says where it cannot start, or is open to others."""

from __future__ import annotations

import errno

import pytest

from infra.local import __main__ as main


@pytest.mark.parametrize("port", ["80000", "-1", "65536", "x"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """80000 listened on port 14464."""
    with pytest.raises(SystemExit) as ended:
        main.parse(["--port", port])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


def test_ports() -> None:
    assert [main.parse(["--port", port]).port for port in ("0", "8000", "65535")] == [0, 8000, 65535]


def test_a_port_that_is_taken_says_what_to_do() -> None:
    said = main.reason(OSError(errno.EADDRINUSE, "Address already in use"), 8000)
    assert "port 8000" in said
    assert "--port" in said
    assert main.reason(RuntimeError("another server uses x"), 8000) == "another server uses x"


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.1.2.3", False), ("clinic.example", False)],
)  # fmt: skip
def test_who_reaches_the_server(host: str, only_here: bool) -> None:
    assert main.is_loopback(host) is only_here
