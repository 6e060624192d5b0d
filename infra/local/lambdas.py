"""Lambda on this machine: the handlers of functions/, in this process, with a thread per call."""

from __future__ import annotations

import importlib
import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.local.states import ExecutionFailed

TIMEOUT_SECONDS = 900
Handler = Callable[[dict[str, Any], "Context"], Any]
log = logging.getLogger("bulkhead.local")


@dataclass
class Context:
    """The context that Lambda passes to a handler with the event."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 1024
    log_group_name: str = "local"
    log_stream_name: str = "local"
    deadline: float = field(default_factory=lambda: time.monotonic() + TIMEOUT_SECONDS)

    @property
    def invoked_function_arn(self) -> str:
        return arn(self.function_name)

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.monotonic()) * 1000)


def arn(function: str) -> str:
    """The ARN of a folder below functions/."""
    return f"arn:aws:lambda:us-east-1:000000000000:function:{function}"


def handler(function: str) -> Handler:
    """`handler` of functions/{function}/handler.py; imported once, ModuleNotFoundError when there is none."""
    found: Handler = importlib.import_module(f"functions.{function}.handler").handler
    return found


def call(function: str, event: dict[str, Any]) -> Any:
    """The handler's return value for `event`; its exceptions pass through."""
    return handler(function)(event, Context(function))


def invoke(function: str, payload: Any) -> Any:
    """Invokes a function as Step Functions does, by name or ARN: JSON in, JSON out. ExecutionFailed, named after the exception."""
    name = function.rpartition(":")[2]
    try:
        return json.loads(json.dumps(call(name, json.loads(json.dumps(payload)))))
    except Exception as error:
        log_failure(name, error)
        kind = type(error).__name__
        raise ExecutionFailed(kind, json.dumps({"errorType": kind, "errorMessage": str(error)})) from error


def log_failure(function: str, error: Exception) -> None:
    """Logs the class and place of an exception, and never its message, which may quote a patient's data (for a failed import, the module)."""
    traced = traceback.extract_tb(error.__traceback__)
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traced if not frame.filename.startswith("<")]
    name = f"{type(error).__name__} {error.name}" if isinstance(error, ImportError) else type(error).__name__
    log.error("function failed", extra={"function": function, "error": name, "frames": frames[-8:]})
