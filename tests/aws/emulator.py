"""An emulated AWS account with IAM enforced (ministack), and the synthesised template deployed into it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import boto3
import httpx

from bulkhead.api.routes import BASE
from infra import template
from infra.local import identity
from tests.aws.front import Domain, Front
from tests.support.synthesis import ROOT

PROGRAM = ROOT / ".venv-ministack" / "bin" / "ministack"
REGION = "eu-central-1"
ASSETS = "assets"
# A wait of the state machines, such as that for the indexes, takes a tenth of its time.
WAITING = "0.1"
T = TypeVar("T")


def until(done: Callable[[], T | None], seconds: float = 90) -> T:
    """What `done` says as soon as it is something. AssertionError after `seconds`."""
    latest = time.monotonic() + seconds
    while time.monotonic() < latest:
        if said := done():
            return said
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


@dataclass
class Issuer:
    """The issuer of tokens that the deployment trusts. It publishes its keys over HTTP."""

    folder: Path
    _server: ThreadingHTTPServer = field(init=False)

    def __enter__(self) -> Self:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = issuer.identity.document(self.path)
                self.send_response(200 if document else 404)
                self.end_headers()
                self.wfile.write(document or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.identity = identity.Identity(
            f"http://127.0.0.1:{self._server.server_port}", self.folder / "key.pem", "bulkhead"
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def context(self) -> dict[str, str]:
        """The context keys of a deployment that trusts it."""
        url = self.identity.issuer
        return {
            "issuer": url,
            "audience": self.identity.audience,
            "JWKS_URI": f"{url}{identity.KEYS}",
            "TOKEN_ENDPOINT": f"{url}/token",
        }


class Account:
    """An AWS account of its own, in a process of its own; `folder` is for its files. It ends with the context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends = ExitStack()
        self._session = boto3.session.Session()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._port = _free_port()
            self._url = f"http://127.0.0.1:{self._port}"
            self.front = ends.enter_context(Front(self._url))
            self.issuer = ends.enter_context(Issuer(self._folder))
            self._start(ends)
            self.client("s3").create_bucket(Bucket=ASSETS, CreateBucketConfiguration={"LocationConstraint": REGION})
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ends.close()

    def client(self, service: str) -> Any:
        """A boto3 client of the account's owner."""
        return self._session.client(
            service,  # type: ignore[call-overload] # any service
            endpoint_url=self.front.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @property
    def port(self) -> int:
        return self._port

    @property
    def log(self) -> str:
        return (self._folder / "ministack.log").read_text()

    def _start(self, ends: ExitStack) -> None:
        temporary = self._folder / "tmp"
        temporary.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(temporary),
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_REGION": REGION,
            "SFN_WAIT_SCALE": WAITING,
            "S3_DATA_DIR": str(self._folder / "s3"),
            "STATE_DIR": str(self._folder / "state"),
            # The functions inherit these: S3 is reached by way of the front.
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ENDPOINT_URL_S3": self.front.url,
        }
        log = ends.enter_context((self._folder / "ministack.log").open("w"))
        process = subprocess.Popen(
            [PROGRAM], env=environment, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
        )
        ends.callback(process.wait)
        # With the processes of the functions.
        ends.callback(os.killpg, process.pid, signal.SIGTERM)
        until(lambda: process.poll() is not None or _answers(f"{self._url}/_ministack/health"))
        assert process.poll() is None, self.log[-2000:]


class Deployment:
    """Bulkhead, deployed into `account` from the template of `make template` with the context keys `context`."""

    def __init__(self, account: Account, folder: Path, name: str, context: Mapping[str, str]) -> None:
        self.account, self.name, self._folder, self._context = account, name, folder, context
        self.domain = Domain(account.front.target)

    def __enter__(self) -> Self:
        self.domain.__enter__()
        given = {"layers": "host", "data": "destroy", "name": self.name, "base_url": self.base}
        # Each worker at once is a process of its own here, and starts slowly.
        given["PROPAGATION_WORKERS"] = "2"
        template.write({**given, **self.account.issuer.context, **self._context}, self._folder)
        self.document = json.loads((self._folder / template.TEMPLATE).read_text())
        s3 = self.account.client("s3")
        for path in self._folder.iterdir():
            s3.upload_file(str(path), ASSETS, path.name)
        stack = self._create()
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        resources = self.account.client("cloudformation").get_paginator("list_stack_resources")
        self.resources: dict[str, str] = {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for page in resources.paginate(StackName=self.name)
            for each in page["StackResourceSummaries"]
        }
        (api,) = self._physical("AWS::ApiGatewayV2::Api")
        self.domain.api_host = f"{api}.execute-api.localhost:{self.account.port}"
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.domain.__exit__(None)

    def _physical(self, resource_type: str) -> list[str]:
        return [
            self.resources[name] for name, each in self.document["Resources"].items() if each["Type"] == resource_type
        ]

    @property
    def base(self) -> str:
        """[base], as clients call it."""
        return f"{self.domain.url}{BASE}"

    def function(self, name: str) -> str:
        """The Lambda function of functions/`name`."""
        (found,) = [
            self.resources[logical]
            for logical, each in self.document["Resources"].items()
            if each["Type"] == "AWS::Lambda::Function" and each["Properties"]["Handler"].split(".")[1] == name
        ]
        return found

    def invoke(self, name: str, event: Mapping[str, Any]) -> Any:
        """What the function of functions/`name` answers to `event`."""
        answered = self.account.client("lambda").invoke(FunctionName=self.function(name), Payload=json.dumps(event))
        said = json.loads(answered["Payload"].read())
        assert "FunctionError" not in answered, said
        return said

    def state_machine(self, placeholder: str) -> str:
        """The ARN of the state machine whose definition has the placeholder."""
        (found,) = [
            self.resources[logical]
            for logical, each in self.document["Resources"].items()
            if each["Type"] == "AWS::StepFunctions::StateMachine"
            and placeholder in each["Properties"]["DefinitionSubstitutions"]
        ]
        return found

    def running(self) -> dict[str, str]:
        """The executions under way, by the jobs that they work on."""
        machines = self.account.client("stepfunctions")
        return {
            # Its name is the job's id and when it began.
            execution["name"].split("-")[0]: execution["executionArn"]
            for output in ("StateMachineArn", "BundleStateMachineArn")
            for execution in machines.list_executions(stateMachineArn=self.outputs[output], statusFilter="RUNNING")[
                "executions"
            ]
        }

    def require_progress(self, job: str) -> None:
        """AssertionError where no execution works on the job, or a task of its execution failed. Nobody waits for its retries then: it ends."""
        execution = self.running().get(job)
        assert execution, "no execution works on the job"
        machines = self.account.client("stepfunctions")
        events = machines.get_execution_history(executionArn=execution)["events"]
        failed = [event["taskFailedEventDetails"] for event in events if event["type"] == "TaskFailed"]
        if failed:
            machines.stop_execution(executionArn=execution)
        assert not failed, failed[0]

    def caller(
        self, *accounts: str, scope: str = "system/*.cruds", subject: str = "tester", patient: str | None = None
    ) -> httpx.Client:
        """A client with a token; fenced to `accounts`, where there are any."""
        token = self.account.issuer.identity.token(subject, scope, accounts or None, patient=patient)
        return httpx.Client(
            base_url=self.base,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"},
            timeout=60,
        )

    def _create(self) -> Any:
        cloudformation = self.account.client("cloudformation")
        cloudformation.create_stack(
            StackName=self.name,
            TemplateURL=f"{self.account.front.url}/{ASSETS}/{template.TEMPLATE}",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": template.PARAMETER, "ParameterValue": ASSETS}],
        )

        def over() -> Any:
            (stack,) = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
            return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

        stack = until(over)
        assert stack["StackStatus"] == "CREATE_COMPLETE", [
            (event["LogicalResourceId"], event.get("ResourceStatusReason"))
            for event in cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
            if "FAILED" in event["ResourceStatus"]
        ]
        return stack


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False
