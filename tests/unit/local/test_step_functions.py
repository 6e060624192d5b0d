from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.states import LAMBDA_INVOKE, ExecutionFailed
from infra.local.step_functions import Fault, StepFunctions

ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
EXECUTION = ARN.replace("stateMachine", "execution") + ":job"
WORK: dict[str, Any] = {"Type": "Task", "Resource": LAMBDA_INVOKE, "OutputPath": "$.Payload"}
WORK["Parameters"] = {"FunctionName": "f", "Payload.$": "$"}
MACHINES = {ARN: {"StartAt": "One", "States": {"One": {**WORK, "Next": "Two"}, "Two": {**WORK, "End": True}}}}


def service(invoke: Callable[[str, Any], Any], path: str | None = None) -> StepFunctions:
    return StepFunctions(MACHINES, invoke, lambda *_: b"[]", path=path)


def start(functions: StepFunctions, given: str = '{"job": "1"}') -> dict[str, Any]:
    return functions.start({"stateMachineArn": ARN, "name": "job", "input": given})


def ended(functions: StepFunctions) -> dict[str, Any]:
    """The execution once its thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "job":
            thread.join(10)
    return functions.describe({"executionArn": EXECUTION})


class Gate:
    """A function that waits to be let through, and counts its calls."""

    def __init__(self) -> None:
        self.entered, self.opened, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, _: str, payload: Any) -> Any:
        self.calls += 1
        self.entered.set()
        assert self.opened.wait(10)
        return payload


def test_an_execution_runs_and_its_output_can_be_described() -> None:
    functions = service(lambda _, payload: {**payload, "seen": True})

    assert start(functions)["executionArn"] == EXECUTION
    found = ended(functions)

    assert found["status"] == "SUCCEEDED"
    assert json.loads(found["output"]) == {"job": "1", "seen": True}


def test_a_failed_execution_says_why() -> None:
    def invoke(_: str, payload: Any) -> Any:
        raise ExecutionFailed("Boom", "because")

    functions = service(invoke)
    start(functions)
    found = ended(functions)
    assert (found["status"], found["error"], found["cause"]) == ("FAILED", "Boom", "because")


def test_a_fault_of_the_interpreter_fails_the_execution_too() -> None:
    functions = service(lambda *_: object())
    start(functions)
    assert ended(functions)["status"] == "FAILED"


def test_starting_twice_is_one_execution_while_it_runs_with_the_same_input() -> None:
    gate = Gate()
    functions = service(gate)
    first = start(functions)

    assert start(functions) == first
    with pytest.raises(Fault, match="ExecutionAlreadyExists"):
        start(functions, "{}")
    gate.opened.set()
    ended(functions)
    with pytest.raises(Fault, match="ExecutionAlreadyExists"):
        start(functions)
    assert gate.calls == 2


def test_a_stopped_execution_calls_no_further_function() -> None:
    gate = Gate()
    functions = service(gate)
    start(functions)
    assert gate.entered.wait(10)

    functions.stop({"executionArn": EXECUTION, "error": "Cancelled"})
    gate.opened.set()
    found = ended(functions)

    assert (found["status"], found["error"], gate.calls) == ("ABORTED", "Cancelled", 1)


def test_what_a_killed_process_left_runs_again(tmp_path: Path) -> None:
    path = str(tmp_path / "executions.sqlite")
    gate = Gate()
    start(service(gate, path))
    assert gate.entered.wait(10)  # and is never let through: the process has died

    restarted = service(lambda _, payload: payload, path)
    restarted.resume()
    gate_thread, resumed = (thread for thread in threading.enumerate() if thread.name == "job")
    resumed.join(10)

    assert restarted.describe({"executionArn": EXECUTION})["status"] == "SUCCEEDED"
    gate.opened.set()
    gate_thread.join(10)


@pytest.mark.parametrize("call", ["describe", "stop"])
def test_an_unknown_execution(call: str) -> None:
    with pytest.raises(Fault, match="ExecutionDoesNotExist"):
        getattr(service(lambda *_: None), call)({"executionArn": EXECUTION})


def test_an_unknown_state_machine() -> None:
    with pytest.raises(Fault, match="StateMachineDoesNotExist"):
        service(lambda *_: None).start({"stateMachineArn": "other", "name": "job"})
