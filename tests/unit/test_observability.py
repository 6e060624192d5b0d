"""The log and the metrics: one correlation id from request to job to worker, units by operation, and nothing that a resource says."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest

from bulkhead import observability, settings
from bulkhead.errors import Unavailable, Unprocessable
from bulkhead.jobs import executions, lifecycle, propagation_steps
from bulkhead.settings import Settings
from bulkhead.store import Store, jobs
from functions.propagation import handler as propagation
from tests.support.door import Door

GUID = "8c0e7a7c-58f4-4b6b-9a3c-0a1d2f8b7c11"
SECRET = "Featherstonehaugh"


@pytest.fixture
def lines() -> Iterator[Any]:
    """Gives the lines of the log so far, as objects."""
    stream = io.StringIO()
    handler = observability.logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    handler.setStream(before)


@pytest.fixture
def _on_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "resources")


def metrics(output: str) -> list[dict[str, Any]]:
    """The metrics in a function's output."""
    return [json.loads(line) for line in output.splitlines() if "_aws" in line]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(GUID, GUID), (GUID.upper(), GUID.upper()), (GUID.replace("-", ""), GUID.replace("-", "")), ("", "own"),
     (SECRET, "own"), (f"{GUID}\n{SECRET}", "own"), (GUID * 2, "own"), ("1234567890123456", "own")],
)  # fmt: skip
def test_a_client_may_give_an_id_and_nothing_else(given: str, expected: str) -> None:
    assert observability.chosen({"x-correlation-id": given}, "own") == expected


def test_one_id_from_the_request_to_the_worker(
    store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    door, started = Door(store, keys_folder, monkeypatch), []

    class StepFunctions:
        def start_execution(self, **arguments: Any) -> None:
            started.append(json.loads(arguments["input"]))

    monkeypatch.setattr(executions, "_client", StepFunctions)
    monkeypatch.setattr(propagation, "connect", lambda: store)
    with door.client() as client:
        for key in ("Organization/a", "Patient/1"):
            client.put(key, json={"resourceType": key.partition("/")[0], "id": key.partition("/")[2], "active": True})
        asked = {"parameter": [{"name": "propagate", "valueBoolean": True}]} | {"resourceType": "Parameters"}
        headers = {"prefer": "respond-async", "x-correlation-id": GUID}
        assert client.post("Patient/1/$set-accounts", json=asked, headers=headers).status_code == 202
    (given,) = started
    assert given["correlation"] == GUID
    seen: list[str] = []
    monkeypatch.setattr(jobs.Jobs, "read", lambda *_: seen.append(observability.correlation()))
    state = propagation.handler({"step": "plan", "input": given}, None)
    assert state["correlation"] == GUID
    assert set(seen) == {GUID}
    told = [line for line in lines() if line["message"] == "request" and line.get("operation") == "set-accounts"]
    assert [line["correlation_id"] for line in told] == [GUID]


def test_the_items_of_a_manifest_carry_the_id(store: Store) -> None:
    job = jobs.Job("j", "me", "Patient/1", (), 0, 9_999_999_999)
    (item,) = propagation_steps._items(store, job, {"turn": 1, "batch": 0, "correlation": GUID}, amiss=["Basic/1"])
    assert item["correlation"] == GUID


def test_a_line_of_any_module_bears_the_id(lines: Any) -> None:
    with observability.correlated(GUID):
        logging.getLogger("bulkhead.store.staging").warning("left to the sweeper")
    logging.getLogger("bulkhead.store.staging").warning("another")
    assert [line.get("correlation_id") for line in lines()] == [GUID, None]


@pytest.mark.usefixtures("_on_lambda")
def test_the_units_of_an_operation(
    store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lines: Any
) -> None:
    door = Door(store, keys_folder, monkeypatch)
    with door.client() as client:
        client.put("Patient/1", json={"resourceType": "Patient", "id": "1", "name": [{"family": SECRET}]})
        client.get("Patient/1")
        client.get("Patient", params={"name": SECRET})
    output = capfd.readouterr().out
    found = {line["operation"]: line for line in metrics(output)}
    assert found["update"][observability.WRITE_UNITS][0] > 1
    # A metric of nothing has its price too.
    assert (found["read"][observability.READ_UNITS], observability.WRITE_UNITS in found["read"]) == ([1.0], False)
    assert found["search"][observability.READ_UNITS][0] > 0
    assert SECRET not in output
    of_the_read = next(line for line in lines() if line.get("operation") == "read")
    assert found["read"]["correlation_id"] == of_the_read["correlation_id"]


@pytest.mark.usefixtures("_on_lambda")
def test_units_are_not_reported_where_a_deployment_does_not_want_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "current", lambda: Settings(metrics="off"))
    observability.units("read", 1.0, 0.0)
    assert not metrics(capfd.readouterr().out)


def test_nothing_is_measured_where_nobody_reads_it(
    store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    with Door(store, keys_folder, monkeypatch).client() as client:
        client.get("Patient/1")
    assert not metrics(capfd.readouterr().out)


@pytest.mark.usefixtures("_on_lambda")
@pytest.mark.parametrize(
    ("error", "counted"), [(Unavailable("throttled"), True), (Unprocessable(SECRET, "Bundle.entry[0]"), False)]
)
@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_job_that_failed_is_counted_once(
    store: Store,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Any,
    counted: bool,
    setting: Literal["on", "off"],
) -> None:
    """One that was refused is its sender's concern. An alarm reads this: METRICS=off is about units."""
    monkeypatch.setattr(settings, "current", lambda: Settings(metrics=setting))
    job = jobs.Job(uuid4().hex, "me", "Patient/1", (), 0, 9_999_999_999)
    store.jobs.create(job)
    assert lifecycle.give_up(store, job.id, error)
    assert not lifecycle.give_up(store, job.id, error)
    output = capfd.readouterr().out
    found = metrics(output)
    assert [line[observability.JOBS_FAILED] for line in found] == [[1.0]] * counted
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]] for line in found)
    assert SECRET not in output
