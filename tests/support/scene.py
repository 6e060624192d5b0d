"""What the tests of accounts share: resources in a few words, requests as the handlers get them, the state machine in threads."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.jobs.lifecycle import Background
from bulkhead.operations import set_accounts_run
from bulkhead.session import Session
from bulkhead.store import Head, Store
from bulkhead.store.jobs import Job
from functions import http
from functions.processing.handler import STEPS as PROCESSING
from functions.propagation.handler import STEPS as PROPAGATION
from infra.local.states import ExecutionFailed
from infra.local.step_functions import Fault, StepFunctions

A, B, C = "Organization/a", "Organization/b", "Organization/c"
PATIENT = "Patient/p"
SUBJECT, SCOPE = "me", "system/*.cruds accounts.write"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:propagation"
INFRA = Path(__file__).parents[2] / "infra"
# By the function that does their tasks: the state machines' definitions, and the steps of these tasks.
DEFINITIONS = {"propagation": INFRA / "propagation.asl.json", "processing": INFRA / "bundle.asl.json"}
STEPS = {"propagation": PROPAGATION, "processing": PROCESSING}


def lost(job: str) -> None:
    """For a Background: the request dies before its job is started."""


class Scene:
    """A store with three organisations and a patient, and what the tests do to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.create(A, B, C, PATIENT)

    def put(self, key: str, **content: Any) -> Head:
        """Create or update, as a client does: it inherits."""
        resource_type, _, identifier = key.partition("/")
        resource = {"resourceType": resource_type, "id": identifier, **content}
        return resources.update(Session.of(self.store, EVERYBODY), resource, key, if_match=None)[0]

    def create_again(self, key: str) -> Head:
        """What was deleted, with the content that it had."""
        last = self.store.read_version(key, self.head(key).version - 1)
        assert last is not None
        resource = {**self.store.decode(last), "id": key.partition("/")[2]}
        return resources.update(Session.of(self.store, EVERYBODY), resource, key, if_match=None)[0]

    def create(self, *keys: str, **content: Any) -> list[str]:
        """Create many with the same content in few commits."""
        for start in range(0, len(keys), 20):
            writes = []
            for key in keys[start : start + 20]:
                resource = {"resourceType": key.partition("/")[0], **content}
                writes.append(resources.prepare_create(Session.of(self.store, EVERYBODY), resource, key, fresh=True))
            self.store.commit(writes, (), resources.inherit(Session.of(self.store, EVERYBODY)))
        return list(keys)

    def observations(self, count: int, subject: str = PATIENT) -> list[str]:
        return self.create(*(f"Observation/{n:05}" for n in range(count)), subject={"reference": subject})

    def observation(self, name: str, subject: str = PATIENT, **content: Any) -> str:
        return self.put(f"Observation/{name}", subject={"reference": subject}, **content).key

    def set(self, key: str, *accounts: str, propagate: bool = False, **more: Any) -> Any:
        """`$set-accounts` as the domain does it: the number of resources, or a job's id."""
        request = set_accounts_run.Request(accounts, propagate)
        return set_accounts_run.run(Session.of(self.store, more.pop("caller", EVERYBODY)), key, request, **more)

    def head(self, key: str) -> Head:
        head = self.store.read(key)
        assert head is not None
        return head

    def accounts(self, key: str) -> tuple[str, ...]:
        return self.head(key).accounts

    def accounts_of(self, keys: Sequence[str]) -> AbstractSet[tuple[str, ...]]:
        """The different accounts that `keys` have."""
        return {head.accounts for head in self.store.read_many(keys).values()}

    def versions(self, keys: Sequence[str]) -> list[int]:
        heads = self.store.read_many(keys)
        return [heads[key].version for key in keys]

    def adjust(self, key: str, **attributes: Any) -> None:
        """Change attributes of a head behind everybody's back, as damage does. None removes one."""
        names = {f"#{name}": name for name in attributes}
        removed = [f"#{name}" for name, value in attributes.items() if value is None]
        kept = {f":{name}": value for name, value in attributes.items() if value is not None}
        expression = (f"REMOVE {', '.join(removed)} " if removed else "") + (
            "SET " + ", ".join(f"#{name[1:]} = {name}" for name in kept) if kept else ""
        )
        values: dict[str, Any] = {"ExpressionAttributeValues": kept} if kept else {}
        self.store.table.client.update_item(
            TableName=self.store.table.name,
            Key={"pk": {"S": key}, "sk": {"S": "#"}},
            UpdateExpression=expression,
            ExpressionAttributeNames=names,
            **values,
        )


class Machine:
    """A state machine of the repository, interpreted; its tasks, those of the function `worker`, work on `store`."""

    def __init__(self, store: Store, worker: str = "propagation") -> None:
        text = DEFINITIONS[worker].read_text().replace(f"${{{worker.title()}FunctionArn}}", worker)
        definition = json.loads(text.replace("${Bucket}", store.settings.bucket))
        _without_pauses(definition)
        self.store = store
        self.steps = dict(STEPS[worker])
        self.step_functions = StepFunctions({MACHINE: definition}, self._invoke, self._get_object)

    def _invoke(self, function: str, payload: Any) -> Any:
        assert function in STEPS
        payload = json.loads(json.dumps(payload))
        try:
            return self.steps[payload["step"]](self.store, payload["input"])
        except Exception as error:
            raise ExecutionFailed(type(error).__name__, "") from error

    def _get_object(self, bucket: str, key: str) -> bytes:
        body: bytes = self.store.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def start(self, job: str) -> None:
        """As `functions.executions` does: no effect where it was started before."""
        with contextlib.suppress(Fault):
            self._start(job)

    def _start(self, job: str) -> None:
        self.step_functions.start({"stateMachineArn": MACHINE, "name": job, "input": json.dumps({"job": job})})

    def state(self, job: str) -> str:
        status: str = self.step_functions.describe({"executionArn": self._arn(job)})["status"]
        return status

    def is_running(self, job: Job) -> bool:
        return self.state(job.id) == "RUNNING"

    def stop(self, job: Job) -> None:
        self.step_functions.stop({"executionArn": self._arn(job.id)})

    def _arn(self, job: str) -> str:
        return f"{MACHINE.replace(':stateMachine:', ':execution:')}:{job}"

    def join(self, job: str) -> None:
        """Wait until the execution's thread has ended."""
        for thread in threading.enumerate():
            if thread.name == job:
                thread.join(60)

    def background(self, idempotency_key: str | None = None) -> Background:
        return Background(self.start, idempotency_key)


def manifest(store: Store, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items that a planner hands to the Map, given what it returned."""
    if not state["batches"]:
        return []
    body = store.s3.get_object(Bucket=store.settings.bucket, Key=state["manifest"])["Body"].read()
    found: list[dict[str, Any]] = json.loads(body)
    return found


def _without_pauses(definition: Any) -> None:
    """Retries at once: what they wait for on AWS does not happen here."""
    if isinstance(definition, dict):
        if "IntervalSeconds" in definition:
            definition["IntervalSeconds"] = 0
        for value in definition.values():
            _without_pauses(value)
    elif isinstance(definition, list):
        for value in definition:
            _without_pauses(value)


def parameters(*accounts: str, propagate: bool | None = None) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"name": "accounts", "valueReference": {"reference": key}} for key in accounts]
    if propagate is not None:
        given.append({"name": "propagate", "valueBoolean": propagate})
    return {"resourceType": "Parameters", "parameter": given}


def request(
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    scope: str | None = SCOPE,
    subject: str = SUBJECT,
    claims: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The answer of the handlers to an event of API Gateway; `body` is a resource or raw text. `scope` None: no token.

    `claims` are those of the token besides `sub` and `scope`.
    """
    raw = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    context: dict[str, Any] = {"http": {"method": method}, "domainName": "server.example", "requestId": "1"}
    if scope is not None:
        context["authorizer"] = {"jwt": {"claims": {"sub": subject, "scope": scope, **(claims or {})}}}
    event = {
        "rawPath": f"/fhir/R4/{path.partition('?')[0]}",
        "rawQueryString": path.partition("?")[2],
        "headers": dict(headers or {}),
        "requestContext": context,
        "body": raw,
    }
    answer = http.serve(event)
    answer["resource"] = json.loads(answer["body"]) if answer["body"] else None
    return answer


def issue(answer: Mapping[str, Any]) -> tuple[str, str | None]:
    """Code and expression of the first issue of an OperationOutcome."""
    first = answer["resource"]["issue"][0]
    return first["code"], first.get("expression", [None])[0]
