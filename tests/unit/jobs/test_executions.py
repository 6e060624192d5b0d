"""How jobs are started, watched and stopped: what is asked of Step Functions, and what is made of its answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from bulkhead import observability
from bulkhead.errors import Unavailable
from bulkhead.jobs import executions
from bulkhead.store import Store
from bulkhead.store.jobs import BUNDLE, Job

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:propagation"
NOW = time.time()
# It expires long after the suite has ended: this module is imported when the suite begins.
JOB = Job("j", "me", "Patient/1", (), NOW, int(NOW) + 86_400)
NAME = f"j-{NOW:.0f}"
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:propagation:" + NAME


@pytest.fixture(autouse=True)
def machines(store: Store) -> None:
    """Two state machines in the settings of the store."""
    store.settings = replace(
        store.settings, state_machine=MACHINE, bundle_state_machine=MACHINE.replace("propagation", "bundle")
    )


@pytest.fixture
def step_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client: Any = boto3.client("stepfunctions", region_name="us-east-1")
    monkeypatch.setattr(executions, "_client", lambda: client)
    monkeypatch.setattr(executions, "_seen_running", {})
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def start(stubber: Stubber, error: str | None = None) -> None:
    given = json.dumps({"job": "j", "correlation": ""}, separators=(",", ":"))
    expected = {"stateMachineArn": MACHINE, "name": NAME, "input": given}
    if error:
        stubber.add_client_error("start_execution", error, expected_params=expected)
    else:
        stubber.add_response("start_execution", {"executionArn": EXECUTION, "startDate": 0}, expected)


def describe(stubber: Stubber, status: str) -> None:
    answer = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": status, "startDate": 0}
    stubber.add_response("describe_execution", answer, {"executionArn": EXECUTION})


@pytest.fixture
def created(store: Store) -> Store:
    """A store with the job."""
    assert store.jobs.create(JOB)
    return store


def test_an_execution_bears_the_jobs_name(step_functions: Stubber, created: Store) -> None:
    start(step_functions)
    executions.start(created, "j")


def test_an_execution_is_told_the_correlation_id_of_its_request(step_functions: Stubber, created: Store) -> None:
    given = {"stateMachineArn": MACHINE, "name": NAME, "input": '{"job":"j","correlation":"request-1"}'}
    step_functions.add_response("start_execution", {"executionArn": EXECUTION, "startDate": 0}, given)
    with observability.correlated("request-1"):
        executions.start(created, "j")


def test_a_key_that_is_used_again_after_its_job_expired_starts_an_execution_of_another_name(
    step_functions: Stubber, store: Store
) -> None:
    """Step Functions keeps the name of one that is over for 90 days, a job is kept for seven."""
    former = replace(JOB, created=NOW - 8 * 86_400, expires=int(NOW) - 86_400)
    assert store.jobs.create(former)
    assert store.jobs.create(JOB)
    assert executions._name(former) != executions._name(JOB)
    start(step_functions)
    executions.start(store, "j")


def test_a_job_that_is_not_there_is_not_started(step_functions: Stubber, store: Store) -> None:
    with pytest.raises(Unavailable):
        executions.start(store, "j")


def test_a_bundle_has_a_state_machine_of_its_own(step_functions: Stubber, store: Store) -> None:
    bundle = replace(JOB, kind=BUNDLE)
    store.jobs.create(bundle)
    machine, given = MACHINE.replace("propagation", "bundle"), '{"job":"j","correlation":""}'
    started = {"stateMachineArn": machine, "name": NAME, "input": given}
    step_functions.add_response("start_execution", {"executionArn": EXECUTION, "startDate": 0}, started)
    executions.start(store, "j")
    answer = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": "FAILED", "startDate": 0}
    step_functions.add_response(
        "describe_execution", answer, {"executionArn": EXECUTION.replace("propagation", "bundle")}
    )
    assert not executions.is_running(store, bundle)


def test_starting_twice_is_starting_once(step_functions: Stubber, created: Store) -> None:
    start(step_functions, "ExecutionAlreadyExists")
    executions.start(created, "j")


def test_what_cannot_be_started_is_an_error(step_functions: Stubber, created: Store) -> None:
    start(step_functions, "StateMachineDoesNotExist")
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        executions.start(created, "j")


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_what_is_over_is_not_running(step_functions: Stubber, store: Store, status: str) -> None:
    describe(step_functions, status)
    assert not executions.is_running(store, JOB)


def test_what_runs_is_not_asked_about_at_every_poll(step_functions: Stubber, store: Store) -> None:
    describe(step_functions, "RUNNING")
    assert executions.is_running(store, JOB)
    assert executions.is_running(store, JOB)


def test_nobody_asks_about_a_job_that_is_seen_at_work(step_functions: Stubber, store: Store) -> None:
    assert executions.is_running(store, replace(JOB, beat=time.time() - 5))


def test_a_job_that_is_silent_is_asked_about(step_functions: Stubber, store: Store) -> None:
    describe(step_functions, "FAILED")
    assert not executions.is_running(store, replace(JOB, beat=time.time() - 60))


def test_what_was_never_started_is_not_running(step_functions: Stubber, store: Store) -> None:
    step_functions.add_client_error("describe_execution", "ExecutionDoesNotExist")
    assert not executions.is_running(store, JOB)


def test_stopping(step_functions: Stubber, store: Store) -> None:
    expected = {"executionArn": EXECUTION, "error": "Cancelled"}
    step_functions.add_response("stop_execution", {"stopDate": 0}, expected)
    executions.stop(store, JOB)
    step_functions.add_client_error("stop_execution", "ExecutionDoesNotExist")
    executions.stop(store, JOB)
