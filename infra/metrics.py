"""The metrics that alarms and the dashboard read, under the dimensions by which AWS and the functions report them."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb

from bulkhead.observability import JOBS_DEAD, JOBS_FAILED, NAMESPACE, RESOURCES_DAMAGED, SERVICE

PERIOD = Duration.minutes(5)


def of_table(
    table: dynamodb.ITable, name: str, index: str | None = None, *, label: str | None = None, **dimensions: str
) -> cloudwatch.Metric:
    """A sum of DynamoDB's, of the table or of one of its indexes."""
    place = {"GlobalSecondaryIndexName": index} if index else {}
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name=name,
        dimensions_map={"TableName": table.table_name, **place, **dimensions},
        statistic="sum",
        period=PERIOD,
        label=label,
    )


def claimed_concurrency() -> cloudwatch.Metric:
    """Concurrent executions of the whole account in this region, reserved ones included."""
    return cloudwatch.Metric(
        namespace="AWS/Lambda", metric_name="ClaimedAccountConcurrency", statistic="max", period=PERIOD
    )


def jobs_failed() -> cloudwatch.Metric:
    """Jobs that ended without doing what was asked, for reasons that are not their request's. The functions report it themselves."""
    return _ours(JOBS_FAILED, statistic="sum")


def jobs_dead() -> cloudwatch.Metric:
    """Jobs that are not over and that nobody works on. The sweeper counts them every minute."""
    return _ours(JOBS_DEAD, statistic="max")


def resources_damaged() -> cloudwatch.Metric:
    """Resources that the integrity check cannot mend. Each round counts what it came upon."""
    return _ours(RESOURCES_DAMAGED, statistic="sum")


def _ours(name: str, *, statistic: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"service": SERVICE},
        statistic=statistic,
        period=PERIOD,
    )


def units_by_operation(name: str) -> cloudwatch.IMetric:
    """Capacity units (`READ_UNITS`, `WRITE_UNITS`) by operation of the route table, as many lines as there are operations."""
    schema = f"{{{NAMESPACE},operation,service}}"
    return cloudwatch.MathExpression(
        expression=f"SEARCH('{schema} MetricName=\"{name}\"', 'Sum')", using_metrics={}, label="", period=PERIOD
    )
