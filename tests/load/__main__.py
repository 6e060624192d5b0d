"""Prints the figures. Which ones: any of the names below as arguments; all without."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.load import clinic, costs, fuzz, growth, histories, members, searches, tables
from tests.load.server import milliseconds, post, running, set_accounts

MEMBERS = 1000


def say(name: str, figure: str, aim: str) -> None:
    print(f"{name:<58} {figure:<64} aim: {aim}", flush=True)


def imports() -> None:
    """A fresh interpreter that imports the handler of reads."""
    code = "import time; t = time.perf_counter(); import functions.resources.handler; print(time.perf_counter() - t)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    say("import of the read handler, fresh interpreter", f"{min(taken) * 1000:.0f} ms (best of 5)", "<= 400 ms")


def single() -> None:
    """Reads and creates over HTTP, one client."""
    with running() as client:
        patient = post(client, "/Patient", clinic.patient_bundle(1)["entry"][0]["resource"]).json()["id"]
        subject = {"reference": f"Patient/{patient}"}
        say(
            "read, one client",
            milliseconds(lambda n: client.get(f"/Patient/{patient}").raise_for_status(), 500),
            "p50 <= 4 ms",
        )
        create = milliseconds(lambda n: post(client, "/Observation", clinic.observation(n, subject)), 300)
        say("create an Observation of a patient, one client", create, "p50 <= 8 ms")


def transaction() -> None:
    """Bundles of growing size as one transaction each."""
    with running() as client:
        post(client, "", clinic.patient_bundle(50))
        for size in (100, 1000, 2124):
            bundle = clinic.patient_bundle(size)
            begun = time.perf_counter()
            post(client, "", bundle)
            taken = time.perf_counter() - begun
            say(f"transaction of {size}", f"{taken:6.2f} s = {size / taken:5.0f} resources/s", ">= 500/s")


def accounts() -> None:
    """`$set-accounts` on a patient with 1,000 members: synchronous, again with nothing to do, and by the state machine."""
    with running() as client:
        path, organizations = _patient_with(client, MEMBERS)
        for name, prefer in (("synchronous", ""), ("respond-async", "respond-async")):
            for organization in organizations:
                begun = time.perf_counter()
                updated = set_accounts(client, path, organization, prefer)
                taken = time.perf_counter() - begun
                say(
                    f"$set-accounts, {updated} resources, {name}",
                    f"{taken:6.2f} s = {updated / taken:5.0f} resources/s",
                    ">= 600/s",
                )
            begun = time.perf_counter()
            updated = set_accounts(client, path, organizations[-1], prefer)
            taken = time.perf_counter() - begun
            say(
                f"the same again, nothing to change, {name}",
                f"{taken:6.2f} s = {updated / taken:5.0f} resources/s",
                ">= 5,000/s",
            )


def _patient_with(client: httpx.Client, members: int) -> tuple[str, list[str]]:
    made = [post(client, "/Organization", {"resourceType": "Organization", "name": name}).json()["id"] for name in "ab"]
    answer = post(client, "", clinic.patient_bundle(members + 1)).json()
    location: str = answer["entry"][0]["response"]["location"]
    key = location.partition("/_history")[0].rpartition("Patient/")[2]
    return f"/Patient/{key}", [f"Organization/{organization}" for organization in made]


FIGURES: dict[str, Callable[[], None]] = {
    "imports": imports,
    "single": single,
    "transaction": transaction,
    "accounts": accounts,
    "fences": lambda: searches.fences(say),
}


# Figures that depend on how much is in the table: one table of each size serves them all.
SIZED: dict[str, Callable[[tables.Filled, searches.Say], None]] = {"costs": costs.report, "searches": searches.report}
SIZES = (1000, 100_000)
MEMBER_SIZES = (30_000, 100_000)
HISTORY_SIZES = (1000, 10_000)
NAMES = [*FIGURES, *SIZED, "histories", "members", "fuzz", "growth"]
# Asked for by name only: it fills a table of a million resources, and writes into docs/.
UNASKED = {"growth"}
REQUESTS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without")
    parser.add_argument("--large", action="store_true", help="also at 30,000 and 100,000 resources (many minutes)")
    parser.add_argument(
        "--requests", type=int, help="how many requests the fuzz sends (100000: four minutes)", default=REQUESTS
    )
    parser.add_argument(
        "--first", type=int, help="number of the fuzz's first sequence; another sends others", default=1
    )
    parser.add_argument(
        "--huge", action="store_true", help="growth, at 10,000, 100,000 and 1,000,000 resources (hours)"
    )
    parser.add_argument("--sizes", help="other sizes for growth, such as 1000,10000")
    parser.add_argument("--folder", type=Path, help="where growth keeps its table", default=growth.FOLDER)
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(unknown)}")
    wanted = given.names or (["growth"] if given.huge else [name for name in NAMES if name not in UNASKED])
    for name, figure in FIGURES.items():
        if name in wanted:
            figure()
    reports = [report for name, report in SIZED.items() if name in wanted]
    for size in SIZES if given.large else SIZES[:1]:
        if reports:
            with tables.filled(size) as table:
                for report in reports:
                    report(table, say)
    for size in (*HISTORY_SIZES, *(SIZES[1:] if given.large else ())) if "histories" in wanted else ():
        histories.report(size, say)
    for size in MEMBER_SIZES if given.large and "members" in wanted else ():
        members.report(size, say)
    if "growth" in wanted:
        sizes = [int(size) for size in given.sizes.split(",")] if given.sizes else growth.SIZES
        growth.report(given.folder, sizes, say)
    if "fuzz" in wanted:
        fuzz.report(given.requests, given.first, say)


if __name__ == "__main__":
    main()
