"""The stack: every construct, and what each needs of the others."""

from __future__ import annotations

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from bulkhead.api.routes import BASE
from infra.acknowledgements import acknowledge
from infra.api_construct import ApiConstruct
from infra.bucket_construct import BucketConstruct
from infra.bundle_construct import BundleConstruct
from infra.deployment import Deployment
from infra.functions_construct import FunctionsConstruct
from infra.identity_construct import IdentityConstruct
from infra.layers_construct import LayersConstruct
from infra.observability_construct import ObservabilityConstruct
from infra.propagation_construct import PropagationConstruct
from infra.sweeper_construct import SweeperConstruct
from infra.table_construct import TableConstruct


class BulkheadStack(Stack):
    def __init__(self, scope: Construct, deployment: Deployment) -> None:
        super().__init__(
            scope,
            deployment.name,
            description="Bulkhead: a serverless FHIR R4 server",
            termination_protection=deployment.retained,
        )
        table = TableConstruct(self, "Table", retained=deployment.retained)
        bucket = BucketConstruct(self, "Bucket", retained=deployment.retained)
        functions = FunctionsConstruct(
            self,
            "Functions",
            table=table,
            bucket=bucket,
            layers=LayersConstruct(self, "Layers", host=deployment.layers == "host"),
            deployment=deployment,
        )
        propagation = PropagationConstruct(
            self, "Propagation", worker=functions.functions["propagation"], bucket=bucket, deployment=deployment
        )
        propagation.allow_start(functions.functions["accounts"])
        propagation.allow_stop(functions.functions["jobs"])
        bundle = BundleConstruct(self, "Bundle", worker=functions.functions["processing"], deployment=deployment)
        bundle.allow_start(functions.functions["bundles"])
        bundle.allow_stop(functions.functions["jobs"])
        SweeperConstruct(self, "Sweeper", function=functions.functions["sweeper"])
        identity = IdentityConstruct(self, "Identity", deployment=deployment)
        for name, value in identity.settings.items():
            functions.functions["capabilities"].add_environment(name, value)
        api = ApiConstruct(
            self,
            "Api",
            targets=functions.targets,
            issuer=identity.issuer,
            audience=identity.audience,
            deployment=deployment,
        )
        ObservabilityConstruct(
            self,
            "Observability",
            stage=api.stage,
            functions=functions.functions,
            state_machines={"Propagations": propagation.state_machine, "Bundles": bundle.state_machine},
            table=table.table,
            alarm_topic=deployment.alarm_topic,
        )
        outputs = {
            "BaseUrl": f"{api.api.api_endpoint}{BASE}",
            "Issuer": identity.issuer,
            "TableName": table.table.table_name,
            "BucketName": bucket.bucket.bucket_name,
            "StateMachineArn": propagation.state_machine.state_machine_arn,
            "BundleStateMachineArn": bundle.state_machine.state_machine_arn,
        }
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
        # The CDK itself writes DependsOn where a reference says as much.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W3005"]}}}
        acknowledge(self, table.table, bucket.bucket, propagation.state_machine, bundle.state_machine)
