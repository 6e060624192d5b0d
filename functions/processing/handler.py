"""Tasks of the state machine that processes bundles in the background (infra/bundle.asl.json). No route calls this function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bulkhead import bundles
from bulkhead.api import trail
from bulkhead.api.request import Request
from bulkhead.api.routes import BASE
from bulkhead.bundles.context import Journal
from bulkhead.errors import BulkheadError
from bulkhead.interactions.contexts import context
from bulkhead.jobs.bundles import processing
from bulkhead.jobs.bundles.orders import Order
from bulkhead.session import Session
from bulkhead.store import Head, Store, connect, one_request
from functions import running


class Edge:
    """The request as it was when the client ordered the job."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def represent(self, head: Head) -> dict[str, Any]:
        return self._request.represent(head)

    def context(self, order: Order, journal: Journal | None) -> bundles.Context:
        session = Session(
            connect=lambda: self._store,
            identify=lambda: order.caller,
            settings=self._store.settings,
            base=order.base,
            extended=order.extended,
            address=order.caller.address,
        )
        self._request = Request("POST", BASE, session, headers={"prefer": f"return={order.returns}"})
        return context(self._request, journal)

    def answered(self, bundle: dict[str, Any], answer: dict[str, Any]) -> None:
        trail.record_refused_entries(self._request, bundle.get("entry", ()), answer.get("entry", ()))
        trail.record_reads(self._request)

    def refused(self, error: BulkheadError, sent: Callable[[], dict[str, Any]]) -> None:
        trail.record_refusal(self._request, error, sent)


def process(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    """Processes the bundle of `given["job"]`, or continues where an earlier delivery stopped."""
    with one_request():
        processing.process(store, given["job"], Edge(store))
    return {}


def fail(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    """Closes the job, because its task failed repeatedly."""
    processing.fail(store, given["job"], given.get("error", {}).get("Error", "unknown"))
    return {}


STEPS: Mapping[str, Callable[[Store, dict[str, Any]], dict[str, Any]]] = {"process": process, "fail": fail}


def handler(event: dict[str, Any], lambda_context: object) -> dict[str, Any]:
    """`event["step"]` names the step; `event["input"]` is its input."""
    with running.working(event, lambda_context):
        return STEPS[event["step"]](connect(), event["input"])
