"""Executions of the state machines: one for each job, under the job's id and when it was created.

Step Functions remembers the name of an execution for 90 days. A job expires earlier, and an `Idempotency-Key` that is used again then
is a new job under the old id: by the id alone its execution would be taken for the one that is over.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from bulkhead import observability
from bulkhead.errors import Unavailable
from bulkhead.fhir import json
from bulkhead.store import timeouts
from bulkhead.store.jobs import BUNDLE, Job

if TYPE_CHECKING:
    from bulkhead.store import Store

# Seconds that an execution is taken to run on that was seen running: a client that polls often does not make as many requests of Step
# Functions, of which an account has a few dozen a second.
_TRUSTED = 3.0
# The same of a job on which somebody was seen at work: between two notes of that there are ten seconds, and a request to the table.
_BEATING = 20.0
_seen_running: dict[str, float] = {}


@cache
def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("stepfunctions", config=Config(**timeouts.options()))


def _machine(store: Store, kind: str) -> str:
    """The ARN of the state machine for a kind of job."""
    return store.settings.bundle_state_machine if kind == BUNDLE else store.settings.state_machine


def start(store: Store, job: str) -> None:
    """Start the execution of a job that was just created, of whatever kind. No effect where it was started before."""
    made = store.jobs.read(job)
    if made is None:
        raise Unavailable("the job is not there")
    client = _client()
    # What the execution begins with, and each of its tasks is given: see functions/running.py.
    given = json.dumps({"job": job, "correlation": observability.correlation()})
    try:
        client.start_execution(stateMachineArn=_machine(store, made.kind), name=_name(made), input=given.decode())
    except client.exceptions.ExecutionAlreadyExists:
        return


def is_running(store: Store, job: Job) -> bool:
    """Whether the job's execution is at work: by the job's own word, if it is fresh, or Step Functions'."""
    if time.time() - job.beat < _BEATING:
        return True
    if time.monotonic() - _seen_running.get(job.id, -_TRUSTED) < _TRUSTED:
        return True
    client = _client()
    try:
        answer = client.describe_execution(executionArn=_execution(store, job))
    except client.exceptions.ExecutionDoesNotExist:
        return False
    running = bool(answer["status"] == "RUNNING")
    if running:
        _seen_running.clear()
        _seen_running[job.id] = time.monotonic()
    return running


def stop(store: Store, job: Job) -> None:
    """Stops the job's execution, if there is one."""
    client = _client()
    try:
        client.stop_execution(executionArn=_execution(store, job), error="Cancelled")
    except client.exceptions.ExecutionDoesNotExist:
        return


def _name(job: Job) -> str:
    return f"{job.id}-{job.created:.0f}"


def _execution(store: Store, job: Job) -> str:
    return f"{_machine(store, job.kind).replace(':stateMachine:', ':execution:')}:{_name(job)}"
