"""Finishes the work of processes that died, counts dead jobs, and compares heads with the index. Schedules start it; nothing waits for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bulkhead import observability
from bulkhead.store import Store, connect
from bulkhead.store.integrity import NAMED, Report
from functions import running

CHECK = {"check": True}
"""The event that starts a round of the integrity check."""
ADOPT = "adopt"
"""The step of an event that an operator sends once, to a table that older code has written (docs/upgrading.md)."""
# Milliseconds that a round keeps free to finish its current pages.
_RESERVE = 60_000

logger = logging.getLogger("bulkhead.sweeper")


def whole_table(segments: int) -> dict[str, Any]:
    """The input of an execution that checks the whole table in so many segments (infra/integrity.asl.json)."""
    return {"segments": [{"number": number, "of": segments} for number in range(segments)]}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The number of large transactions that were finished and of dead jobs, or the result of the integrity check (`integrity.Report`).

    `event["step"]`, where there is one, names a step of infra/integrity.asl.json, or ADOPT, and `event["input"]` is its input.
    """
    step = event.get("step", "check" if "check" in event else "sweep")
    given = event.get("input", {})

    def time_left() -> bool:
        left: int = context.get_remaining_time_in_millis()
        return left > _RESERVE

    with running.working({"step": step, "input": given}, context):
        store = connect()
        if step == "sweep":
            return {"finished": store.sweep(), "dead": count_dead(store)}
        if step == "segment":
            return compare(store, given, time_left)
        if step == ADOPT:
            return adopt(store, given.get("after"), time_left)
        if step == "sum":
            return add_up(store, given["segments"], given["compared"])
        return check(store, time_left)


def compare(store: Store, segment: dict[str, Any], time_left: Callable[[], bool]) -> dict[str, Any]:
    """The segment with its place and its report after one call: `next` is "segment" until its end is reached, then "end"."""
    report, after = store.check_segment(
        segment["number"], of=segment["of"], after=segment.get("after"), time_left=time_left
    )
    total = _report(segment) + report
    # All segments' reports pass together from state to state, which takes 256 KB.
    total.names = total.names[: max(1, NAMED // segment["of"])]
    return segment | {"report": asdict(total), "after": after, "next": "segment" if after else "end"}


def adopt(store: Store, after: str | None, time_left: Callable[[], bool]) -> dict[str, Any]:
    """How many bodies in S3 got a pointer, and the object `after` which the next call goes on: None once all have one."""
    adopted, after = store.adopt_bodies(after, time_left)
    logger.info("bodies adopted", extra={"adopted": adopted, "after": after})
    return {"adopted": adopted, "after": after}


def add_up(store: Store, segments: Sequence[dict[str, Any]], compared: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report of the whole table, and how many of its `segments` were `left_out`: not gone through to their end.

    `compared` are the outcomes of the Distributed Map's children, as `compare` returns them. One that failed has the `error` besides,
    or says nothing of its segment at all. The layout is noted only where nothing was left out.
    """
    compared = [each for each in compared if isinstance(each, dict) and "number" in each]
    ended = {each["number"] for each in compared if each.get("next") == "end"}
    left_out = [each["number"] for each in segments if each["number"] not in ended]
    total = sum((_report(each) for each in compared), Report())
    if left_out:
        errors = sorted({each["error"] for each in compared if "error" in each})
        logger.error("integrity check left segments out", extra={"segments": left_out, "errors": errors})
    else:
        store.note_layout(total)
    return _logged(total) | {"left_out": len(left_out)}


def count_dead(store: Store) -> int:
    """Reports and logs the jobs on which nobody works any more: whoever has the alarm needs their ids."""
    dead = store.jobs.dead()
    for job in dead:
        logger.error("dead job", extra={"job": job.id, "kind": job.kind, "state": job.state})
    observability.jobs_dead(len(dead))
    return len(dead)


def check(store: Store, time_left: Callable[[], bool]) -> dict[str, Any]:
    """Runs one round of the integrity check."""
    return _logged(store.check_integrity_on(store.settings.integrity_pages, time_left))


def _report(segment: dict[str, Any]) -> Report:
    """What was found in a segment so far."""
    if "report" not in segment:
        return Report()
    return Report(**{**segment["report"], "names": tuple(segment["report"]["names"])})


def _logged(report: Report) -> dict[str, Any]:
    made = asdict(report)
    logger.info("integrity check", extra={"report": json.dumps(made)})
    observability.resources_damaged(report.damaged)
    return made
