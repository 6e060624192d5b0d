"""The schedules of the sweeper: the net below large transactions whose process died, and the integrity check."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from functions.sweeper.handler import CHECK

# Whoever writes to such resources clears them by itself, and readers see past them: this is about what nobody touches.
EVERY = Duration.hours(1)
# So many pages a time, by the setting INTEGRITY_PAGES.
EVERY_CHECK = Duration.days(1)


class SweeperConstruct(Construct):
    """Starts `function` every hour, which costs less than a cent a month, and every day for the integrity check."""

    def __init__(self, scope: Construct, construct_id: str, *, function: lambda_.IFunction) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "Rule",
            description="Bulkhead: finish large transactions that were left behind",
            schedule=events.Schedule.rate(EVERY),
            targets=[targets.LambdaFunction(function, retry_attempts=2)],
        )
        events.Rule(
            self,
            "Check",
            description="Bulkhead: compare resources with the index",
            schedule=events.Schedule.rate(EVERY_CHECK),
            targets=[
                targets.LambdaFunction(function, retry_attempts=0, event=events.RuleTargetInput.from_object(CHECK))
            ],
        )
