"""The frame around the work of every function: the correlation id, the time by which it must finish, the units that it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError

from bulkhead import observability
from bulkhead.store import connect
from bulkhead.store.capacity import counted
from bulkhead.store.throttling import waiting_until

API_SECONDS = 29.0
"""API Gateway gives up after 30 seconds."""
# Seconds kept for reporting a failure, and for the request to DynamoDB that is under way.
_API_RESERVE, _TASK_RESERVE = 3.0, 30.0
# It begins every minute, whether there is anything to do or not: reported each time, its reads would be a metric that is always paid for.
_SWEEP = "sweep"

if observability.is_on_lambda():
    # While a function starts it has a whole processor, whatever its memory, and a snapshot then contains the client. If there are no
    # credentials yet, the first request asks again.
    with suppress(BotoCoreError):
        connect()


@contextmanager
def answering(operation: str, correlation: str, context: Any) -> Iterator[None]:
    """The context of a response to a request: it is ready before API Gateway gives up, however throttled the table is."""
    with _running(operation, correlation, min(API_SECONDS, _seconds_left(context, API_SECONDS)) - _API_RESERVE):
        yield


@contextmanager
def working(event: Mapping[str, Any], context: Any) -> Iterator[None]:
    """The context of a task of a state machine: it waits for a throttled table as long as its function may run."""
    left = _seconds_left(context, API_SECONDS)
    with _running(event["step"], event["input"].get("correlation", ""), max(left - _TASK_RESERVE, left / 2)):
        yield


@contextmanager
def _running(operation: str, correlation: str, seconds: float) -> Iterator[None]:
    with (
        observability.correlated(correlation),
        waiting_until(time.monotonic() + seconds),
        counted(is_wanted=observability.is_measuring()) as meter,
    ):
        try:
            yield
        finally:
            if meter and (meter.written or operation != _SWEEP):
                observability.units(operation, meter.read, meter.written)


def _seconds_left(context: Any, otherwise: float) -> float:
    """Seconds before Lambda stops the function; `otherwise` outside of Lambda."""
    if not hasattr(context, "get_remaining_time_in_millis"):
        return otherwise
    return float(context.get_remaining_time_in_millis()) / 1000
