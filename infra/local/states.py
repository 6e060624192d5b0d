"""An interpreter of the Amazon States Language for the features that Bulkhead's state machines use.

moto's interpreter was tried first: it takes 3 s and 150 MB to import and 24 ms for every child of a Distributed Map,
lets failed children succeed, cannot read JSON Lines and forgets running executions. This one refuses every unknown field when
it loads a machine, so it never silently runs one differently than AWS.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from infra.local import choices, paths

LAMBDA_INVOKE = "arn:aws:states:::lambda:invoke"
S3_GET_OBJECT = "arn:aws:states:::s3:getObject"
PAYLOAD_LIMIT = 262_144
# More threads would only wait for each other: the workers share this process and its interpreter lock.
MOST_THREADS = 4

COMMON = {"Type", "Comment", "InputPath", "OutputPath"}
FLOW = {"Next", "End"}
RETRYING = {"Retry", "Catch", "ResultSelector", "ResultPath"}
FIELDS: Mapping[str, set[str]] = {
    "Pass": COMMON | FLOW | {"Result", "Parameters", "ResultPath"},
    # A Lambda function ends by its own timeout; the longer one of the state never takes effect here.
    "Task": COMMON | FLOW | RETRYING | {"Resource", "Parameters", "TimeoutSeconds"},
    "Choice": COMMON | {"Choices", "Default"},
    "Wait": COMMON | FLOW | {"Seconds", "SecondsPath"},
    "Succeed": COMMON,
    "Fail": {"Type", "Comment", "Error", "Cause", "ErrorPath", "CausePath"},
    "Map": COMMON
    | FLOW
    | RETRYING
    | {"ItemProcessor", "ItemReader", "ItemsPath", "ItemSelector", "MaxConcurrency", "MaxConcurrencyPath", "Label"}
    | {"ToleratedFailureCount", "ToleratedFailurePercentage"},
}
READER_FIELDS = {"Resource", "ReaderConfig", "Parameters"}
RETRY_FIELDS = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}


class Unsupported(ValueError):
    """The definition uses a feature that this interpreter does not support."""


class ExecutionFailed(Exception):
    """A state ended with an error that nothing caught."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause


class Stopped(Exception):
    """The execution was stopped from outside."""


@dataclass(frozen=True)
class Runtime:
    """The environment of one execution."""

    invoke: Callable[[str, Any], Any]
    """Calls a Lambda function by its ARN or name with a payload; ExecutionFailed when it fails."""
    get_object: Callable[[str, str], bytes]
    """Reads an S3 object by bucket and key."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """The context object, `$$`."""
    stop: threading.Event = field(default_factory=threading.Event)


def check(machine: Mapping[str, Any]) -> None:
    """Raises Unsupported, naming state and field, where the interpreter could not run this definition as AWS does."""
    if machine.get("QueryLanguage", "JSONPath") != "JSONPath":
        raise Unsupported("only JSONPath is supported")
    for name, state in machine["States"].items():
        _check_fields(name, state, FIELDS.get(state["Type"]))
        for retrier in state.get("Retry", ()):
            _check_fields(f"{name}.Retry", retrier, RETRY_FIELDS)
        if state["Type"] == "Task" and state["Resource"] != LAMBDA_INVOKE:
            raise Unsupported(f"{name}: the Resource {state['Resource']} is not supported")
        if state["Type"] == "Map":
            reader = state.get("ItemReader", {})
            _check_fields(f"{name}.ItemReader", reader, READER_FIELDS)
            if reader and reader["Resource"] != S3_GET_OBJECT:
                raise Unsupported(f"{name}: the ItemReader {reader['Resource']} is not supported")
            check(state["ItemProcessor"])


def _check_fields(name: str, state: Mapping[str, Any], known: set[str] | None) -> None:
    if known is None:
        raise Unsupported(f"{name}: states of type {state['Type']} are not supported")
    unknown = sorted(set(state) - known)
    if unknown:
        raise Unsupported(f"{name}: {', '.join(unknown)}")


def run(machine: Mapping[str, Any], value: Any, runtime: Runtime) -> Any:
    """Runs a checked definition from its first state on `value` and gives the output.

    Raises ExecutionFailed (with States.* errors or the function's own), or Stopped once `runtime.stop` is set.
    """
    name: str | None = machine["StartAt"]
    while name is not None:
        if runtime.stop.is_set():
            raise Stopped
        entered = replace(runtime, context={**runtime.context, "State": {"Name": name}})
        value, name = _step(machine["States"][name], value, entered)
        _require_to_fit(value)
    return value


def _require_to_fit(value: Any) -> None:
    if len(json.dumps(value, separators=(",", ":"))) > PAYLOAD_LIMIT:
        raise ExecutionFailed("States.DataLimitExceeded", f"more than {PAYLOAD_LIMIT} bytes pass from state to state")


def _step(state: Mapping[str, Any], value: Any, runtime: Runtime) -> tuple[Any, str | None]:
    """The state's output and the name of the next state, None at the end."""
    try:
        return _attempt_until_done(state, value, runtime)
    except paths.PathError as error:
        failure = ExecutionFailed("States.Runtime", str(error))
    except ExecutionFailed as error:
        failure = error
    for catcher in state.get("Catch", ()):
        if _matches(failure, catcher["ErrorEquals"]):
            fault = {"Error": failure.error, "Cause": failure.cause}
            return paths.write(catcher.get("ResultPath", "$"), value, fault), catcher["Next"]
    raise failure


def _attempt_until_done(state: Mapping[str, Any], value: Any, runtime: Runtime) -> tuple[Any, str | None]:
    retriers = state.get("Retry", ())
    attempts = [0] * len(retriers)
    while True:
        try:
            return _perform(state, value, runtime)
        except ExecutionFailed as failure:
            chosen = next((n for n, each in enumerate(retriers) if _matches(failure, each["ErrorEquals"])), None)
            if chosen is None or attempts[chosen] >= retriers[chosen].get("MaxAttempts", 3):
                raise
            _pause(_delay(retriers[chosen], attempts[chosen]), runtime)
            attempts[chosen] += 1


def _matches(failure: ExecutionFailed, names: list[str]) -> bool:
    if failure.error in names:
        return True
    if failure.error in ("States.Runtime", "States.DataLimitExceeded"):
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and failure.error != "States.Timeout")


def _delay(retrier: Mapping[str, Any], attempt: int) -> float:
    seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** attempt
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    return random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds


def _pause(seconds: float, runtime: Runtime) -> None:
    if runtime.stop.wait(seconds):
        raise Stopped


def _perform(state: Mapping[str, Any], value: Any, runtime: Runtime) -> tuple[Any, str | None]:
    """One attempt: input processing, the state's own work, output processing."""
    kind = state["Type"]
    context = runtime.context
    given = _through(state.get("InputPath", "$"), value, context)
    if kind == "Fail":
        raise ExecutionFailed(*(_text(state, name, given, context=context) for name in ("Error", "Cause")))
    if kind == "Choice":
        return _through(state.get("OutputPath", "$"), given, context), choices.choose(state, given, context)
    if kind == "Wait":
        _pause(state["Seconds"] if "Seconds" in state else paths.read(state["SecondsPath"], given, context), runtime)
    if "Parameters" in state:
        given = paths.render(state["Parameters"], given, context)
    result = WORK[kind](state, given, runtime) if kind in WORK else given
    if kind in WORK:
        # Before any path looks at it: AWS counts what comes back also where `"ResultPath": null` drops it.
        _require_to_fit(result)
    if "ResultSelector" in state:
        result = paths.render(state["ResultSelector"], result, context)
    if "ResultPath" in state:
        result = paths.write(state["ResultPath"], value, result)
    return _through(state.get("OutputPath", "$"), result, context), state.get("Next")


def _through(path: str | None, value: Any, context: Mapping[str, Any]) -> Any:
    return {} if path is None else paths.read(path, value, context)


def _text(state: Mapping[str, Any], name: str, value: Any, *, context: Mapping[str, Any]) -> str:
    if f"{name}Path" in state:
        return str(paths.read(state[f"{name}Path"], value, context))
    return str(state.get(name, ""))


def _pass(state: Mapping[str, Any], value: Any, runtime: Runtime) -> Any:
    return state.get("Result", value)


def _task(state: Mapping[str, Any], parameters: Any, runtime: Runtime) -> Any:
    payload = runtime.invoke(parameters["FunctionName"], parameters.get("Payload", {}))
    return {"ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200}


def _map(state: Mapping[str, Any], value: Any, runtime: Runtime) -> list[Any]:
    """The outputs of the children in the order of their items; for a tolerated failure, its Error and Cause."""
    items = _items(state, value, runtime)
    allowed = _tolerated(state, len(items))
    failures: list[ExecutionFailed] = []

    def child(position: int) -> Any:
        if len(failures) > allowed:
            raise Stopped
        item = {"Index": position, "Value": items[position]}
        inner = replace(runtime, context={**runtime.context, "Map": {"Item": item}})
        try:
            given = items[position]
            if "ItemSelector" in state:
                given = paths.render(state["ItemSelector"], value, inner.context)
            return run(state["ItemProcessor"], given, inner)
        except (ExecutionFailed, paths.PathError) as error:
            failure = error if isinstance(error, ExecutionFailed) else ExecutionFailed("States.Runtime", str(error))
            failures.append(failure)
            return {"Error": failure.error, "Cause": failure.cause}

    most = state.get("MaxConcurrency")
    if "MaxConcurrencyPath" in state:
        most = paths.read(state["MaxConcurrencyPath"], value, runtime.context)
    threads = min(most or MOST_THREADS, MOST_THREADS, len(items) or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="map") as pool:
        futures = [pool.submit(child, position) for position in range(len(items))]
    if runtime.stop.is_set():
        raise Stopped
    if len(failures) > allowed:
        raise _map_failure(state, failures)
    return [future.result() for future in futures]


def _map_failure(state: Mapping[str, Any], failures: list[ExecutionFailed]) -> ExecutionFailed:
    if _distributed(state):
        return ExecutionFailed("States.ExceedToleratedFailureThreshold", failures[0].error)
    return failures[0]


def _distributed(state: Mapping[str, Any]) -> bool:
    return bool(state["ItemProcessor"].get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED")


def _tolerated(state: Mapping[str, Any], total: int) -> float:
    count, percentage = state.get("ToleratedFailureCount", 0), state.get("ToleratedFailurePercentage", 0)
    return float(max(count, total * percentage / 100))


def _items(state: Mapping[str, Any], value: Any, runtime: Runtime) -> list[Any]:
    if "ItemReader" not in state:
        items = paths.read(state.get("ItemsPath", "$"), value, runtime.context)
    else:
        reader = state["ItemReader"]
        place = paths.render(reader["Parameters"], value, runtime.context)
        body = runtime.get_object(place["Bucket"], place["Key"])
        lines = reader["ReaderConfig"]["InputType"] == "JSONL"
        items = [json.loads(line) for line in body.splitlines() if line.strip()] if lines else json.loads(body)
    if not isinstance(items, list):
        raise ExecutionFailed("States.ItemReaderFailed", "the items of a Map must be a list")
    return items


WORK: Mapping[str, Callable[[Mapping[str, Any], Any, Runtime], Any]] = {"Pass": _pass, "Task": _task, "Map": _map}
