"""The rules of cdk-nag (AwsSolutions, HIPAA) that the stack does not follow, each with its reason, for auditors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aws_cdk import Acknowledgment, CfnElement, Stack, Validations
from constructs import IConstruct

REASONS: Mapping[str, str] = {
    "AwsSolutions-APIG4": "Only $default has no authorizer: it answers 404 and 405, and has no right to any data.",
    "AwsSolutions-COG8": "The user pool serves programs and administrators; clinicians have the hospital's own issuer.",
    "AwsSolutions-L1": "Python 3.13 is pinned: the layer's wheels and byte code are made for it.",
    "AwsSolutions-S1": "Only the functions' roles reach the bucket; the account's CloudTrail data events record them.",
    "AwsSolutions-SF2": "X-Ray shows little of a Distributed Map; progress and failures stand in the job.",
    "HIPAA.Security-CloudWatchLogGroupEncrypted": "Logs hold ids and codes only, and CloudWatch encrypts them at rest.",
    "HIPAA.Security-DynamoDBInBackupPlan": "Point-in-time recovery covers 35 days; backup plans are the account's.",
    "HIPAA.Security-IAMNoInlinePolicy": "A role's policy is that role's alone: no other can come to share it.",
    "HIPAA.Security-LambdaConcurrency": "The API's throttling and the map's MaxConcurrency bound it.",
    "HIPAA.Security-LambdaDLQ": "Every call is synchronous: API Gateway and Step Functions see the failure.",
    "HIPAA.Security-LambdaInsideVPC": "The functions reach only AWS's own endpoints, and IAM decides on each call.",
    "HIPAA.Security-S3BucketLoggingEnabled": "As AwsSolutions-S1.",
    "HIPAA.Security-S3BucketReplicationEnabled": "Another region is the operator's choice, bucket and table.",
}
# ARNs of policies that end in a wildcard, `{}` being the logical id of the resource.
_EXECUTION = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{}.Name>"
TABLE_WILDCARDS = {"<{}.Arn>/index/*": "The indexes of this table."}
BUCKET_WILDCARDS = {
    "<{}.Arn>/bodies/*": "The objects below one prefix: bodies are named by their hash.",
    "<{}.Arn>/manifests/*": "The objects below one prefix: manifests are named by their job.",
    "<{}.Arn>/requests/*": "The objects below one prefix: bundles that wait are named by their job.",
    "<{}.Arn>/results/*": "The objects below one prefix: answers are named by their job.",
    "<{}.Arn>/uploads/*": "The objects below one prefix: uploads are named by their owner.",
}
STATE_MACHINE_WILDCARDS = {
    f"{_EXECUTION}:*": "The executions of this state machine.",
    f"{_EXECUTION}/*": "The children of this state machine's Distributed Map.",
}


def acknowledge(stack: Stack, table: IConstruct, bucket: IConstruct, *state_machines: IConstruct) -> None:
    """Note the reasons at `stack`, for all that is below it."""
    reasons = dict(REASONS)
    reasons[_wildcard("*")] = (
        "Log delivery of Step Functions knows no resources: this is the policy that AWS documents."
    )
    for construct, arns in (
        (table, TABLE_WILDCARDS),
        (bucket, BUCKET_WILDCARDS),
        *((state_machine, STATE_MACHINE_WILDCARDS) for state_machine in state_machines),
    ):
        logical_id = stack.get_logical_id(cast(CfnElement, construct.node.default_child))
        reasons |= {_wildcard(arn.format(logical_id)): reason for arn, reason in arns.items()}
    rules = [Acknowledgment(id=f"{rule.partition('-')[0]}::{rule}", reason=reason) for rule, reason in reasons.items()]
    Validations.of(stack).acknowledge(*rules)


def _wildcard(arn: str) -> str:
    return f"AwsSolutions-IAM5[Resource::{arn}]"
