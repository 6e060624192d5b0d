"""The schedules of the sweeper: the net below large transactions whose process died, and the integrity check."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.sweeper.handler import CHECK

# A large transaction that is dead holds the history feed back. Whoever writes to its resources clears them, but nobody may.
EVERY = Duration.minutes(1)
# So many pages a time, by the setting INTEGRITY_PAGES.
EVERY_CHECK = Duration.days(1)


class SweeperConstruct(Construct):
    """Starts `function` every minute, which costs some ten cents a month, and, if it `checks`, every day for the integrity check.

    `undelivered` holds the events of those runs that failed each time they were tried.
    """

    def __init__(self, scope: Construct, construct_id: str, *, function: lambda_.Function, checks: bool) -> None:
        super().__init__(scope, construct_id)
        self.undelivered = sqs.Queue(
            self,
            "Undelivered",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        # One that comes late is of no use: the next minute's does the same.
        function.configure_async_invoke(
            on_failure=destinations.SqsDestination(self.undelivered),
            retry_attempts=2,
            max_event_age=Duration.minutes(30),
        )
        events.Rule(
            self,
            "Rule",
            description="Bulkhead: finish large transactions that were left behind",
            schedule=events.Schedule.rate(EVERY),
            targets=[targets.LambdaFunction(function, retry_attempts=2, dead_letter_queue=self.undelivered)],
        )
        if checks:
            self._check_daily(function)

    def _check_daily(self, function: lambda_.Function) -> None:
        events.Rule(
            self,
            "Check",
            description="Bulkhead: compare resources with the index",
            schedule=events.Schedule.rate(EVERY_CHECK),
            targets=[
                targets.LambdaFunction(
                    function,
                    retry_attempts=2,
                    dead_letter_queue=self.undelivered,
                    event=events.RuleTargetInput.from_object(CHECK),
                )
            ],
        )
