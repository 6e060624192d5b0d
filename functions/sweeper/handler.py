"""Finishes what a process left behind when it died, and compares heads with the index. Schedules start it; nothing waits for it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any

from bulkhead.store import Store, connect
from functions import running

CHECK = {"check": True}
"""The event that asks for a round of the integrity check."""
# Milliseconds that it leaves for the pages that it is at.
_RESERVE = 60_000

logger = logging.getLogger("bulkhead.sweeper")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """How many large transactions were finished, or what the integrity check came to (`integrity.Report`)."""
    step = "check" if "check" in event else "sweep"
    with running.working({"step": step, "input": {}}, context):
        store = connect()
        if step == "sweep":
            return {"finished": store.sweep()}
        return check(store, lambda: context.get_remaining_time_in_millis() > _RESERVE)


def check(store: Store, time_left: Any) -> dict[str, Any]:
    """One round of the integrity check."""
    report = asdict(store.check_integrity_on(store.settings.integrity_pages, time_left))
    logger.info("integrity check", extra={"report": json.dumps(report)})
    return report
