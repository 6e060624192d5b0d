"""CloudWatch log groups, all alike."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.deployment import Deployment

RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    7: logs.RetentionDays.ONE_WEEK,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    2557: logs.RetentionDays.SEVEN_YEARS,
}


def log_group(scope: Construct, construct_id: str, deployment: Deployment) -> logs.LogGroup:
    """A log group that is kept as `deployment` says. ValueError where CloudWatch has no such retention period."""
    if deployment.log_days not in RETENTION:
        raise ValueError(f"context log_days must be one of {', '.join(map(str, RETENTION))}")
    return logs.LogGroup(
        scope,
        construct_id,
        retention=RETENTION[deployment.log_days],
        removal_policy=RemovalPolicy.RETAIN if deployment.retained else RemovalPolicy.DESTROY,
    )
