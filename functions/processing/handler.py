"""Tasks of the state machine that processes bundles in the background (infra/bundle.asl.json). No route leads here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bulkhead import bundles
from bulkhead.bundle_jobs import processing
from bulkhead.bundle_jobs.orders import Order
from bulkhead.bundles.context import Journal
from bulkhead.errors import BulkheadError
from bulkhead.store import Store, connect, one_request
from functions import trail
from functions.bundles.contexts import context
from functions.http import Event, Request
from infra.routes import BASE, BY_KEY

_ROUTE = BY_KEY[f"POST {BASE}"]


class Edge:
    """The request as it was when the job was ordered."""

    def context(self, order: Order, journal: Journal | None) -> bundles.Context:
        headers = {"prefer": f"return={order.returns}"} | ({"x-medplum": "extended"} if order.extended else {})
        event: Event = {
            "routeKey": _ROUTE.key,
            "rawPath": BASE,
            "headers": headers,
            "requestContext": {"http": {"method": _ROUTE.method}},
        }
        self._request = Request(event, _ROUTE)
        self._request.caller, self._request.base = order.caller, order.base
        return context(self._request, journal)

    def answered(self, bundle: dict[str, Any], answer: dict[str, Any]) -> None:
        trail.record_refused_entries(self._request, bundle.get("entry", ()), answer.get("entry", ()))
        trail.record_reads(self._request)

    def refused(self, error: BulkheadError) -> None:
        trail.record_refusal(self._request, error)


def process(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    """Process the bundle of `given["job"]`, or go on where an earlier delivery broke off."""
    with one_request():
        processing.process(store, given["job"], Edge())
    return {}


def fail(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    """Close the job, because its task failed again and again."""
    processing.fail(store, given["job"], given.get("error", {}).get("Error", "unknown"))
    return {}


STEPS: Mapping[str, Callable[[Store, dict[str, Any]], dict[str, Any]]] = {"process": process, "fail": fail}


def handler(event: dict[str, Any], lambda_context: object) -> dict[str, Any]:
    """`event["step"]` names the step, `event["input"]` is what it works on."""
    return STEPS[event["step"]](connect(), event["input"])
