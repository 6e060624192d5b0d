"""What operations cost as the table grows: requests, units and own CPU at several sizes of one table, which is kept in a folder.

The table is filled once, up to the next size; another run goes on with what is there. The figures go into docs/performance.md, between its
two marks, and as a picture into docs/growth.svg: CPU against that of the smallest size.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bulkhead import resources, settings
from bulkhead.access import policy
from bulkhead.compartments import propagation
from bulkhead.observability import logger
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Store
from functions import http
from tests.load import clinic, tables
from tests.load.costs import target_write

Say = Callable[[str, str, str], None]
SIZES = (10_000, 100_000, 1_000_000)
FOLDER = Path("build/figures")
DOCS = Path(__file__).resolve().parents[2] / "docs"
TIMES = 15
ACCOUNTS = ("Organization/a", "Organization/b")
_BEGIN, _END = "<!-- growth: made by make figures -->", "<!-- end of growth -->"


class Figure(NamedTuple):
    """The cost of one operation: of one read, one page, one member, one entry."""

    name: str
    requests: float
    units: float
    milliseconds: float
    """CPU of this process alone."""


class Kept(msgspec.Struct):
    """What a folder holds."""

    resources: int = 0
    patients: list[str] = []
    figures: dict[str, list[Figure]] = {}
    """By size."""


def report(folder: Path, sizes: Sequence[int], say: Say, docs: Path = DOCS) -> None:
    """Fill the table of a folder to each of the sizes, and measure; then write the page and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["AUTH"] = "off"
    # What was imported has read them before.
    settings.current.cache_clear()
    logger.setLevel("WARNING")
    notes = folder / "growth.json"
    kept = msgspec.json.decode(notes.read_bytes(), type=Kept) if notes.exists() else Kept()
    with tables.at(folder / "growth.sqlite") as client:
        store = Store(client, None, Settings(table=tables.TABLE, bulk_writes="transact", auth="off"))
        vars(http)["connect"] = lambda: store
        for size in sorted(sizes):
            if str(size) in kept.figures and kept.resources > 1.5 * size:
                # It was measured when the table was that small.
                continue
            while kept.resources < size:
                kept.patients = (kept.patients or []) + [_fill(store, kept)]
                notes.write_bytes(msgspec.json.encode(kept))
            kept.figures[str(size)] = [_measured(store, *work) for work in _works(store, kept.patients)]
            _take_accounts_back(store)
            for figure in kept.figures[str(size)]:
                say(f"[{size}] {figure.name}", _cell(figure), "the same at any size")
            notes.write_bytes(msgspec.json.encode(kept))
    shown = {size: kept.figures[str(size)] for size in sorted(sizes)}
    _write_page(docs / "performance.md", shown)
    (docs / "growth.svg").write_text(picture(shown))


def _fill(store: Store, kept: Kept) -> str:
    number = len(kept.patients)
    made = tables.fill_one(store, number, tables.EACH + 1, None)
    kept.resources += tables.EACH + 1
    return made


def _works(store: Store, patients: Sequence[str]) -> list[tuple[str, int, Callable[[int], object]]]:
    """Name, what to divide by, and the work, which is told how often it was done."""

    def patient(turn: int) -> str:
        return patients[turn * 7919 % len(patients)]

    def get(path: str, query: str = "") -> None:
        method = {"method": "GET", "sourceIp": "192.0.2.1"}
        event = {"requestContext": {"http": method, "domainName": "load"}, "headers": {}}
        answered = http.serve({**event, "rawPath": f"/fhir/R4/{path}", "rawQueryString": query})
        assert answered["statusCode"] == 200, answered

    def post(path: str, body: dict[str, Any]) -> None:
        context = {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "domainName": "load"}
        event = {"requestContext": context, "headers": {"content-type": "application/fhir+json"}}
        answered = http.serve({**event, "rawPath": f"/fhir/R4{path}", "body": msgspec.json.encode(body).decode()})
        assert answered["statusCode"] in (200, 201), answered

    def give(turn: int) -> None:
        _set_accounts(store, patient(turn), (ACCOUNTS[turn % 2],))

    session = Session.of(store, policy.EVERYBODY)
    for account in ACCOUNTS:
        name = {"resourceType": "Organization", "id": account.partition("/")[2], "name": "Load"}
        resources.update(session, name, account)
    number = len(patients) - 1
    return [
        ("read", 1, lambda turn: get(patient(turn))),
        ("page of 100 by subject", 1, lambda turn: get("Observation", f"subject={patient(turn)}&_count=100")),
        (
            "20 newest of a patient",
            1,
            lambda turn: get("Observation", f"patient={patient(turn)}&_sort=-date&_count=20"),
        ),
        ("identifier", 1, lambda turn: get("Patient", f"identifier=urn:load|{turn * 7919 % (number + 1)}")),
        ("`_tag` that nothing has", 1, lambda turn: get("Observation", "_tag=nothing")),
        ("create", 1, lambda turn: post("/Observation", clinic.observation(turn, {"reference": patient(turn)}))),
        ("transaction of 100, per entry", 100, lambda turn: post("", clinic.patient_bundle(100))),
        ("`$set-accounts`, per member", tables.EACH, give),
    ]


def _set_accounts(store: Store, key: str, accounts: tuple[str, ...]) -> None:
    store.commit([target_write(store, key, accounts)])
    members = [pointer.source for pointer in store.pointing_at(key, limit=5000)]
    propagation.propagate(store, key, members, changed_at=None, fence=None, naming=True)


def _take_accounts_back(store: Store) -> None:
    """Leave the table as it was: another run would find nothing to change, and creates would inherit accounts."""
    for account in ACCOUNTS:
        given = {pointer.source for pointer in store.in_account(account, "Patient", limit=5000)}
        for key in sorted(given):
            _set_accounts(store, key, ())


def _measured(store: Store, name: str, count: int, work: Callable[[int], object]) -> Figure:
    times = TIMES if count == 1 else 4
    work(0)
    with store.metered() as meter:
        work(1)
    taken = []
    for turn in range(2, 2 + times):
        begun = time.process_time()
        work(turn)
        taken.append((time.process_time() - begun) * 1000 / count)
    return Figure(name, meter.total / count, sum(meter.units.values()) / count, statistics.median(taken))


def _cell(figure: Figure) -> str:
    return f"{figure.requests:.3g} / {figure.units:.4g} / {figure.milliseconds:.3g} ms"


def _write_page(page: Path, shown: dict[int, list[Figure]]) -> None:
    text = page.read_text()
    head, _, rest = text.partition(_BEGIN)
    tail = rest.partition(_END)[2] if rest else "\n"
    sizes = list(shown)
    rows = [
        f"| resources in the table | {' | '.join(f'{size:,}' for size in sizes)} |",
        "|" + " --- |" * (len(sizes) + 1),
    ]
    for row in zip(*shown.values(), strict=True):
        rows.append(f"| {row[0].name} | {' | '.join(map(_cell, row))} |")
    body = "Requests to DynamoDB / its units / CPU of this process alone.\n\n" + "\n".join(rows)
    page.write_text(f"{head.rstrip()}\n\n{_BEGIN}\n\n{body}\n\n![CPU as the table grows](growth.svg)\n\n{_END}{tail}")


_COLOURS = ("#1b6ca8", "#c0392b", "#27ae60", "#8e44ad", "#d68910", "#16a085", "#7f8c8d", "#2c3e50")
_LEFT, _TOP, _WIDTH, _HEIGHT, _MOST = 60, 20, 420, 260, 3.0


def picture(shown: dict[int, list[Figure]]) -> str:
    """An SVG: the CPU of each operation at each size, against that at the smallest; above three times as three times."""
    sizes = list(shown)
    first = shown[sizes[0]]

    def x(n: int) -> float:
        return _LEFT + _WIDTH * n / max(len(sizes) - 1, 1)

    def y(ratio: float) -> float:
        return _TOP + _HEIGHT * (1 - min(ratio, _MOST) / _MOST)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="320" font-family="sans-serif" font-size="12">'
    ]
    for ratio in (0, 1, 2, 3):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y(ratio):.0f}" y2="{y(ratio):.0f}" stroke="#ddd"/>'
        )
        parts.append(f'<text x="{_LEFT - 30}" y="{y(ratio) + 4:.0f}">{ratio} x</text>')
    for n, size in enumerate(sizes):
        parts.append(f'<text x="{x(n):.0f}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{size:,}</text>')
    for number, start in enumerate(first):
        colour = _COLOURS[number % len(_COLOURS)]
        ratios = [shown[size][number].milliseconds / max(start.milliseconds, 1e-6) for size in sizes]
        points = " ".join(f"{x(n):.0f},{y(ratio):.0f}" for n, ratio in enumerate(ratios))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        name = start.name.replace("`", "")
        parts.append(f'<text x="{_LEFT + _WIDTH + 15}" y="{_TOP + 14 + 18 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
