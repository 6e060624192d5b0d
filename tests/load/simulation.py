"""How long a `$set-accounts` takes on AWS, from a thousand to 100 million members, and the integrity check of as many resources.

A model, not a measurement. `python -m tests.load.simulation` prints two tables and draws docs/operations/propagation.svg. What it rests
on is below, each with where it comes from.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "operations" / "propagation.svg"
SIZES = tuple(10 ** (power / 4) for power in range(12, 33))
STEP = 10.0
"""Seconds of one step of the simulation."""

# Counted on the emulator: write units for a member as the workers write them (BULK_WRITES=single; 7 for an account that is given or taken, 9 for
# another in its place), table and indexes together, and in the index by time alone.
UNITS_A_MEMBER, UNITS_BY_TIME = 8.0, 3.0
# A partition of DynamoDB (AWS's documentation). What an on-demand table serves at first, and in how many seconds it doubles under load.
PARTITION, NEW_TABLE, DOUBLES_IN = 1_000.0, 4_000.0, 1_800.0
# A batch of 100: ten requests of some 10 ms one after the other, then 200 to 300 in eight threads, at a millisecond of CPU each or two; and its
# part of the start of a child execution. Assumed.
BATCH, SECONDS_A_BATCH = 100, 1.0
# Members that a plan lists in a second, and how often the compartment is listed: to plan, and to verify.
LISTED, LISTINGS = 20_000.0, 2
# Start of the executions, of the map, and the wait for the indexes.
OVERHEAD = 15.0

# The integrity check. Bytes of a resource in the table (its indexes are not scanned), and the megabyte that Scan returns at most.
BYTES_A_RESOURCE, PAGE = 6_000, 1_000_000
# Pages that a call compares in a second. Assumed: on one core here a resource takes 0.6 ms of CPU, so that 170 of them take 0.1 s.
PAGES_A_SECOND = 3.0
# Seconds that a call works before it keeps its last minute free; read units of a page, eventually consistent, and those a second that a table
# serves by the account's default quota.
CALL, UNITS_A_PAGE, READ_QUOTA = 840.0, 128, 40_000
# Events of a call (state entered and left, task scheduled, started and ended, the choice after it), and of a call that Lambda refuses.
EVENTS_A_CALL, EVENTS_A_REFUSAL = 7, 3
# Events that an execution of Step Functions may have.
HISTORY = 25_000
# How often each call is refused in the table's bad night: for half an hour, at a minute on average.
REFUSALS = 30
GIGABYTES = 1.769


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the picture."""

    name: str
    colour: str
    workers: int = 10
    warm: float = NEW_TABLE
    shards: int = 4


SETTINGS = (
    Setting("as deployed", "#1f77b4"),
    Setting("warm_writes=40000", "#2ca02c", warm=40_000),
    Setting("warm, PROPAGATION_WORKERS=40", "#ff7f0e", workers=40, warm=40_000),
    Setting("the same, 16 shards by time", "#d62728", workers=40, warm=40_000, shards=16),
)


def seconds(members: float, setting: Setting) -> float:
    """From the request to the end of the job, nothing else going on in the table."""
    left, taken, capacity = members, 0.0, setting.warm
    by_workers = setting.workers * BATCH / SECONDS_A_BATCH
    by_time = setting.shards * PARTITION / UNITS_BY_TIME
    while left > 0:
        rate = min(by_workers, by_time, capacity / UNITS_A_MEMBER)
        step = min(STEP, left / rate)
        if rate * UNITS_A_MEMBER >= capacity:
            capacity *= 2 ** (step / DOUBLES_IN)
        left -= rate * step
        taken += step
    return OVERHEAD + taken + LISTINGS * members / LISTED


def dollars(members: float) -> float:
    """Write units, the reads of two listings and of each head, and state transitions, in us-east-1."""
    writes, reads, transitions = members * UNITS_A_MEMBER, members * 2.1, members / BATCH * 5
    return writes * 0.625e-6 + reads * 0.125e-6 + transitions * 25e-6


def check_seconds(resources: float, segments: int) -> float:
    """Of a whole table, in so many segments at once."""
    return _pages(resources) / min(segments * PAGES_A_SECOND, READ_QUOTA / UNITS_A_PAGE)


def calls_a_segment(resources: float, segments: int) -> int:
    return math.ceil(check_seconds(resources, segments) / CALL)


def check_events(resources: float, segments: int, *, refusals: int = 0) -> int:
    """Events of one segment, each of whose calls is refused so many times before it starts."""
    return calls_a_segment(resources, segments) * (EVENTS_A_CALL + refusals * EVENTS_A_REFUSAL)


def check_dollars(resources: float) -> float:
    """Read units and Lambda, in us-east-1. State transitions come to cents."""
    pages = _pages(resources)
    return pages * UNITS_A_PAGE * 0.125e-6 + pages / PAGES_A_SECOND * GIGABYTES * 0.0000133


def check_table() -> str:
    """As Markdown."""
    lines = [
        "| resources | segments | takes | calls | events of a segment | the same in a bad night | of all in one history | cost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for resources in (10**6, 10**7, 10**8, 10**9):
        for segments in (16, 40, 100):
            usual, bad = (check_events(resources, segments, refusals=each) for each in (0, REFUSALS))
            lines.append(
                f"| {resources:,} | {segments} | {words(check_seconds(resources, segments))} "
                f"| {calls_a_segment(resources, segments) * segments:,} | {usual:,} | {bad:,} "
                f"| {usual * segments:,} to {bad * segments:,} | ${check_dollars(resources):,.2f} |"
            )
    return "\n".join(lines) + "\n"


def _pages(resources: float) -> float:
    return resources * BYTES_A_RESOURCE / PAGE


def words(taken: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if taken >= size:
            return f"{taken / size:.1f} {unit}"
    return f"{taken:.0f} s"


def table() -> str:
    """As Markdown."""
    head = " | ".join(["members", *(setting.name for setting in SETTINGS), "cost"])
    lines = [f"| {head} |", "| --- " * (len(SETTINGS) + 2) + "|"]
    for members in (10**power for power in range(3, 9)):
        cells = [words(seconds(members, setting)) for setting in SETTINGS]
        lines.append(f"| {members:,} | {' | '.join(cells)} | ${dollars(members):,.2f} |")
    return "\n".join(lines) + "\n"


WIDTH, HEIGHT, LEFT, BOTTOM = 760, 420, 70, 50
_MARKS = ((60, "1 min"), (600, "10 min"), (3_600, "1 h"), (36_000, "10 h"), (86_400 * 3, "3 d"))


def picture() -> str:
    """An SVG: members against time, both logarithmic."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(3, 9):
        x = _x(10.0**power)
        parts.append(_line([(x, 20), (x, HEIGHT - BOTTOM)], "#ddd", 1))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>')
    for mark, text in _MARKS:
        y = _y(mark)
        parts.append(_line([(LEFT, y), (WIDTH - 20, y)], "#ddd", 1))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for number, setting in enumerate(SETTINGS):
        parts.append(_line([(_x(size), _y(seconds(size, setting))) for size in SIZES], setting.colour, 2))
        parts.append(f'<text x="{LEFT + 16}" y="{40 + 18 * number}" fill="{setting.colour}">{setting.name}</text>')
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">members</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(members: float) -> float:
    return LEFT + (math.log10(members) - 3) / 5 * (WIDTH - 20 - LEFT)


def _y(taken: float) -> float:
    low, high = math.log10(10), math.log10(86_400 * 5)
    return HEIGHT - BOTTOM - (math.log10(taken) - low) / (high - low) * (HEIGHT - BOTTOM - 20)


def _line(points: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


if __name__ == "__main__":
    PICTURE.write_text(picture())
    sys.stdout.write(f"{table()}\n{check_table()}")
