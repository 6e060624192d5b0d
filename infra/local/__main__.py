"""`python -m infra.local`: Bulkhead on this machine, with one command."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import signal
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from infra.local import logs


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local", description="Bulkhead on this machine, AWS emulated."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--empty", action="store_true", help="start without the sample clinic")
    parser.add_argument("--no-auth", action="store_true", help="give every caller every right without a token")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep everything in DIR; it survives a kill")
    parser.add_argument(
        "--gsi-lag",
        type=milliseconds,
        default=0,
        metavar="MS",
        help="show each write in the search indexes only after MS milliseconds, as on AWS (default: at once)",
    )
    parser.add_argument(
        "--workers",
        type=number_of_workers,
        default=1,
        metavar="N",
        help="processes that answer requests (default: %(default)s); definitions that one of them stores count in the others"
        " within DEFINITIONS_TTL seconds, as on AWS",
    )
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    return parser.parse_args(arguments)


def port_number(text: str) -> int:
    """A TCP port; 0 for any that is free. ValueError: a larger number would be cut down to another port."""
    number = int(text)
    if not 0 <= number <= 65_535:
        raise ValueError
    return number


def milliseconds(text: str) -> int:
    """A number of milliseconds, up to half a minute, which is less than HISTORY_SETTLE. ValueError."""
    number = int(text)
    if not 0 <= number <= 30_000:
        raise ValueError
    return number


def number_of_workers(text: str) -> int:
    """A number from 1 to 64. ValueError."""
    number = int(text)
    if not 1 <= number <= 64:
        raise ValueError
    return number


def reason(error: Exception, port: int) -> str:
    """Why the server cannot start, and for the common case what to do."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"something else listens on port {port}: end it, or choose another by --port"
    return str(error)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(arguments: list[str]) -> int:
    """Runs until Ctrl-C or SIGTERM. Returns 1 if it cannot start."""
    options = parse(arguments)
    # What a data folder holds is patients': no other user of the machine reads the files that this process and its children make.
    os.umask(0o077)
    # A log in a file stays complete even after a kill.
    cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    if options.quiet:
        os.environ["LOG_LEVEL"] = "WARNING"
    # The log level of the front door; handlers log less (see aws._environment).
    os.environ["FRONT_LOG_LEVEL"] = os.environ.get("LOG_LEVEL", "INFO")
    logs.set_up(os.environ["FRONT_LOG_LEVEL"])
    # Requests mostly wait for the database: a short switch interval lets them pass a busy propagation sooner.
    sys.setswitchinterval(0.001)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    from infra.local import banner, system

    try:
        running = system.System(
            system.Options(
                options.host,
                options.port,
                auth=not options.no_auth,
                data=options.data,
                gsi_lag=options.gsi_lag,
                workers=options.workers,
            )
        )
    except (OSError, RuntimeError, ValueError) as error:
        print(f"Cannot start: {reason(error, options.port)}", file=sys.stderr)
        return 1
    if options.no_auth and not is_loopback(options.host):
        print(f"--no-auth with --host {options.host}: whoever reaches this machine has every right.", file=sys.stderr)
    try:
        running.serve()
        if not options.empty:
            running.load_sample()
        print(banner.text(running.url, running.identity, sample=not options.empty, issuer=running.issuer), flush=True)
        ended.wait()
    except RuntimeError as error:
        print(f"Cannot go on: {error}", file=sys.stderr)
        return 1
    finally:
        running.stop()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Running requests would otherwise keep the process alive until they end.
    os._exit(status)
