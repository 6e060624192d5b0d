"""Where requests are sent: the gateway and the handlers, on a store; and what every answer is held to."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any, NamedTuple
from unittest.mock import patch

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.api.routes import ROUTES
from bulkhead.fhir import json as fhir_json
from bulkhead.fhir import validation, xml
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store.jobs import BUNDLE
from infra.local import gateway, lambdas
from tests.support.fuzzing.requests import Sent
from tests.support.fuzzing.seeds import RESOURCES, SECRET

CALLERS: dict[str, dict[str, str]] = {
    "everything": {"sub": "fuzz", "scope": "system/*.cruds accounts.write"},
    "fenced": {"sub": "a", "scope": "system/*.cruds accounts.write", "accounts": '["Organization/a"]'},
    "patient": {"sub": "p", "scope": "patient/*.cruds", "patient": "p"},
    "reader": {"sub": "r", "scope": "user/Observation.rs?code=8480-6 user/Patient.rs"},
    "nothing": {"sub": "n", "scope": "system/*.cruds", "accounts": "[]"},
}
ROUTER = gateway.Router(ROUTES)
HOST = "server.example"


class Answered(NamedTuple):
    """An answer: headers in lower case, the body inflated."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(sent: Sent) -> Answered:
    """The answer of the handlers to a request."""
    match = ROUTER.match(sent.method, sent.target.partition("?")[0])
    assert match is not None
    environ = {
        "REQUEST_METHOD": sent.method,
        "REQUEST_URI": sent.target,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sent.body),
        "CONTENT_LENGTH": str(len(sent.body)),
        "HTTP_HOST": HOST,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.headers.items()},
        "CONTENT_TYPE": sent.headers.get("content-type", "application/fhir+json"),
    }
    event = gateway.event(environ, match, "fuzz", claims=CALLERS[sent.caller])
    answer = gateway.answer(lambdas.call(match.route.function, event))
    headers = {name.lower(): value for name, value in answer.headers.items()}
    body = gzip.decompress(answer.body) if headers.get("content-encoding") == "gzip" else answer.body
    return Answered(answer.status, headers, body)


def send_http(connection: HTTPConnection, sent: Sent) -> Answered:
    """The answer of a server to a request."""
    connection.request(sent.method, sent.target, sent.body, {"content-type": "application/fhir+json", **sent.headers})
    answer = connection.getresponse()
    headers, body = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    return Answered(
        answer.status, headers, gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    )


@contextmanager
def serving(store: Store) -> Iterator[None]:
    """The handlers answer from this store, and a few resources are in it; there is no state machine, but bundles in the background are processed at once."""
    from bulkhead.jobs import executions
    from functions import http
    from functions.processing.handler import process

    def start(store: Store, job: str) -> None:
        made = store.jobs.read(job)
        if made and made.kind == BUNDLE:
            process(store, {"job": job})

    with ExitStack() as patches:
        patches.enter_context(patch.object(http, "connect", lambda: store))
        patches.enter_context(patch.object(executions, "start", start))
        patches.enter_context(patch.object(executions, "stop", lambda store, job: None))
        patches.enter_context(patch.object(executions, "is_running", lambda store, job: True))
        for resource in RESOURCES:
            resources.update(
                Session.of(store, EVERYBODY), resource, f"{resource['resourceType']}/{resource['id']}", if_match=None
            )
        yield


def check(sent: Sent, answered: Answered) -> None:
    """AssertionError unless the answer is one that a client can use: below 500, a refusal an OperationOutcome that says something and repeats nothing."""
    status, headers, body = answered
    assert 200 <= status < 500, (status, body, sent)
    kind = headers.get("content-type", "")
    if status >= 400 and sent.method != "HEAD":
        outcome = xml.loads(body) if "xml" in kind else json.loads(body)
        assert outcome["resourceType"] == "OperationOutcome", (body, sent)
        _check_outcome(outcome, sent)
    elif body and "fhir+json" in kind:
        for outcome in _outcomes(json.loads(body), sent):
            _check_outcome(outcome, sent)
    elif body and "fhir+xml" in kind:
        xml.loads(body)


def _check_outcome(outcome: dict[str, Any], sent: Sent) -> None:
    assert validation.faults(fhir_json.loads(json.dumps(outcome))) == [], (outcome, sent)
    assert all(issue["diagnostics"] and issue["code"] for issue in outcome["issue"]), (outcome, sent)
    # Types and parameters that a CompartmentDefinition names in vain are named, and so is what stands for a type or an id in a URL.
    told = json.dumps(outcome).replace(f"{SECRET} is not a resource type", "").replace(f"/{SECRET} is not known", "")
    assert SECRET not in told or b"CompartmentDefinition" in sent.body, (outcome, sent)


def _outcomes(resource: Any, sent: Sent) -> Iterator[dict[str, Any]]:
    """The OperationOutcomes by which the server refuses something: the resource itself, and those of a Bundle's entries."""
    if not isinstance(resource, dict):
        return
    if resource.get("resourceType") == "OperationOutcome" and "/OperationOutcome/" not in sent.target:
        yield resource
    if resource.get("resourceType") == "Bundle" and "/Bundle" not in sent.target:
        for entry in resource.get("entry", ()):
            response = entry.get("response", {})
            assert not str(response.get("status", "")).startswith("5"), (response, sent)
            yield from _outcomes(response.get("outcome"), sent)
