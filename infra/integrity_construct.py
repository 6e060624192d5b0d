"""The state machine of the nightly integrity check, where a deployment asks for one. `integrity.asl.json` defines it."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.sweeper import handler
from infra.deployment import Deployment
from infra.state_machine import JobStateMachine

DEFINITION = Path(__file__).with_name("integrity.asl.json")
# In most of the world's regions fewer people work at two o'clock than at any other time of UTC.
NIGHTLY = events.Schedule.cron(hour="2", minute="0")


class IntegrityConstruct(JobStateMachine):
    """Goes through the whole table each night, in `check_segments` segments side by side.

    `undelivered` holds the events of those nights on which it could not be started.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        worker: lambda_.IFunction,
        undelivered: sqs.IQueue,
        deployment: Deployment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            definition=DEFINITION,
            substitutions={"SweeperFunctionArn": worker.function_arn},
            worker=worker,
            setting="",
            deployment=deployment,
        )
        self.allow_distributed_map()
        events.Rule(
            self,
            "Nightly",
            description="Bulkhead: compare resources with the index",
            schedule=NIGHTLY,
            targets=[
                targets.SfnStateMachine(
                    self.state_machine,
                    input=events.RuleTargetInput.from_object(handler.whole_table(deployment.check_segments)),
                    dead_letter_queue=undelivered,
                )
            ],
        )
