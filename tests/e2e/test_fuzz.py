"""More than 2,000 requests, nearly right and nonsense, through the gateway and the handlers: none of them a 5xx.

Every refusal is an OperationOutcome that says something, and nothing of a patient is in it. Always the same requests.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.api.routes import ROUTES
from bulkhead.fhir import validation
from bulkhead.session import Session
from bulkhead.store import Store
from infra.local import gateway, lambdas
from tests.e2e.fuzzing import BODIES, RESOURCES, SECRET, Sent, bundle, nonsense, requests, serving

REQUESTS, BUNDLES = 450, 250
CLAIMS = {"sub": "fuzz", "scope": "system/*.cruds accounts.write"}
ROUTER = gateway.Router(ROUTES)
_READS = ("read", "vread", "history", "status", "metadata", "operation-definition", "smart-configuration", "openapi")
_SEARCHES = ("search", "compartment", "everything")
_BUNDLES = (bundle("batch"), bundle("transaction"))

# The store lives on from request to request, so a shorter example would be another one: no shrinking.
fuzz = settings(
    max_examples=REQUESTS,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class Edge:
    """The gateway and the handlers on a store; counts what it is sent."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, sent: Sent) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body."""
        self.sent += 1
        path = sent.target.partition("?")[0]
        match = ROUTER.match(sent.method, path)
        assert match is not None
        environ = {
            "REQUEST_METHOD": sent.method,
            "REQUEST_URI": sent.target,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(sent.body),
            "CONTENT_LENGTH": str(len(sent.body)),
            "HTTP_HOST": "server.example",
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.headers.items()},
            "CONTENT_TYPE": sent.headers.get("content-type", "application/fhir+json"),
        }
        event = gateway.event(environ, match, "fuzz", CLAIMS)
        answer = gateway.answer(lambdas.call(match.route.function, event))
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = gzip.decompress(answer.body) if headers.get("content-encoding") == "gzip" else answer.body
        return answer.status, headers, body


@pytest.fixture
def edge(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edge]:
    """The handlers on a store with a few resources; no state machine, but bundles in the background are processed at once."""
    from bulkhead.jobs import executions
    from bulkhead.store import jobs
    from functions import http
    from functions.processing.handler import process

    monkeypatch.setattr(http, "connect", lambda: store)

    def start(store: Store, job: str) -> None:
        made = store.jobs.read(job)
        if made and made.kind == jobs.BUNDLE:
            process(store, {"job": job})

    monkeypatch.setattr(executions, "start", start)
    monkeypatch.setattr(executions, "stop", lambda job: None)
    monkeypatch.setattr(executions, "is_running", lambda job: True)
    for resource in RESOURCES:
        key = f"{resource['resourceType']}/{resource['id']}"
        resources.update(Session.of(store, EVERYBODY), resource, key, None)
    made = Edge()
    yield made
    assert made.sent >= BUNDLES


@pytest.mark.parametrize("seed", [*RESOURCES, *_BUNDLES], ids=lambda seed: seed["resourceType"])
def test_the_seeds_are_right(seed: dict[str, Any]) -> None:
    assert validation.faults(seed) == []


def outcomes(resource: Any) -> Iterator[dict[str, Any]]:
    """The OperationOutcomes that refuse something: the resource itself, and those of a Bundle's entries."""
    if isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome":
        yield resource
    if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
        for entry in resource.get("entry", ()):
            response = entry.get("response", {})
            assert not response.get("status", "").startswith("5"), response
            yield from outcomes(response.get("outcome"))


def check(edge: Edge, sent: Sent) -> None:
    status, headers, body = edge.send(sent)
    assert 200 <= status < 500, (status, body, sent)
    if status >= 400 and sent.method != "HEAD":
        # What a CompartmentDefinition names in vain is named: types and parameters are no patient's data.
        assert SECRET.encode() not in body or (status == 422 and b"CompartmentDefinition" in sent.body), (body, sent)
        if "xml" in headers["content-type"]:
            assert body.count(b"<diagnostics value=") >= 1, (body, sent)
            return
        assert json.loads(body)["resourceType"] == "OperationOutcome", (body, sent)
    if body and "fhir+json" in headers.get("content-type", ""):
        for outcome in outcomes(json.loads(body)):
            assert outcome["issue"], sent
            assert all(issue["diagnostics"] and issue["code"] for issue in outcome["issue"]), (outcome, sent)
            assert SECRET not in json.dumps(outcome), (outcome, sent)


@fuzz
@given(st.data())
def test_reads(edge: Edge, data: st.DataObject) -> None:
    check(edge, data.draw(requests(serving(*_READS))))


@fuzz
@given(st.data())
def test_searches(edge: Edge, data: st.DataObject) -> None:
    check(edge, data.draw(requests(serving(*_SEARCHES))))


@fuzz
@given(st.data())
def test_writes(edge: Edge, data: st.DataObject) -> None:
    rest = {route.operation for route in serving()} - {*_READS, *_SEARCHES, "bundle", "docs"}
    check(edge, data.draw(requests(serving(*rest))))


@settings(fuzz, max_examples=BUNDLES)
@given(st.data())
def test_bundles(edge: Edge, data: st.DataObject) -> None:
    check(edge, data.draw(requests(serving("bundle"), _BUNDLES)))


@fuzz
@given(st.data())
def test_anything(edge: Edge, data: st.DataObject) -> None:
    check(edge, data.draw(nonsense() | requests(serving(), BODIES)))
