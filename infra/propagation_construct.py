"""The state machine that propagates accounts. `propagation.asl.json` defines it, here and on the local server."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bucket_construct import MANIFESTS, BucketConstruct
from infra.deployment import Deployment
from infra.state_machine import JobStateMachine

DEFINITION = Path(__file__).with_name("propagation.asl.json")


class PropagationConstruct(JobStateMachine):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        worker: lambda_.IFunction,
        bucket: BucketConstruct,
        deployment: Deployment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            definition=DEFINITION,
            substitutions={
                "PropagationFunctionArn": worker.function_arn,
                "Bucket": bucket.bucket.bucket_name,
            },
            worker=worker,
            setting="STATE_MACHINE",
            deployment=deployment,
        )
        bucket.grant_read(self.role, MANIFESTS)
        bucket.grant_key(self.role, write=False)
        self.allow_distributed_map()
