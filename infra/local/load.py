"""`python -m infra.local.load`: posts bundles to a FHIR server, from files and folders, compressed or not."""

from __future__ import annotations

import argparse
import gzip
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bulkhead.api.routes import BASE

SUFFIXES = (".json", ".json.gz")
TIMEOUT_SECONDS = 900
# Synthea's patients refer to the resources in these bundles.
FIRST = ("hospital", "practitioner")


class Posted(NamedTuple):
    """The result of posting one bundle: the number of answered entries, and the faults."""

    entries: int
    faults: list[str]


class Unreachable(Exception):
    """No bundle can be posted to this server, whatever it is: there is none, or it lets nobody in. The text says what to do."""


# By status: what the operator can do, where the answer is not about the bundle.
_REFUSALS = {
    401: "give a --token that this server accepts, such as one of `make token`",
    404: f"--base must be the base URL of the FHIR API; a Bulkhead's ends in {BASE}",
    405: f"--base must be the base URL of the FHIR API; a Bulkhead's ends in {BASE}",
}


def in_order(paths: Iterable[Path]) -> list[Path]:
    """All bundle files of `paths`, folder after folder: in each, hospitals first, then practitioners, then the rest by name.

    FileNotFoundError when a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        found = _below(path) if path.is_dir() else [path]
        if not path.exists():
            raise FileNotFoundError(path)
        files += [file for file in found if file not in files]
    return sorted(files, key=lambda file: (str(file.parent), _rank(file.name), file.name))


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.name.endswith(SUFFIXES))


def _rank(name: str) -> int:
    return next((rank for rank, word in enumerate(FIRST) if word in name.lower()), len(FIRST))


def compressed(path: Path) -> bytes:
    """The file's content, gzipped; unchanged if it is gzipped already."""
    content = path.read_bytes()
    return content if path.name.endswith(".gz") else gzip.compress(content, compresslevel=6)


def post(base: str, token: str | None, body: bytes) -> Posted:
    """Posts one gzipped bundle to `base`. Faults of the bundle, or of single entries of a batch, come back as text. Unreachable."""
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip", "Accept": "application/fhir+json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(base, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            entries = json.load(response).get("entry", [])
    except urllib.error.HTTPError as error:
        faults = [f"{error.code} {fault}" for fault in _faults(error.read())]
        # A reference of one bundle that leads nowhere is a 404 too, with its place.
        if error.code in _REFUSALS and not any("Bundle." in fault for fault in faults):
            raise Unreachable(f"{base}: {'; '.join(faults)}: {_REFUSALS[error.code]}") from None
        return Posted(0, faults)
    except urllib.error.URLError as error:
        if isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
            raise Unreachable(
                f"no server answers at {base} ({error.reason.strerror}): start it, or give its --base"
            ) from None
        return Posted(0, [str(error)])
    except OSError as error:
        return Posted(0, [str(error)])
    answers = [entry.get("response", {}) for entry in entries]
    failed = [answer for answer in answers if not str(answer.get("status", "")).startswith("2")]
    return Posted(
        len(answers), [f"{each.get('status')} {text}" for each in failed for text in _texts(each.get("outcome"))]
    )


def _faults(body: bytes) -> list[str]:
    try:
        return _texts(json.loads(body))
    except ValueError:
        return [body[:200].decode(errors="replace")]


def _texts(outcome: Any) -> list[str]:
    """The issues of an OperationOutcome as lines; one line for anything else."""
    issues = outcome.get("issue", []) if isinstance(outcome, dict) else []
    lines = [
        " ".join(
            filter(
                None, [*issue.get("expression", []), issue.get("diagnostics") or issue.get("details", {}).get("text")]
            )
        )
        for issue in issues
    ]
    return lines or ["no OperationOutcome"]


def load(base: str, token: str | None, files: list[Path]) -> int:
    """Posts `files` one after another with a progress bar; returns the number of files with faults. Those after an Unreachable are not sent."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[resources]} entries"), TimeElapsedColumn())
    failed = resources = 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("load", total=len(files), resources=0)
        for file in files:
            try:
                posted = post(base, token, compressed(file))
            except Unreachable as error:
                console.print(str(error), markup=False, highlight=False, soft_wrap=True)
                return len(files) - files.index(file) + failed
            resources += posted.entries
            failed += bool(posted.faults)
            for fault in posted.faults:
                console.print(f"{file}: {fault}", markup=False, highlight=False, soft_wrap=True)
            progress.update(task, advance=1, resources=resources)
    return failed


def main(arguments: list[str]) -> int:
    """Returns 0 if every bundle was accepted whole, 1 if one was not, 2 if there is nothing to load."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.load", description="Posts FHIR bundles (.json, .json.gz)."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="bundle, or a folder of bundles")
    parser.add_argument("--base", default=f"http://127.0.0.1:8000{BASE}", help="default: %(default)s")
    parser.add_argument("--token", help="bearer token, unless the server runs with --no-auth")
    given = parser.parse_args(arguments)
    try:
        files = in_order(given.paths)
    except FileNotFoundError as error:
        parser.error(f"cannot find {error}")
    if not files:
        parser.error("there is no .json or .json.gz file in these places")
    return 1 if load(given.base.rstrip("/"), given.token, files) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
