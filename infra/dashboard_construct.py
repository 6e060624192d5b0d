"""The dashboard of one screen: traffic, latency, units, jobs, cost. It has fewer metrics than an account gets for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from bulkhead.observability import READ_UNITS, WRITE_UNITS
from bulkhead.store import keys
from infra import metrics

# Dollars in us-east-1, by million: DynamoDB on demand, requests of an HTTP API. docs/operations/cost.md has all.
WRITES, READS, REQUESTS = 0.625, 0.125, 1.0


class DashboardConstruct(Construct):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: apigatewayv2.HttpStage,
        functions: Mapping[str, lambda_.Function],
        state_machines: Mapping[str, stepfunctions.StateMachine],
        table: dynamodb.ITable,
    ) -> None:
        super().__init__(scope, construct_id)
        requests = stage.metric_count(period=metrics.PERIOD, statistic="sum")
        latency = [stage.metric_latency(statistic=statistic) for statistic in ("p50", "p95", "p99")]
        duration = [function.metric_duration(statistic="p95", label=name) for name, function in functions.items()]
        reads, writes = (_units(table, f"Consumed{kind}CapacityUnits") for kind in ("Read", "Write"))
        executions = [
            metric
            for machine in state_machines.values()
            for metric in (machine.metric_started(), machine.metric_succeeded(), machine.metric_failed())
        ]
        graphs: dict[str, Sequence[cloudwatch.IMetric]] = {
            "Requests": [requests, stage.metric_client_error(), stage.metric_server_error()],
            "Latency, ms": latency,
            "Function duration, p95, ms": duration,
            "Write units of table and indexes": writes,
            "Read units of table and indexes": reads,
            "Write units by operation": [metrics.units_by_operation(WRITE_UNITS)],
            "Read units by operation": [metrics.units_by_operation(READ_UNITS)],
            "Jobs": [*executions, metrics.jobs_failed(), metrics.jobs_dead()],
            "Concurrent executions of the account": [metrics.claimed_concurrency()],
            "Cost of requests and units, dollars in five minutes (us-east-1)": [_cost(requests, reads, writes)],
        }
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(3))
        widgets = [cloudwatch.GraphWidget(title=title, left=list(lines), width=12) for title, lines in graphs.items()]
        for left, right in zip(widgets[::2], widgets[1::2], strict=True):
            dashboard.add_widgets(left, right)


def _units(table: dynamodb.ITable, name: str) -> list[cloudwatch.Metric]:
    return [metrics.of_table(table, name, index, label=index or "table") for index in (None, *keys.INDEXES)]


def _cost(
    requests: cloudwatch.Metric, reads: Sequence[cloudwatch.Metric], writes: Sequence[cloudwatch.Metric]
) -> cloudwatch.MathExpression:
    """DynamoDB and API Gateway, which are nearly all of it; Lambda's part follows the durations."""
    named: dict[str, cloudwatch.IMetric] = {"requests": requests}
    terms = [f"FILL(requests, 0) * {REQUESTS}"]
    for letter, price, places in (("r", READS, reads), ("w", WRITES, writes)):
        for number, metric in enumerate(places):
            named[f"{letter}{number}"] = metric
            terms.append(f"FILL({letter}{number}, 0) * {price}")
    return cloudwatch.MathExpression(
        expression=f"({' + '.join(terms)}) / 1000000", using_metrics=named, label="dollars", period=metrics.PERIOD
    )
