"""The rules of cdk-nag (AwsSolutions, HIPAA) that the stacks do not follow, each with its reason, for auditors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations

from infra.bucket_construct import BucketConstruct
from infra.state_machine import JobStateMachine
from infra.table_construct import TableConstruct

REASONS: Mapping[str, str] = {
    "AwsSolutions-APIG4": "Public routes describe the server and have no right to patients' data; $default answers 404 and 405.",
    "AwsSolutions-L1": "Python 3.13 is pinned: the layer's wheels and byte code are made for it.",
    "AwsSolutions-S1": "Only the functions' roles reach the bucket; the account's CloudTrail data events record them.",
    "AwsSolutions-SF2": "X-Ray shows little of a Distributed Map; progress and failures stand in the job. tracing=on switches it on.",
    "AwsSolutions-SQS3": "The queue is itself where undelivered events of the sweeper end.",
    "HIPAA.Security-CloudWatchLogGroupEncrypted": "Logs hold ids and codes only, and CloudWatch encrypts them at rest.",
    "HIPAA.Security-DynamoDBInBackupPlan": "Point-in-time recovery covers 35 days; backup plans are the account's.",
    "HIPAA.Security-IAMNoInlinePolicy": "A role's policy is that role's alone: no other can come to share it.",
    "HIPAA.Security-LambdaConcurrency": "The API's throttling and the map's MaxConcurrency bound it; worker_concurrency reserves.",
    "HIPAA.Security-LambdaDLQ": "API Gateway and Step Functions see a failure themselves; the sweeper has a queue.",
    "HIPAA.Security-LambdaInsideVPC": "The functions reach only AWS's own endpoints, and IAM decides on each call.",
    "HIPAA.Security-S3BucketLoggingEnabled": "As AwsSolutions-S1.",
    "HIPAA.Security-S3BucketReplicationEnabled": "Another region is the operator's choice, bucket and table.",
    "HIPAA.Security-SNSEncryptedKMS": "Alarms name metrics only. Where the deployment has a customer key, it encrypts the topic.",
}
ANYTHING = "Log delivery of Step Functions and X-Ray know no resources: these are the policies that AWS documents."
# What follows the ARN of the table, of the bucket, and of a state machine's executions.
TABLE_WILDCARDS = {"/index/*": "The indexes of this table."}
BUCKET_WILDCARDS = {
    "/answers/*": "The objects below one prefix: answers that no response holds are named at random.",
    "/bodies/*": "The objects below one prefix: bodies have random names.",
    "/manifests/*": "The objects below one prefix: manifests are named by their job.",
    "/requests/*": "The objects below one prefix: bundles that wait are named by their job.",
    "/results/*": "The objects below one prefix: answers are named by their job.",
    "/uploads/*": "The objects below one prefix: uploads are named by their owner.",
}
STATE_MACHINE_WILDCARDS = {
    ":*": "The executions of this state machine.",
    "/*": "The children of this state machine's Distributed Map.",
}
KEY_WILDCARDS = {
    "kms:GenerateDataKey*": "Both forms of one action, through DynamoDB or S3 only.",
    "kms:ReEncrypt*": "Both halves of one action, through DynamoDB or S3 only.",
}


def acknowledge(
    stack: Stack, table: TableConstruct, bucket: BucketConstruct, *, machines: Iterable[JobStateMachine] = ()
) -> None:
    """Note the reasons at `stack`, for all that is below it. Table and bucket may be another stack's, or nobody's."""
    reasons = dict(REASONS)
    reasons["AwsSolutions-IAM5[Resource::*]"] = ANYTHING
    for arn, wildcards in (
        (_arn(stack, table.table), TABLE_WILDCARDS),
        (_arn(stack, bucket.bucket), BUCKET_WILDCARDS),
        *((_written(stack.resolve(machine.executions(""))), STATE_MACHINE_WILDCARDS) for machine in machines),
    ):
        reasons |= {f"AwsSolutions-IAM5[Resource::{arn}{tail}]": reason for tail, reason in wildcards.items()}
    reasons |= {f"AwsSolutions-IAM5[Action::{action}]": reason for action, reason in KEY_WILDCARDS.items()}
    rules = [Acknowledgment(id=f"{rule.partition('-')[0]}::{rule}", reason=reason) for rule, reason in reasons.items()]
    Validations.of(stack).acknowledge(*rules)


def _arn(stack: Stack, resource: Any) -> str:
    """The ARN of a table or bucket as cdk-nag writes it: by logical id in its own stack, by the name of the export in another."""
    arn = resource.table_arn if hasattr(resource, "table_arn") else resource.bucket_arn
    home = Stack.of(resource)
    if home is not stack:
        arn = home.export_value(arn)
    return _written(stack.resolve(arn))


def _written(value: Any) -> str:
    """A resolved value as cdk-nag writes it: `<Table1234.Arn>`, `<AWS::Region>`."""
    if isinstance(value, str):
        return value
    ((kind, argument),) = value.items()
    if kind == "Fn::Join":
        return "".join(map(_written, argument[1]))
    if kind == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    return f"<{argument}>" if kind == "Ref" else _written(argument)
