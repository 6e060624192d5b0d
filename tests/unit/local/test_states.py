from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from infra.local import aws, states

INVOKE = {"Type": "Task", "Resource": states.LAMBDA_INVOKE}


def machine(*named: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"StartAt": named[0][0], "States": dict(named)}


def task(**fields: Any) -> dict[str, Any]:
    parameters = {"FunctionName": "worker", "Payload.$": "$"}
    return {**INVOKE, "Parameters": parameters, "OutputPath": "$.Payload", **({"End": True} | fields)}


def run(
    definition: dict[str, Any],
    value: Any,
    invoke: Callable[[str, Any], Any] = lambda _, payload: payload,
    objects: dict[str, bytes] | None = None,
    stop: threading.Event | None = None,
) -> Any:
    states.check(definition)
    runtime = states.Runtime(invoke, lambda _, key: (objects or {})[key], {}, stop or threading.Event())
    return states.run(definition, value, runtime)


class Failing:
    """Fails `times` times with `error`, then gives its payload back."""

    def __init__(self, times: int, error: str = "Boom") -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self, function: str, payload: Any) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise states.ExecutionFailed(self.error, "why")
        return payload


def test_a_task_gets_its_parameters_and_gives_the_payload() -> None:
    seen: list[tuple[str, Any]] = []

    def invoke(function: str, payload: Any) -> Any:
        seen.append((function, payload))
        return {"done": True}

    assert run(machine(("Only", task())), {"job": "1"}, invoke) == {"done": True}
    assert seen == [("worker", {"job": "1"})]


def test_result_selector_and_result_path_shape_the_output() -> None:
    only = task(ResultSelector={"answer.$": "$.Payload.n"}, ResultPath="$.result", OutputPath="$")

    assert run(machine(("Only", only)), {"n": 7}) == {"n": 7, "result": {"answer": 7}}


@pytest.mark.parametrize("most", [1, 3])
def test_the_input_may_say_how_many_children_run_at_once(most: int) -> None:
    lock, running, seen = threading.Lock(), [0], []
    met = threading.Barrier(most)

    def invoke(function: str, payload: Any) -> Any:
        with lock:
            running[0] += 1
            seen.append(running[0])
        met.wait(20)
        with lock:
            running[0] -= 1
        return payload

    state = mapping(MaxConcurrencyPath="$.most", ItemsPath="$.items")
    del state["MaxConcurrency"]
    run(machine(("All", state)), {"most": most, "items": list(range(most * 3))}, invoke)
    assert max(seen) == most


@pytest.mark.parametrize(("failures", "succeeds"), [(2, True), (3, False)])
def test_a_task_is_retried_as_often_as_it_says(failures: int, succeeds: bool) -> None:
    failing = Failing(failures)
    only = task(Retry=[{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 0, "MaxAttempts": 2}])

    if succeeds:
        assert run(machine(("Only", only)), 1, failing) == 1
    else:
        with pytest.raises(states.ExecutionFailed):
            run(machine(("Only", only)), 1, failing)
    assert failing.calls == 3


@pytest.mark.parametrize(
    ("caught", "error", "leads_on"),
    [("States.ALL", "Boom", True), ("States.TaskFailed", "Boom", True), ("Boom", "Boom", True), ("Bang", "Boom", False),
     ("States.TaskFailed", "States.Timeout", False), ("States.ALL", "States.Runtime", False)],
)  # fmt: skip
def test_catchers_take_what_they_name(caught: str, error: str, leads_on: bool) -> None:
    definition = machine(
        ("Risky", task(Catch=[{"ErrorEquals": [caught], "ResultPath": "$.error", "Next": "After"}])),
        ("After", {"Type": "Pass", "End": True}),
    )
    if leads_on:
        expected = {"job": "1", "error": {"Error": error, "Cause": "why"}}
        assert run(definition, {"job": "1"}, Failing(1, error)) == expected
    else:
        with pytest.raises(states.ExecutionFailed):
            run(definition, {"job": "1"}, Failing(1, error))


def test_fail_ends_with_its_error() -> None:
    with pytest.raises(states.ExecutionFailed) as failed:
        run(machine(("End", {"Type": "Fail", "Error": "Named", "CausePath": "$.cause"})), {"cause": "because"})
    assert (failed.value.error, failed.value.cause) == ("Named", "because")


def mapping(**fields: Any) -> dict[str, Any]:
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **machine(("Each", task()))}
    return {"Type": "Map", "ItemProcessor": processor, "MaxConcurrency": 4, "End": True, **fields}


@pytest.mark.parametrize(
    ("kind", "body"), [("JSON", b"[1, 2, 3]"), ("JSONL", b"1\n2\n\n3\n")], ids=["a list", "a line for each"]
)
def test_a_map_reads_its_items_from_s3_and_keeps_their_order(kind: str, body: bytes) -> None:
    reader = {
        "Resource": states.S3_GET_OBJECT,
        "ReaderConfig": {"InputType": kind},
        "Parameters": {"Bucket": "b", "Key.$": "$.manifest"},
    }
    double: Callable[[str, Any], Any] = lambda _, payload: payload * 2  # noqa: E731

    assert run(machine(("All", mapping(ItemReader=reader))), {"manifest": "m"}, double, {"m": body}) == [2, 4, 6]


def test_an_item_selector_sees_the_item_and_the_map_input() -> None:
    selector = {"item.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "job.$": "$.job"}
    value = {"job": "1", "items": ["x", "y"]}

    assert run(machine(("All", mapping(ItemsPath="$.items", ItemSelector=selector))), value) == [
        {"item": "x", "index": 0, "job": "1"},
        {"item": "y", "index": 1, "job": "1"},
    ]


def fails_on_odd(_: str, payload: int) -> int:
    if payload % 2:
        raise states.ExecutionFailed("Odd", "")
    return payload


def test_failed_children_are_tolerated_up_to_the_limit() -> None:
    tolerant = machine(("All", mapping(ToleratedFailurePercentage=50)))
    assert run(tolerant, [1, 2, 3, 4], fails_on_odd) == [
        {"Error": "Odd", "Cause": ""},
        2,
        {"Error": "Odd", "Cause": ""},
        4,
    ]

    with pytest.raises(states.ExecutionFailed) as failed:
        run(machine(("All", mapping(ToleratedFailureCount=1))), [1, 2, 3, 4], fails_on_odd)
    assert failed.value.error == "States.ExceedToleratedFailureThreshold"


def test_children_after_too_many_failures_are_not_called() -> None:
    calls: list[int] = []

    def invoke(_: str, payload: int) -> int:
        calls.append(payload)
        raise states.ExecutionFailed("Boom", "")

    with pytest.raises(states.ExecutionFailed):
        run(machine(("All", mapping(MaxConcurrency=1))), list(range(100)), invoke)
    assert calls == [0]


def test_stopping_ends_a_map_between_children() -> None:
    stop = threading.Event()
    calls: list[int] = []

    def invoke(_: str, payload: int) -> int:
        calls.append(payload)
        stop.set()
        return payload

    with pytest.raises(states.Stopped):
        run(machine(("All", mapping(MaxConcurrency=1))), list(range(100)), invoke, stop=stop)
    assert calls == [0]


def test_stopping_ends_a_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.01, stop.set).start()
    with pytest.raises(states.Stopped):
        run(machine(("Long", {"Type": "Wait", "Seconds": 3600, "End": True})), {}, stop=stop)


def test_the_results_of_a_map_count_where_nothing_reads_them_and_nothing_catches_that() -> None:
    """As on AWS (aws-cdk issue 24799): a Distributed Map gathers the outputs of all children, then drops them."""
    dropped = mapping(ResultPath=None, Next="After", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "After"}])
    del dropped["End"]
    definition = machine(("All", dropped), ("After", {"Type": "Succeed"}))
    few = run(definition, [1, 2], lambda *_: "x" * (states.PAYLOAD_LIMIT // 3))
    assert few == [1, 2]
    with pytest.raises(states.ExecutionFailed) as failed:
        run(definition, [1, 2], lambda *_: "x" * (states.PAYLOAD_LIMIT // 2))
    assert failed.value.error == "States.DataLimitExceeded"


def test_more_than_aws_passes_on_between_states_fails() -> None:
    with pytest.raises(states.ExecutionFailed) as failed:
        run(machine(("Only", task())), {}, lambda *_: "x" * states.PAYLOAD_LIMIT)
    assert failed.value.error == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    "definition",
    [
        {"QueryLanguage": "JSONata", **machine(("Only", task()))},
        machine(("Only", task(Credentials={}))),
        machine(("Only", task(Resource="arn:aws:states:::sqs:sendMessage"))),
        machine(("Only", {"Type": "Parallel", "Branches": [], "End": True})),
        machine(("All", mapping(ResultWriter={}))),
        machine(("All", mapping(ItemReader={"Resource": "arn:aws:states:::s3:listObjectsV2"}))),
        machine(("All", mapping(ItemProcessor=machine(("Each", task(Assign={})))))),
    ],
    ids=["JSONata", "field", "resource", "type", "ResultWriter", "reader", "inner state"],
)
def test_what_the_interpreter_does_not_know_is_refused_at_once(definition: dict[str, Any]) -> None:
    with pytest.raises(states.Unsupported):
        states.check(definition)


def test_our_own_state_machine_is_understood_and_filled_in() -> None:
    definition = aws.definition(aws.DEFINITIONS[aws.STATE_MACHINE])

    states.check(definition)
    assert "${" not in json.dumps(definition)
