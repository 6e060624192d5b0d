"""The schedule of the sweeper: the net below large transactions whose process died."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

# Whoever writes to such resources clears them by itself, and readers see past them: this is about what nobody touches.
EVERY = Duration.hours(1)


class SweeperConstruct(Construct):
    """Starts `function` every hour: less than a cent a month."""

    def __init__(self, scope: Construct, construct_id: str, *, function: lambda_.IFunction) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "Rule",
            description="Bulkhead: finish large transactions that were left behind",
            schedule=events.Schedule.rate(EVERY),
            targets=[targets.LambdaFunction(function, retry_attempts=2)],
        )
