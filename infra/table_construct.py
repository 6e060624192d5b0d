"""The one DynamoDB table, with the keys and indexes of `bulkhead.store.keys`: CDK and code cannot disagree."""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from bulkhead.facts.audit_names import AUDIT_EVENT, PREFIX
from bulkhead.store import definitions, keys

READ = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
# TransactWriteItems is allowed through the actions that it consists of.
WRITE = (
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
)


class TableConstruct(Construct):
    """On demand, encrypted under the account's KMS key for DynamoDB, with point-in-time recovery (35 days)."""

    def __init__(self, scope: Construct, construct_id: str, *, retained: bool) -> None:
        super().__init__(scope, construct_id)
        definition = keys.table_definition("")
        attributes = {
            attribute["AttributeName"]: dynamodb.Attribute(
                name=attribute["AttributeName"], type=dynamodb.AttributeType(_TYPES[attribute["AttributeType"]])
            )
            for attribute in definition["AttributeDefinitions"]
        }
        self.table = dynamodb.Table(
            self,
            "Table",
            **_key_schema(definition, attributes),
            billing_mode=dynamodb.BillingMode(definition["BillingMode"]),
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=keys.TTL,
            deletion_protection=retained,
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
        )
        for index in definition["GlobalSecondaryIndexes"]:
            projection = index["Projection"]
            self.table.add_global_secondary_index(
                index_name=index["IndexName"],
                **_key_schema(index, attributes),
                projection_type=dynamodb.ProjectionType(projection["ProjectionType"]),
                non_key_attributes=projection.get("NonKeyAttributes"),
            )

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Read any item, through the table and its indexes. No scan: nothing that answers a request needs one."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=list(READ), resource_arns=[self.table.table_arn, f"{self.table.table_arn}/index/*"]
        )

    def grant_write(self, grantee: iam.IGrantable) -> None:
        """Write any item. Indexes are never written to directly."""
        iam.Grant.add_to_principal(grantee=grantee, actions=list(WRITE), resource_arns=[self.table.table_arn])

    def grant_scan(self, grantee: iam.IGrantable) -> None:
        """Go through the whole table: for the integrity check."""
        iam.Grant.add_to_principal(grantee=grantee, actions=["dynamodb:Scan"], resource_arns=[self.table.table_arn])

    def grant_secret(self, grantee: iam.IGrantable) -> None:
        """Make the table's secret, where there is none yet, and nothing else."""
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["dynamodb:PutItem"],
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [keys.SECRET]}},
            )
        )

    def grant_trail(self, grantee: iam.IGrantable) -> None:
        """Add AuditEvents of the server's own, told by their partition key, and note the month in which they were written."""
        leading = [f"{AUDIT_EVENT}/{PREFIX}*", keys.MONTHS]
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading}},
            )
        )

    def grant_jobs(self, grantee: iam.IGrantable) -> None:
        """Read and update the items of asynchronous jobs, told by their partition key; never those of a patient."""
        condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [keys.job_key("*")]}}
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"],
                resources=[self.table.table_arn],
                conditions=condition,
            )
        )

    def grant_definitions(self, grantee: iam.IGrantable) -> None:
        """Read CompartmentDefinitions, and the transactions that may have them in progress; nothing of a patient."""
        leading = [keys.DEFINITIONS, f"{definitions.TYPE}/*", keys.transaction_key("*")]
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(READ),
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading}},
            )
        )


_TYPES = {"S": "STRING", "N": "NUMBER", "B": "BINARY"}


def _key_schema(definition: dict[str, Any], attributes: dict[str, dynamodb.Attribute]) -> dict[str, dynamodb.Attribute]:
    """CreateTable's key schema as the CDK arguments `partition_key` and `sort_key`."""
    names = {"HASH": "partition_key", "RANGE": "sort_key"}
    return {names[key["KeyType"]]: attributes[key["AttributeName"]] for key in definition["KeySchema"]}
