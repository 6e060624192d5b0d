"""CloudWatch log groups, all alike."""

from __future__ import annotations

from aws_cdk import Aws, Fn
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.deployment import Deployment
from infra.removal import removal_policy

# Services that deliver logs themselves are let in by one resource policy of the account, of 5,120 characters. AWS writes each group
# into it, but those below this prefix.
DELIVERED = "/aws/vendedlogs/"


def log_group(scope: Construct, construct_id: str, deployment: Deployment) -> logs.LogGroup:
    """A log group that is kept as `deployment` says, for what functions write."""
    return _log_group(scope, construct_id, deployment, name=None)


def delivered_log_group(scope: Construct, construct_id: str, deployment: Deployment, *, kind: str) -> logs.LogGroup:
    """A log group that API Gateway or Step Functions delivers to. `kind` tells it from the stack's others.

    The stack's own id is in the name: one that a former stack left behind is not in the way.
    """
    incarnation = Fn.select(2, Fn.split("/", Aws.STACK_ID))
    return _log_group(scope, construct_id, deployment, name=f"{DELIVERED}{deployment.name}/{kind}-{incarnation}")


def _log_group(scope: Construct, construct_id: str, deployment: Deployment, *, name: str | None) -> logs.LogGroup:
    made = logs.LogGroup(scope, construct_id, log_group_name=name, removal_policy=removal_policy(deployment))
    resource = made.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)
    resource.retention_in_days = deployment.log_days
    return made
