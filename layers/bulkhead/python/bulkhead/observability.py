"""What operators see: the structured log, and metrics in CloudWatch's Embedded Metric Format. Both are Powertools', and both only here.

Ids, codes and counts only: nothing that a resource says, and no text of an exception, which may quote one.

One correlation id goes with all that a request sets off: its own lines of the log, the job that it starts, each worker of the job.
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
"""Metric, by `service` alone: jobs that ended without doing what was asked, for reasons that are not their request's."""
READ_UNITS, WRITE_UNITS = "ReadUnits", "WriteUnits"
"""Metrics, by `service` and `operation` (of the route table, or a step of a job): capacity units, indexes included."""

# R4's "client assigned GUID": no room for a name.
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
    """Within this context all lines of the log bear `identifier`; "" for none."""
    token = _correlation.set(identifier)
    try:
        yield
    finally:
        _correlation.reset(token)


def correlation() -> str:
    """The correlation id of this request or task; "" where there is none."""
    return _correlation.get()


def chosen(headers: Mapping[str, str], request_id: str) -> str:
    """The correlation id of a request (R4 http.html#custom): the client's `X-Correlation-Id`, if it is a GUID; else the request's own."""
    given = headers.get("x-correlation-id", "")
    return given if _GUID.fullmatch(given) else request_id


def job_failed() -> None:
    """Count a job that failed for reasons that are not its request's."""
    _emit({JOBS_FAILED: 1}, {})


def units(operation: str, read: float, write: float) -> None:
    """Report the capacity units that one piece of work took."""
    if read or write:
        _emit({READ_UNITS: read, WRITE_UNITS: write}, {"operation": operation})


def _emit(values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
    if not is_measuring():
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    for name, text in dimensions.items():
        metrics.add_dimension(name=name, value=text)
    if text := correlation():
        # Of the line alone, no dimension: to find what one request took.
        metrics.add_metadata(key="correlation_id", value=text)
    for name, value in values.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    metrics.flush_metrics()


def is_measuring() -> bool:
    """Whether metrics go anywhere: a Lambda function's standard output is read by CloudWatch, a terminal is not."""
    return is_on_lambda() and settings.current().metrics == "on"


def is_on_lambda() -> bool:
    """Whether this process is a Lambda function's."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ
