"""The structured log, and metrics in CloudWatch's Embedded Metric Format. Both are Powertools', and only this module uses them.

They have ids, codes and counts only, never the content of a resource, nor the text of an exception, which may quote one.

One correlation id goes through everything that a request starts: its own lines of the log, its job, each worker of the job.
Any module logs by `logging.getLogger(__name__)`: its lines reach the handler of `logger`, which adds the id.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from bulkhead import settings

NAMESPACE, SERVICE = "Bulkhead", "bulkhead"

JOBS_FAILED = "JobsFailed"
"""Metric, by `service` alone: jobs that failed for reasons outside of their request."""
JOBS_DEAD = "JobsDead"
"""Metric, by `service` alone: jobs that are not over and that nobody works on, at one time."""
RESOURCES_DAMAGED = "ResourcesDamaged"
"""Metric, by `service` alone: resources that a round of the integrity check could not read, or whose versions are not all there."""
READ_UNITS, WRITE_UNITS = "ReadUnits", "WriteUnits"
"""Metrics, by `service` and `operation` (of the route table, or a step of a job): capacity units, indexes included."""

# R4's "client assigned GUID": it cannot contain a name.
_GUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)

_correlation: ContextVar[str] = ContextVar("correlation", default="")


class _Correlating(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if text := _correlation.get():
            record.correlation_id = text
        return True


logger = Logger(service=SERVICE, level=settings.current().log_level, log_uncaught_exceptions=False)
logger.registered_handler.addFilter(_Correlating())


@contextmanager
def correlated(identifier: str) -> Iterator[None]:
    """Adds `identifier` to all lines of the log within this context; "" for none."""
    token = _correlation.set(identifier)
    try:
        yield
    finally:
        _correlation.reset(token)


def correlation() -> str:
    """The correlation id of this request or task; "" if there is none."""
    return _correlation.get()


def chosen(headers: Mapping[str, str], request_id: str) -> str:
    """The correlation id of a request (R4 http.html#custom): the client's `X-Correlation-Id`, if it is a GUID; else the request's own."""
    given = headers.get("x-correlation-id", "")
    return given if _GUID.fullmatch(given) else request_id


def job_failed() -> None:
    """Counts a job that failed for reasons outside of its request."""
    _emit({JOBS_FAILED: 1}, {})


def jobs_dead(count: int) -> None:
    """Reports how many jobs nobody works on. What is not reported is taken for none."""
    if count:
        _emit({JOBS_DEAD: count}, {})


def resources_damaged(count: int) -> None:
    """Reports how many damaged resources a round of the integrity check found. What is not reported is taken for none."""
    if count:
        _emit({RESOURCES_DAMAGED: count}, {})


def units(operation: str, read: float, write: float) -> None:
    """Reports the capacity units of one piece of work, where a deployment wants that. CloudWatch asks 30 cents a month for each metric that is reported, be it zero."""
    used = {name: value for name, value in ((READ_UNITS, read), (WRITE_UNITS, write)) if value}
    if used and is_measuring():
        _emit(used, {"operation": operation})


def _emit(values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
    if not is_on_lambda():
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    for name, text in dimensions.items():
        metrics.add_dimension(name=name, value=text)
    if text := correlation():
        # In this line only, not as a dimension: to find the units of one request.
        metrics.add_metadata(key="correlation_id", value=text)
    for name, value in values.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    metrics.flush_metrics()


def is_measuring() -> bool:
    """Whether units are reported: CloudWatch reads the standard output of a Lambda function, nothing reads a terminal's.

    What alarms read is reported on Lambda in any case: it costs only when it is reported.
    """
    return is_on_lambda() and settings.current().metrics == "on"


def is_on_lambda() -> bool:
    """Whether this process is a Lambda function."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ
