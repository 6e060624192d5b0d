"""Executions of the state machines: one for each job, under the job's id."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from bulkhead import settings
from bulkhead.fhir import json
from bulkhead.store.jobs import BUNDLE, PURGE, SET_ACCOUNTS, Job

# Seconds that a running execution is taken to run on: a client that polls often does not make as many requests of Step Functions.
_TRUSTED = 3.0
_seen_running: dict[str, float] = {}


@cache
def _client() -> Any:
    import boto3

    return boto3.client("stepfunctions")


def _machine(kind: str) -> str:
    """The ARN of the state machine that does jobs of a kind."""
    known = settings.current()
    return known.bundle_state_machine if kind == BUNDLE else known.state_machine


def start(job: str) -> None:
    """Start the execution of a `$set-accounts` that propagates. No effect where it was started before."""
    _start(SET_ACCOUNTS, job)


def start_purge(job: str) -> None:
    """Start the execution of a purge, by the state machine of propagations. No effect where it was started before."""
    _start(PURGE, job)


def start_bundle(job: str) -> None:
    """Start the execution of a bundle's job. No effect where it was started before."""
    _start(BUNDLE, job)


def _start(kind: str, job: str) -> None:
    client = _client()
    try:
        client.start_execution(stateMachineArn=_machine(kind), name=job, input=json.dumps({"job": job}).decode())
    except client.exceptions.ExecutionAlreadyExists:
        return


def is_running(job: Job) -> bool:
    """Whether the job's execution is at work."""
    if time.monotonic() - _seen_running.get(job.id, -_TRUSTED) < _TRUSTED:
        return True
    client = _client()
    try:
        answer = client.describe_execution(executionArn=_execution(job))
    except client.exceptions.ExecutionDoesNotExist:
        return False
    running = bool(answer["status"] == "RUNNING")
    if running:
        _seen_running.clear()
        _seen_running[job.id] = time.monotonic()
    return running


def stop(job: Job) -> None:
    """End the job's execution, if there is one."""
    client = _client()
    try:
        client.stop_execution(executionArn=_execution(job), error="Cancelled")
    except client.exceptions.ExecutionDoesNotExist:
        return


def _execution(job: Job) -> str:
    return f"{_machine(job.kind).replace(':stateMachine:', ':execution:')}:{job.id}"
