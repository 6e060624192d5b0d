"""Tasks of the state machine that propagates accounts (infra/propagation.asl.json). No route leads here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.jobs import propagation_steps
from bulkhead.store import Store, connect
from functions import running

STEPS: Mapping[str, Callable[[Store, dict[str, Any]], dict[str, Any]]] = {
    "plan": propagation_steps.plan,
    "work": propagation_steps.work,
    "finish": propagation_steps.finish,
    "fail": propagation_steps.fail,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """`event["step"]` names the step, `event["input"]` is what it works on: the state, or an item of the manifest."""
    with running.working(event, context):
        return STEPS[event["step"]](connect(), event["input"])
