"""Executions of the propagation state machine: one for each job, under the job's id."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from bulkhead import settings
from bulkhead.model import json

# Seconds that a running execution is taken to run on: a client that polls often does not make as many requests of Step Functions.
_TRUSTED = 3.0
_seen_running: dict[str, float] = {}


@cache
def _client() -> Any:
    import boto3

    return boto3.client("stepfunctions")


def start(job: str) -> None:
    """Start the execution of a job. No effect where it was started before."""
    client = _client()
    try:
        client.start_execution(
            stateMachineArn=settings.current().state_machine, name=job, input=json.dumps({"job": job}).decode()
        )
    except client.exceptions.ExecutionAlreadyExists:
        return


def is_running(job: str) -> bool:
    """Whether the job's execution is at work."""
    if time.monotonic() - _seen_running.get(job, -_TRUSTED) < _TRUSTED:
        return True
    client = _client()
    try:
        answer = client.describe_execution(executionArn=_arn(job))
    except client.exceptions.ExecutionDoesNotExist:
        return False
    running = bool(answer["status"] == "RUNNING")
    if running:
        _seen_running.clear()
        _seen_running[job] = time.monotonic()
    return running


def stop(job: str) -> None:
    """End the job's execution, if there is one."""
    client = _client()
    try:
        client.stop_execution(executionArn=_arn(job), error="Cancelled")
    except client.exceptions.ExecutionDoesNotExist:
        return


def _arn(job: str) -> str:
    return f"{settings.current().state_machine.replace(':stateMachine:', ':execution:')}:{job}"
