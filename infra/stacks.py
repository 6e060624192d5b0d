"""The stacks: one of the data, which outlives the other, and one of the service, which may be made anew at any time."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import App, CfnOutput, IStackSynthesizer, Stack

from bulkhead.api.routes import BASE
from infra.acknowledgements import acknowledge
from infra.alarms_construct import AlarmsConstruct
from infra.api_construct import ApiConstruct
from infra.bucket_construct import BucketConstruct
from infra.bundle_construct import BundleConstruct
from infra.dashboard_construct import DashboardConstruct
from infra.deployment import Deployment
from infra.functions_construct import FunctionsConstruct
from infra.integrity_construct import IntegrityConstruct
from infra.key_construct import KeyConstruct
from infra.layers_construct import LayersConstruct
from infra.propagation_construct import PropagationConstruct
from infra.state_machine import JobStateMachine
from infra.sweeper_construct import SweeperConstruct
from infra.table_construct import TableConstruct


@dataclass(frozen=True, slots=True)
class Data:
    """What the service works on."""

    key: KeyConstruct
    table: TableConstruct
    bucket: BucketConstruct


def add(app: App, deployment: Deployment, synthesizer: IStackSynthesizer | None = None) -> None:
    """Add the stacks of a deployment to `app`. An adopted table and bucket have none."""
    service = _stack(
        app,
        deployment.name,
        "a serverless FHIR R4 server",
        protected=deployment.stacks == "one" and deployment.retained,
        synthesizer=synthesizer,
    )
    if deployment.stacks == "one" or deployment.table:
        data = add_data(service, deployment)
    else:
        stack = _stack(
            app,
            f"{deployment.name}Data",
            "the records of a FHIR R4 server",
            protected=deployment.retained,
            synthesizer=synthesizer,
        )
        data = add_data(stack, deployment)
        acknowledge(stack, data.table, data.bucket)
        # The data's stack has to be there first even where nothing in it is referred to.
        service.add_stack_dependency(stack)
    machines = add_service(service, data, deployment)
    acknowledge(service, data.table, data.bucket, machines=machines)


def _stack(app: App, name: str, description: str, *, protected: bool, synthesizer: IStackSynthesizer | None) -> Stack:
    """`protected`: CloudFormation refuses to delete it."""
    made = Stack(
        app, name, description=f"Bulkhead: {description}", termination_protection=protected, synthesizer=synthesizer
    )
    # The CDK itself writes DependsOn where a reference says as much.
    made.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W3005"]}}}
    return made


def add_data(stack: Stack, deployment: Deployment) -> Data:
    key = KeyConstruct(stack, "Key", deployment=deployment)
    bucket = BucketConstruct(stack, "Bucket", key=key, deployment=deployment)
    table = TableConstruct(stack, "Table", key=key, deployment=deployment)
    if not deployment.table:
        # Last of all: a table that refuses deletion would stand in the way where what comes after it fails.
        table.node.add_dependency(bucket, key)
    CfnOutput(stack, "TableName", value=table.table.table_name)
    CfnOutput(stack, "BucketName", value=bucket.bucket.bucket_name)
    return Data(key, table, bucket)


def add_service(stack: Stack, data: Data, deployment: Deployment) -> list[JobStateMachine]:
    """The state machines, among all else that the service is."""
    functions = FunctionsConstruct(
        stack,
        "Functions",
        table=data.table,
        bucket=data.bucket,
        layers=LayersConstruct(stack, "Layers", host=deployment.layers == "host"),
        deployment=deployment,
    )
    made = functions.functions
    propagation = PropagationConstruct(
        stack, "Propagation", worker=made["propagation"], bucket=data.bucket, deployment=deployment
    )
    propagation.allow_start(made["operations"])
    bundle = BundleConstruct(stack, "Bundle", worker=made["processing"], deployment=deployment)
    bundle.allow_start(made["bundles"])
    for machine in (propagation, bundle):
        machine.allow_stop(made["jobs"])
    sweeper = SweeperConstruct(stack, "Sweeper", function=made["sweeper"], checks=not deployment.check_segments)
    api = ApiConstruct(stack, "Api", targets=functions.targets, deployment=deployment)
    machines = {"Propagations": propagation.state_machine, "Bundles": bundle.state_machine}
    checks = []
    if deployment.check_segments:
        checks.append(
            IntegrityConstruct(
                stack,
                "Integrity",
                worker=made["sweeper"],
                undelivered=sweeper.undelivered,
                deployment=deployment,
            )
        )
        machines["Integrity"] = checks[0].state_machine
    AlarmsConstruct(
        stack,
        "Alarms",
        stage=api.stage,
        functions=made,
        state_machines=machines,
        table=data.table.table,
        undelivered=sweeper.undelivered,
        key=data.key,
        deployment=deployment,
    )
    DashboardConstruct(
        stack, "Dashboard", stage=api.stage, functions=made, state_machines=machines, table=data.table.table
    )
    outputs = {
        "BaseUrl": deployment.base_url or f"{api.api.api_endpoint}{BASE}",
        "Issuer": deployment.issuer,
        "StateMachineArn": propagation.state_machine.state_machine_arn,
        "BundleStateMachineArn": bundle.state_machine.state_machine_arn,
    }
    for name, value in outputs.items():
        CfnOutput(stack, name, value=value)
    return [propagation, bundle, *checks]
