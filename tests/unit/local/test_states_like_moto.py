"""The propagation state machine runs the same in our interpreter and in moto's, which was written independently."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.local import aws, states

MANIFEST = [{"batch": 0}, {"batch": 1}, {"batch": 2}]
PLANS = {
    "nothing to do": [{"batches": 0, "next": "finish"}],
    "work, then verify": [
        {"batches": 3, "manifest": "m", "next": "plan", "concurrency": 2},
        {"batches": 0, "next": "finish"},
    ],
    "settle between": [{"batches": 0, "next": "settle", "settle": 0}, {"batches": 0, "next": "finish"}],
}


class Worker:
    """Stands for the propagation function: answers `plan` from a list, and remembers its calls."""

    def __init__(self, plans: list[dict[str, Any]]) -> None:
        self.plans = list(plans)
        self.calls: list[str] = []

    def __call__(self, payload: dict[str, Any]) -> Any:
        self.calls.append(json.dumps(payload, sort_keys=True))
        return self.plans.pop(0) if payload["step"] == "plan" else {"done": payload["step"]}


def by_us(plans: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    worker = Worker(plans)
    runtime = states.Runtime(lambda _, payload: worker(payload), lambda *_: json.dumps(MANIFEST).encode())
    return states.run(aws.definition(aws.DEFINITIONS[aws.STATE_MACHINE]), {"job": "1"}, runtime), sorted(worker.calls)


def by_moto(plans: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    worker = Worker(plans)
    monkeypatch.setattr(
        "moto.awslambda.models.LambdaFunction._invoke_lambda",
        lambda _, event: (json.dumps(worker(event)), False, ""),
    )
    # moto's state outlives this context where another test holds one open, too.
    name = f"like-moto-{uuid.uuid4().hex}"
    definition = aws.DEFINITIONS[aws.STATE_MACHINE].read_text().replace("${Bucket}", name)
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        session = boto3.Session("a", "b", region_name="us-east-1")
        session.client("s3").create_bucket(Bucket=name)
        session.client("s3").put_object(Bucket=name, Key="m", Body=json.dumps(MANIFEST).encode())
        role = session.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        definition = definition.replace("${PropagationFunctionArn}", _function(session, name, role))
        client = session.client("stepfunctions")
        machine = client.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
        started = client.start_execution(stateMachineArn=machine, name="1", input='{"job": "1"}')
        ended = _wait(client, started["executionArn"])
    assert ended["status"] == "SUCCEEDED"
    return json.loads(ended["output"]), sorted(worker.calls)


def _function(session: Any, name: str, role: str) -> str:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "")
    client = session.client("lambda")
    made = client.create_function(
        FunctionName=name, Runtime="python3.13", Role=role, Handler="h.h", Code={"ZipFile": code.getvalue()}
    )
    return str(made["FunctionArn"])


def _wait(client: Any, execution: str) -> Any:
    while (found := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("plans", PLANS.values(), ids=PLANS)
def test_the_same_calls_and_the_same_output(plans: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_us(plans) == by_moto(plans, monkeypatch)
