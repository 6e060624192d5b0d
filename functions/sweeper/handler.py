"""Finishes what a process left behind when it died. A schedule starts it; nothing waits for it."""

from __future__ import annotations

from typing import Any

from bulkhead.store import connect


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """How many large transactions were finished."""
    return {"finished": connect().sweep()}
