"""The state machine that propagates accounts. `propagation.asl.json` defines it, here and on the local server."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.bucket_construct import MANIFESTS, BucketConstruct
from infra.deployment import Deployment
from infra.log_groups import log_group

DEFINITION = Path(__file__).with_name("propagation.asl.json")


class PropagationConstruct(Construct):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        worker: lambda_.IFunction,
        bucket: BucketConstruct,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        bucket.grant_read(role, MANIFESTS)
        iam.Grant.add_to_principal(grantee=role, actions=["lambda:InvokeFunction"], resource_arns=[worker.function_arn])
        self.state_machine = stepfunctions.StateMachine(
            self,
            "StateMachine",
            role=role,
            # From a string, not a file: it stands in the template, where cfn-lint and the tests read it.
            definition_body=stepfunctions.DefinitionBody.from_string(DEFINITION.read_text()),
            definition_substitutions={
                "PropagationFunctionArn": worker.function_arn,
                "Bucket": bucket.bucket.bucket_name,
            },
            # No execution data in the log: what went wrong stands in the job's own item.
            logs=stepfunctions.LogOptions(
                destination=log_group(self, "Logs", deployment),
                level=stepfunctions.LogLevel.ALL,
                include_execution_data=False,
            ),
        )
        self._allow_distributed_map(role)

    def _allow_distributed_map(self, role: iam.IRole) -> None:
        """A Distributed Map starts its own state machine for its children.

        A policy apart from the role, which must be there before the state machine that this policy names.
        """
        machine = self.state_machine
        iam.Policy(
            self,
            "DistributedMap",
            roles=[role],
            statements=[
                iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine.state_machine_arn]),
                iam.PolicyStatement(
                    actions=["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"],
                    resources=[self._executions(":*"), self._executions("/*")],
                ),
            ],
        )

    def allow_start(self, function: lambda_.Function) -> None:
        """Let `function` start executions, and tell it of what."""
        function.add_environment("STATE_MACHINE", self.state_machine.state_machine_arn)
        iam.Grant.add_to_principal(
            grantee=function,
            actions=["states:StartExecution"],
            resource_arns=[self.state_machine.state_machine_arn],
        )

    def allow_stop(self, function: lambda_.Function) -> None:
        """Let `function` look at executions and stop them."""
        function.add_environment("STATE_MACHINE", self.state_machine.state_machine_arn)
        iam.Grant.add_to_principal(
            grantee=function,
            actions=["states:DescribeExecution", "states:StopExecution"],
            resource_arns=[self._executions(":*")],
        )

    def _executions(self, suffix: str) -> str:
        """The ARN pattern of this state machine's executions (`:*`), or of its Distributed Map's children (`/*`)."""
        return Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=self.state_machine.state_machine_name + suffix,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
