"""`python -m infra.local.token`: prints a token for the local server, signed with the server's key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.local.identity import ALL_BUT_PURGE, AUDIENCE, Identity
from infra.local.system import Options, issuer


def parser() -> argparse.ArgumentParser:
    """The arguments: the claims of the token, and the server that it is for."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.token", description=main.__doc__)
    parser.add_argument("--scope", default=ALL_BUT_PURGE, help='default: "%(default)s"; add purge to erase for good')
    parser.add_argument("--accounts", nargs="*", metavar="Organization/a", help="fence the caller to these")
    parser.add_argument("--patient", metavar="ID", help="fence the caller to this patient (scopes patient/...)")
    parser.add_argument("--audience", default=AUDIENCE, help='default: "%(default)s"')
    parser.add_argument("--subject", default="local-user")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--host", default="127.0.0.1", help="as given to the server")
    parser.add_argument("--port", type=int, default=8000, help="as given to the server")
    parser.add_argument("--data", type=Path, metavar="DIR", help="as given to the server")
    return parser


def main(arguments: list[str]) -> int:
    """Prints a token. Every server on this port with the same key accepts it: with the same `--data`, or without."""
    given = parser().parse_args(arguments)
    identity = Identity(issuer(given.host, given.port), Options(data=given.data).key_file, given.audience)
    print(identity.token(given.subject, given.scope, given.accounts, patient=given.patient, hours=given.hours))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
