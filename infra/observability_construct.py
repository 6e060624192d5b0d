"""What tells an operator that something is wrong: alarms, and a dashboard of one screen."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from bulkhead.store import keys

PERIOD = Duration.minutes(5)
# What nearly all requests to the table are: an alarm costs ten cents a month.
_OPERATIONS = ("GetItem", "Query", "BatchGetItem", "BatchWriteItem", "TransactWriteItems")


class ObservabilityConstruct(Construct):
    """Alarms go off on the first failure within five minutes: in a clinical record none is normal."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: apigatewayv2.HttpStage,
        functions: Mapping[str, lambda_.Function],
        state_machines: Mapping[str, stepfunctions.StateMachine],
        table: dynamodb.Table,
        alarm_topic: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        topic = sns.Topic.from_topic_arn(self, "Topic", alarm_topic) if alarm_topic else None
        self._action = actions.SnsAction(topic) if topic else None
        self._alarm("ApiServerErrors", stage.metric_server_error(period=PERIOD))
        for name, function in functions.items():
            self._alarm(f"{name.title()}Errors", function.metric_errors(period=PERIOD))
            self._alarm(f"{name.title()}Throttles", function.metric_throttles(period=PERIOD))
        # An execution that a client cancels counts as aborted: no failure.
        for name, state_machine in state_machines.items():
            self._alarm(f"{name}Failed", state_machine.metric_failed(period=PERIOD))
            self._alarm(f"{name}TimedOut", state_machine.metric_timed_out(period=PERIOD))
        self._table_alarms(table)
        self._dashboard(stage, functions, state_machines, table)

    def _alarm(self, construct_id: str, metric: cloudwatch.IMetric) -> None:
        alarm = cloudwatch.Alarm(
            self,
            construct_id,
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._action:
            alarm.add_alarm_action(self._action)

    def _table_alarms(self, table: dynamodb.Table) -> None:
        """Throttling of the table and of each index, which throttles the table; errors of DynamoDB itself.

        DynamoDB reports throttling under these very dimensions: under the name of the table alone an index's is never seen.
        """
        places = {
            "Table": {},
            **{index.title().replace("-", ""): {"GlobalSecondaryIndexName": index} for index in keys.INDEXES},
        }
        for place, dimensions in places.items():
            for kind in ("Read", "Write"):
                metric = table.metric(
                    f"{kind}ThrottleEvents",
                    dimensions_map={"TableName": table.table_name, **dimensions},
                    statistic="sum",
                    period=PERIOD,
                )
                self._alarm(f"{place}{kind}Throttles", metric)
        for operation in _OPERATIONS:
            dimensions = {"TableName": table.table_name, "Operation": operation}
            metric = table.metric("SystemErrors", dimensions_map=dimensions, statistic="sum", period=PERIOD)
            self._alarm(f"{operation}SystemErrors", metric)

    def _dashboard(
        self,
        stage: apigatewayv2.HttpStage,
        functions: Mapping[str, lambda_.Function],
        state_machines: Mapping[str, stepfunctions.StateMachine],
        table: dynamodb.Table,
    ) -> None:
        requests = [stage.metric_count(), stage.metric_client_error(), stage.metric_server_error()]
        latency = [stage.metric_latency(statistic=statistic) for statistic in ("p50", "p95", "p99")]
        duration = [function.metric_duration(statistic="p95", label=name) for name, function in functions.items()]
        units = [table.metric_consumed_read_capacity_units(), table.metric_consumed_write_capacity_units()]
        executions = {
            name: [state_machine.metric_started(), state_machine.metric_succeeded(), state_machine.metric_failed()]
            for name, state_machine in state_machines.items()
        }
        graphs = {
            "Requests": requests,
            "Latency": latency,
            "Function duration, p95": duration,
            "Consumed units": units,
            **executions,
        }
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(3))
        dashboard.add_widgets(*(cloudwatch.GraphWidget(title=title, left=metrics) for title, metrics in graphs.items()))
