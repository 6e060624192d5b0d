"""The customer KMS key, where a deployment asks for one; else AWS's own keys encrypt, and no role needs a right."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.deployment import Deployment
from infra.removal import removal_policy

READ = ("kms:Decrypt", "kms:DescribeKey")
WRITE = ("kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")


class KeyConstruct(Construct):
    """`key` is None where AWS's own keys encrypt."""

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self.key: kms.IKey | None = None
        if deployment.key == "create":
            made = kms.Key(
                self,
                "Key",
                description=f"Records of {deployment.name}",
                enable_key_rotation=True,
                removal_policy=removal_policy(deployment),
            )
            # Alarms publish to a topic that this key encrypts.
            made.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                    resources=["*"],
                    conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
                )
            )
            self.key = made
        elif deployment.key:
            self.key = kms.Key.from_key_arn(self, "Key", deployment.key)

    def grant(self, grantee: iam.IPrincipal, service: str, *, write: bool) -> None:
        """Let `grantee` use the key through `service` (`dynamodb`, `s3`) alone: by itself it decrypts nothing."""
        if self.key is None:
            return
        grantee.add_to_principal_policy(
            iam.PolicyStatement(
                actions=[*READ, *(WRITE if write else ())],
                resources=[self.key.key_arn],
                conditions={
                    "StringEquals": {"kms:ViaService": f"{service}.{Stack.of(self).region}.{Stack.of(self).url_suffix}"}
                },
            )
        )
