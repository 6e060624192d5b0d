"""Step Functions on this machine: executions of the state machines, each in a thread, kept so that a restart resumes them."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.local import states
from infra.local.wsgi import Answer, Environ, read_body

SCHEMA = """
CREATE TABLE IF NOT EXISTS executions (
    arn TEXT PRIMARY KEY, machine TEXT, name TEXT, input TEXT, status TEXT, output TEXT, error TEXT, cause TEXT,
    started REAL, stopped REAL
)
"""
log = logging.getLogger("bulkhead.local")


class Fault(Exception):
    """An error of the API, with AWS's name for it."""


class StepFunctions:
    """StartExecution, DescribeExecution and StopExecution on `machines`: definitions by ARN."""

    def __init__(
        self,
        machines: Mapping[str, Mapping[str, Any]],
        invoke: Callable[[str, Any], Any],
        get_object: Callable[[str, str], bytes],
        *,
        path: str | None = None,
    ) -> None:
        """`invoke` and `get_object` are those of states.Runtime; `path` is an SQLite file, None keeps all in memory.

        Raises states.Unsupported for a definition that the interpreter cannot run.
        """
        for definition in machines.values():
            states.check(definition)
        self._machines, self._invoke, self._get_object = machines, invoke, get_object
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(SCHEMA)

    def answer(self, environ: Environ) -> Answer:
        """Serves one request of the AWS JSON protocol."""
        operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        call = {"StartExecution": self.start, "DescribeExecution": self.describe, "StopExecution": self.stop}.get(
            operation
        )
        try:
            if call is None:
                raise Fault("UnknownOperationException")
            return _json(200, call(json.loads(read_body(environ))))
        except Fault as fault:
            return _json(400, {"__type": str(fault), "message": f"{operation}: {fault}"})

    def start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Starts an execution. The same name with the same input, while it runs, is the same execution."""
        machine, name, given = request["stateMachineArn"], request["name"], request.get("input", "{}")
        if machine not in self._machines:
            raise Fault("StateMachineDoesNotExist")
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        now = time.time()
        try:
            self._query(
                "INSERT INTO executions (arn, machine, name, input, status, started) VALUES (?, ?, ?, ?, 'RUNNING', ?)",
                (arn, machine, name, given, now),
            )
        except sqlite3.IntegrityError:
            known = self._find(arn)
            if known["status"] != "RUNNING" or known["input"] != given:
                raise Fault("ExecutionAlreadyExists") from None
            return {"executionArn": arn, "startDate": known["started"]}
        self._launch(arn)
        return {"executionArn": arn, "startDate": now}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """State, input and output of an execution."""
        known = self._find(request["executionArn"])
        names = {"started": "startDate", "stopped": "stopDate", "arn": "executionArn", "machine": "stateMachineArn"}
        return {names.get(name, name): value for name, value in known.items() if value is not None}

    def stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Aborts an execution: running functions finish, no other is called."""
        arn = request["executionArn"]
        self._find(arn)
        self._finish(arn, "ABORTED", error=request.get("error"), cause=request.get("cause"))
        stop = self._stops.get(arn)
        if stop:
            stop.set()
        return {"stopDate": time.time()}

    def resume(self) -> None:
        """Runs the executions that a killed process left again, from their first state: our workers are idempotent."""
        for (arn,) in self._query("SELECT arn FROM executions WHERE status='RUNNING'", ()):
            self._launch(arn)

    def _launch(self, arn: str) -> None:
        self._stops[arn] = threading.Event()
        threading.Thread(target=self._run, args=(arn,), name=arn.rpartition(":")[2], daemon=True).start()

    def _run(self, arn: str) -> None:
        known = self._find(arn)
        given = json.loads(known["input"])
        context = {
            "Execution": {"Id": arn, "Name": known["name"], "Input": given, "StartTime": known["started"]},
            "StateMachine": {"Id": known["machine"]},
        }
        runtime = states.Runtime(self._invoke, self._get_object, context, self._stops[arn])
        try:
            output = states.run(self._machines[known["machine"]], given, runtime)
        except states.Stopped:
            return
        except states.ExecutionFailed as failure:
            self._fail(arn, failure.error, failure.cause)
        except Exception as error:
            # A fault of the definition or of this interpreter: clients must not see the execution running for ever.
            self._fail(arn, "States.Runtime", type(error).__name__)
        else:
            self._finish(arn, "SUCCEEDED", output=json.dumps(output))
        finally:
            self._stops.pop(arn, None)

    def _fail(self, arn: str, error: str, cause: str) -> None:
        log.error("execution failed", extra={"execution": arn.rpartition(":")[2], "error": error})
        self._finish(arn, "FAILED", error=error, cause=cause)

    def _finish(
        self, arn: str, status: str, output: str | None = None, *, error: str | None = None, cause: str | None = None
    ) -> None:
        self._query(
            "UPDATE executions SET status=?, output=?, error=?, cause=?, stopped=? WHERE arn=? AND status='RUNNING'",
            (status, output, error, cause, time.time(), arn),
        )

    def _find(self, arn: str) -> dict[str, Any]:
        rows = self._query("SELECT * FROM executions WHERE arn=?", (arn,))
        if not rows:
            raise Fault("ExecutionDoesNotExist")
        names = ("arn", "machine", "name", "input", "status", "output", "error", "cause", "started", "stopped")
        return dict(zip(names, rows[0], strict=True))

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _json(status: int, document: Mapping[str, Any]) -> Answer:
    return Answer(status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(document).encode())
