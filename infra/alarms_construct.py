"""The alarms, each with its entry in docs/operations/runbook.md; only where somebody is told, for each costs ten cents a month."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Annotations, ArnFormat, Duration, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from bulkhead.store import keys
from infra import metrics
from infra.deployment import Deployment
from infra.functions_construct import WORKERS
from infra.key_construct import KeyConstruct

RUNBOOK = "docs/operations/runbook.md"
# What nearly all requests to the table are.
_OPERATIONS = ("GetItem", "Query", "BatchGetItem", "BatchWriteItem", "BatchExecuteStatement", "TransactWriteItems")
# API Gateway gives up after 30 s, a search page after 10.
_SLOW = Duration.seconds(8)


class AlarmsConstruct(Construct):
    """Alarms go off on the first failure within five minutes: in a clinical record none is normal."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: apigatewayv2.HttpStage,
        functions: Mapping[str, lambda_.Function],
        state_machines: Mapping[str, stepfunctions.StateMachine],
        table: dynamodb.ITable,
        undelivered: sqs.Queue,
        key: KeyConstruct,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        if not deployment.alarmed:
            nobody = "no alarms: give alarm_email or alarm_topic where patient data is held"
            Annotations.of(self).add_info(nobody)
            return
        self._action = actions.SnsAction(self._topic(key, deployment))
        self._api(stage)
        for name, function in functions.items():
            self._alarm(f"{name.title()}Errors", "function-errors", function.metric_errors(period=metrics.PERIOD))
            # Workers that have a share of their own wait for their turn: that is what the share is for.
            if not (name in WORKERS and deployment.worker_concurrency):
                throttled = function.metric_throttles(period=metrics.PERIOD)
                self._alarm(f"{name.title()}Throttles", "function-throttles", throttled)
        used = metrics.claimed_concurrency()
        self._alarm("Concurrency", "concurrency", used, threshold=deployment.concurrency_quota * 4 // 5)
        # An execution that a client cancels counts as aborted: no failure.
        for name, machine in state_machines.items():
            self._alarm(f"{name}Failed", "executions-failed", machine.metric_failed(period=metrics.PERIOD))
            self._alarm(f"{name}TimedOut", "executions-failed", machine.metric_timed_out(period=metrics.PERIOD))
        self._alarm("JobsFailed", "jobs-failed", metrics.jobs_failed())
        self._alarm("JobsDead", "jobs-dead", metrics.jobs_dead())
        self._alarm("ResourcesDamaged", "resources-damaged", metrics.resources_damaged())
        waiting = undelivered.metric_approximate_number_of_messages_visible(period=metrics.PERIOD, statistic="max")
        self._alarm("SweeperUndelivered", "sweeper-undelivered", waiting)
        self._table(table)

    def _topic(self, key: KeyConstruct, deployment: Deployment) -> sns.ITopic:
        if deployment.alarm_topic:
            return sns.Topic.from_topic_arn(self, "Topic", deployment.alarm_topic)
        # AWS's own key for SNS lets no alarm in, so it is the customer's or none.
        topic = sns.Topic(self, "Topic", display_name=deployment.name, enforce_ssl=True, master_key=key.key)
        self._let_alarms_in(topic)
        topic.add_subscription(subscriptions.EmailSubscription(deployment.alarm_email))
        return topic

    def _let_alarms_in(self, topic: sns.Topic) -> None:
        """A topic without a policy lets its account publish. `enforce_ssl` gives it one that only denies: then no alarm would get in."""
        alarms = Stack.of(self).format_arn(
            service="cloudwatch", resource="alarm", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"ArnLike": {"aws:SourceArn": alarms}},
            )
        )

    def _api(self, stage: apigatewayv2.HttpStage) -> None:
        self._alarm("ApiServerErrors", "api-server-errors", stage.metric_server_error(period=metrics.PERIOD))
        slow = stage.metric_latency(statistic="p99", period=metrics.PERIOD)
        self._alarm("ApiLatency", "api-latency", slow, threshold=_SLOW.to_milliseconds(), periods=3)

    def _table(self, table: dynamodb.ITable) -> None:
        """Throttling of the table and of each index, which throttles the table; errors of DynamoDB itself.

        DynamoDB reports throttling under these very dimensions: under the name of the table alone an index's is never seen.
        """
        for place, index in {"Table": None, **{name.title().replace("-", ""): name for name in keys.INDEXES}}.items():
            for kind in ("Read", "Write"):
                throttled = metrics.of_table(table, f"{kind}ThrottleEvents", index)
                self._alarm(f"{place}{kind}Throttles", "table-throttles", throttled)
        for operation in _OPERATIONS:
            failed = metrics.of_table(table, "SystemErrors", Operation=operation)
            self._alarm(f"{operation}SystemErrors", "table-system-errors", failed)

    def _alarm(
        self, construct_id: str, entry: str, metric: cloudwatch.IMetric, *, threshold: float = 1, periods: int = 1
    ) -> None:
        """`entry` is the heading in the runbook that says what to do."""
        alarm = cloudwatch.Alarm(
            self,
            construct_id,
            alarm_description=f"Bulkhead: {construct_id}. What to do: {RUNBOOK}#{entry}",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)
