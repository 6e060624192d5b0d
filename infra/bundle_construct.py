"""The state machine that processes bundles in the background. `bundle.asl.json` defines it, here and on the local server."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.deployment import Deployment
from infra.state_machine import JobStateMachine

DEFINITION = Path(__file__).with_name("bundle.asl.json")


class BundleConstruct(JobStateMachine):
    def __init__(
        self, scope: Construct, construct_id: str, *, worker: lambda_.IFunction, deployment: Deployment
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            definition=DEFINITION,
            substitutions={"ProcessingFunctionArn": worker.function_arn},
            worker=worker,
            setting="BUNDLE_STATE_MACHINE",
            deployment=deployment,
        )
