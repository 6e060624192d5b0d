"""The one DynamoDB table, with the keys and indexes of `bulkhead.store.keys`: CDK and code cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from bulkhead.facts.audit_names import AUDIT_EVENT, PREFIX
from bulkhead.store import definitions, keys
from infra.deployment import Deployment
from infra.key_construct import KeyConstruct
from infra.removal import removal_policy

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
    """On demand, encrypted, with point-in-time recovery (35 days); or one that is there already, which stays as it is."""

    def __init__(self, scope: Construct, construct_id: str, *, key: KeyConstruct, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self._key = key
        self.table: dynamodb.ITable = (
            dynamodb.Table.from_table_name(self, "Table", deployment.table)
            if deployment.table
            else self._made(deployment)
        )

    def _made(self, deployment: Deployment) -> dynamodb.Table:
        definition = keys.table_definition("")
        attributes = {
            attribute["AttributeName"]: dynamodb.Attribute(
                name=attribute["AttributeName"], type=dynamodb.AttributeType(_TYPES[attribute["AttributeType"]])
            )
            for attribute in definition["AttributeDefinitions"]
        }
        partition_key, sort_key = _key_schema(definition, attributes)
        table = dynamodb.Table(
            self,
            "Table",
            partition_key=partition_key,
            sort_key=sort_key,
            billing_mode=dynamodb.BillingMode(definition["BillingMode"]),
            encryption=(
                dynamodb.TableEncryption.CUSTOMER_MANAGED if self._key.key else dynamodb.TableEncryption.AWS_MANAGED
            ),
            encryption_key=self._key.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=keys.TTL,
            deletion_protection=deployment.retained,
            removal_policy=removal_policy(deployment),
            warm_throughput=_warm(deployment),
        )
        for index in definition["GlobalSecondaryIndexes"]:
            projection = index["Projection"]
            partition_key, sort_key = _key_schema(index, attributes)
            table.add_global_secondary_index(
                index_name=index["IndexName"],
                partition_key=partition_key,
                sort_key=sort_key,
                projection_type=dynamodb.ProjectionType(projection["ProjectionType"]),
                non_key_attributes=projection.get("NonKeyAttributes"),
                warm_throughput=_warm(deployment),
            )
        return table

    def grant_read(self, grantee: iam.IPrincipal) -> None:
        """Read any item, through the table and its indexes. No scan: nothing that answers a request needs one."""
        self._allow(grantee, READ, resources=[self.table.table_arn, f"{self.table.table_arn}/index/*"])

    def grant_write(self, grantee: iam.IPrincipal) -> None:
        """Write any item. Indexes are never written to directly."""
        self._allow(grantee, WRITE)

    def grant_insert(self, grantee: iam.IPrincipal) -> None:
        """Put items where there are none, in batches: what the transaction of a job stages."""
        self._allow(grantee, ["dynamodb:PartiQLInsert"])

    def grant_scan(self, grantee: iam.IPrincipal) -> None:
        """Go through the whole table: for the integrity check."""
        self._allow(grantee, ["dynamodb:Scan"])

    def grant_page_links(self, grantee: iam.IPrincipal) -> None:
        """Make the table's secret, where there is none yet, and keep queries that are too long for a link; nothing else."""
        self._allow(grantee, ["dynamodb:PutItem"], leading=[keys.SECRET, keys.query_key("*")])

    def grant_trail(self, grantee: iam.IPrincipal) -> None:
        """Add AuditEvents of the server's own, told by their partition key, and note the month in which they were written."""
        actions = ["dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        self._allow(grantee, actions, leading=[f"{AUDIT_EVENT}/{PREFIX}*", keys.MONTHS])

    def grant_jobs(self, grantee: iam.IPrincipal) -> None:
        """Read and update the items of asynchronous jobs, told by their partition key; never those of a patient."""
        actions = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        self._allow(grantee, actions, leading=[keys.job_key("*")])

    def grant_definitions(self, grantee: iam.IPrincipal) -> None:
        """Read CompartmentDefinitions, and the transactions that may have them in progress; nothing of a patient."""
        leading = [keys.DEFINITIONS, f"{definitions.TYPE}/*", keys.transaction_key("*")]
        self._allow(grantee, READ, leading=leading)

    def grant_key(self, grantee: iam.IPrincipal, *, write: bool) -> None:
        """Use the customer key of the table, where it has one: DynamoDB asks for it in the name of its caller."""
        self._key.grant(grantee, "dynamodb", write=write)

    def _allow(
        self,
        grantee: iam.IPrincipal,
        actions: Sequence[str],
        *,
        resources: Sequence[str] = (),
        leading: Sequence[str] = (),
    ) -> None:
        """`resources`: the table itself where none is given. `leading`: patterns of the only partition keys."""
        conditions = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(leading)}}
        grantee.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(actions),
                resources=list(resources) or [self.table.table_arn],
                conditions=conditions if leading else None,
            )
        )


_TYPES = {"S": "STRING", "N": "NUMBER", "B": "BINARY"}


def _warm(deployment: Deployment) -> dynamodb.WarmThroughput | None:
    if not deployment.warm_writes:
        return None
    return dynamodb.WarmThroughput(
        read_units_per_second=deployment.warm_reads, write_units_per_second=deployment.warm_writes
    )


def _key_schema(
    definition: Mapping[str, Any], attributes: Mapping[str, dynamodb.Attribute]
) -> tuple[dynamodb.Attribute, dynamodb.Attribute]:
    """Partition key and sort key of CreateTable's key schema."""
    named = {key["KeyType"]: attributes[key["AttributeName"]] for key in definition["KeySchema"]}
    return named["HASH"], named["RANGE"]
