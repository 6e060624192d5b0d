"""Finishes the work of processes that died, counts dead jobs, and compares heads with the index. Schedules start it; nothing waits for it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any

from bulkhead import observability
from bulkhead.store import Store, connect
from functions import running

CHECK = {"check": True}
"""The event that starts a round of the integrity check."""
# Milliseconds that a round keeps free to finish its current pages.
_RESERVE = 60_000

logger = logging.getLogger("bulkhead.sweeper")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The number of large transactions that were finished and of dead jobs, or the result of the integrity check (`integrity.Report`)."""
    step = "check" if "check" in event else "sweep"
    with running.working({"step": step, "input": {}}, context):
        store = connect()
        if step == "sweep":
            return {"finished": store.sweep(), "dead": count_dead(store)}
        return check(store, lambda: context.get_remaining_time_in_millis() > _RESERVE)


def count_dead(store: Store) -> int:
    """Reports and logs the jobs on which nobody works any more: whoever has the alarm needs their ids."""
    dead = store.jobs.dead()
    for job in dead:
        logger.error("dead job", extra={"job": job.id, "kind": job.kind, "state": job.state})
    observability.jobs_dead(len(dead))
    return len(dead)


def check(store: Store, time_left: Any) -> dict[str, Any]:
    """Runs one round of the integrity check."""
    report = asdict(store.check_integrity_on(store.settings.integrity_pages, time_left))
    logger.info("integrity check", extra={"report": json.dumps(report)})
    return report
