"""What the state machines of jobs have in common: definition in a file, log, and who may start and stop their executions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.deployment import Deployment
from infra.log_groups import delivered_log_group


class JobStateMachine(Construct):
    """A state machine whose tasks are one Lambda function. `setting` is the variable that tells functions of it, if any start or stop it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Path,
        substitutions: Mapping[str, str],
        worker: lambda_.IFunction,
        setting: str,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._setting = setting
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        self.role.add_to_policy(iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[worker.function_arn]))
        self.state_machine = stepfunctions.StateMachine(
            self,
            "StateMachine",
            role=self.role,
            # From a string, not a file: it stands in the template, where cfn-lint and the tests read it.
            definition_body=stepfunctions.DefinitionBody.from_string(definition.read_text()),
            definition_substitutions=dict(substitutions),
            # No execution data in the log: what went wrong stands in the job's own item.
            logs=stepfunctions.LogOptions(
                destination=delivered_log_group(self, "Logs", deployment, kind=construct_id.lower()),
                level=stepfunctions.LogLevel.ALL,
                include_execution_data=False,
            ),
            tracing_enabled=deployment.tracing == "on",
        )

    def allow_start(self, function: lambda_.Function) -> None:
        """Let `function` start executions, and tell it of what."""
        function.add_environment(self._setting, self.state_machine.state_machine_arn)
        iam.Grant.add_to_principal(
            grantee=function,
            actions=["states:StartExecution"],
            resource_arns=[self.state_machine.state_machine_arn],
        )

    def allow_stop(self, function: lambda_.Function) -> None:
        """Let `function` look at executions and stop them."""
        function.add_environment(self._setting, self.state_machine.state_machine_arn)
        iam.Grant.add_to_principal(
            grantee=function,
            actions=["states:DescribeExecution", "states:StopExecution"],
            resource_arns=[self.executions(":*")],
        )

    def allow_distributed_map(self) -> None:
        """Let the state machine start, look at and stop executions of itself: that is what a Distributed Map's children are.

        A policy apart from the role, which must be there before the state machine that this policy names.
        """
        iam.Policy(
            self,
            "DistributedMap",
            roles=[self.role],
            statements=[
                iam.PolicyStatement(
                    actions=["states:StartExecution"], resources=[self.state_machine.state_machine_arn]
                ),
                iam.PolicyStatement(
                    actions=["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"],
                    resources=[self.executions(":*"), self.executions("/*")],
                ),
            ],
        )

    def executions(self, suffix: str) -> str:
        """The ARN pattern of this state machine's executions (`:*`), or of its Distributed Map's children (`/*`)."""
        return Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=self.state_machine.state_machine_name + suffix,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
