"""How jobs are started, watched and stopped: what is asked of Step Functions, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from bulkhead.jobs import executions
from bulkhead.settings import Settings
from bulkhead.store.jobs import BUNDLE, Job

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:propagation"
JOB = Job("j", "me", "Patient/1", (), 0, 0)
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:propagation:j"


@pytest.fixture
def step_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client: Any = boto3.client("stepfunctions", region_name="us-east-1")
    monkeypatch.setattr(executions, "_client", lambda: client)
    monkeypatch.setattr(executions, "_seen_running", {})
    monkeypatch.setattr(
        executions.settings,
        "current",
        lambda: Settings(state_machine=MACHINE, bundle_state_machine=MACHINE.replace("propagation", "bundle")),
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def start(stubber: Stubber, error: str | None = None) -> None:
    expected = {"stateMachineArn": MACHINE, "name": "j", "input": json.dumps({"job": "j"}, separators=(",", ":"))}
    if error:
        stubber.add_client_error("start_execution", error, expected_params=expected)
    else:
        stubber.add_response("start_execution", {"executionArn": EXECUTION, "startDate": 0}, expected)


def describe(stubber: Stubber, status: str) -> None:
    answer = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": status, "startDate": 0}
    stubber.add_response("describe_execution", answer, {"executionArn": EXECUTION})


def test_an_execution_bears_the_jobs_name(step_functions: Stubber) -> None:
    start(step_functions)
    executions.start("j")


def test_a_bundle_has_a_state_machine_of_its_own(step_functions: Stubber) -> None:
    started = {"stateMachineArn": MACHINE.replace("propagation", "bundle"), "name": "j", "input": '{"job":"j"}'}
    step_functions.add_response("start_execution", {"executionArn": EXECUTION, "startDate": 0}, started)
    executions.start_bundle("j")
    answer = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": "FAILED", "startDate": 0}
    step_functions.add_response(
        "describe_execution", answer, {"executionArn": EXECUTION.replace("propagation", "bundle")}
    )
    assert not executions.is_running(replace(JOB, kind=BUNDLE))


def test_starting_twice_is_starting_once(step_functions: Stubber) -> None:
    start(step_functions, "ExecutionAlreadyExists")
    executions.start("j")


def test_what_cannot_be_started_is_an_error(step_functions: Stubber) -> None:
    start(step_functions, "StateMachineDoesNotExist")
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        executions.start("j")


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_what_is_over_is_not_running(step_functions: Stubber, status: str) -> None:
    describe(step_functions, status)
    assert not executions.is_running(JOB)


def test_what_runs_is_not_asked_about_at_every_poll(step_functions: Stubber) -> None:
    describe(step_functions, "RUNNING")
    assert executions.is_running(JOB)
    assert executions.is_running(JOB)


def test_what_was_never_started_is_not_running(step_functions: Stubber) -> None:
    step_functions.add_client_error("describe_execution", "ExecutionDoesNotExist")
    assert not executions.is_running(JOB)


def test_stopping(step_functions: Stubber) -> None:
    expected = {"executionArn": EXECUTION, "error": "Cancelled"}
    step_functions.add_response("stop_execution", {"stopDate": 0}, expected)
    executions.stop(JOB)
    step_functions.add_client_error("stop_execution", "ExecutionDoesNotExist")
    executions.stop(JOB)
