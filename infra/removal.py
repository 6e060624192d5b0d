"""What becomes of a resource when its stack goes."""

from __future__ import annotations

from aws_cdk import RemovalPolicy

from infra.deployment import Deployment


def removal_policy(deployment: Deployment) -> RemovalPolicy:
    """Kept, but where the very creation of the stack fails: what is empty would only stand in the way of the next attempt."""
    return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if deployment.retained else RemovalPolicy.DESTROY
