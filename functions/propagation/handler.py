"""Tasks of the state machine that propagates accounts, and purges (infra/propagation.asl.json). No route leads here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.jobs import propagation_steps, purge_steps
from bulkhead.store import Store, connect
from bulkhead.store.jobs import PURGE
from functions import running


def plan(store: Store, state: dict[str, Any]) -> dict[str, Any]:
    """The planner of the job's kind. A purge leaves nothing for workers."""
    return purge_steps.plan(store, state) if _is_purge(store, state) else propagation_steps.plan(store, state)


def finish(store: Store, state: dict[str, Any]) -> dict[str, Any]:
    """The end of a job of its kind."""
    return purge_steps.finish(store, state) if _is_purge(store, state) else propagation_steps.finish(store, state)


def _is_purge(store: Store, state: dict[str, Any]) -> bool:
    job = store.jobs.read(state["job"])
    return job is not None and job.kind == PURGE


STEPS: Mapping[str, Callable[[Store, dict[str, Any]], dict[str, Any]]] = {
    "plan": plan,
    "work": propagation_steps.work,
    "finish": finish,
    "fail": propagation_steps.fail,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """`event["step"]` names the step; `event["input"]` is its input: the state, or an item of the manifest."""
    with running.working(event, context):
        return STEPS[event["step"]](connect(), event["input"])
