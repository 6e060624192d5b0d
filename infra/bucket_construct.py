"""The one S3 bucket: bodies too large for a DynamoDB item, and the manifests of propagation jobs."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from bulkhead.store import manifests

MANIFESTS = manifests.PREFIX
# As long as a job lives, and as long as DynamoDB's point-in-time recovery reaches back.
MANIFEST_DAYS = 7
RECOVERY_DAYS = 35


class BucketConstruct(Construct):
    """Private, encrypted, TLS only, versioned: a table restored to an earlier moment finds the bodies it names."""

    def __init__(self, scope: Construct, construct_id: str, *, retained: bool) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(id="manifests", prefix=MANIFESTS, expiration=Duration.days(MANIFEST_DAYS)),
                s3.LifecycleRule(
                    id="superseded",
                    noncurrent_version_expiration=Duration.days(RECOVERY_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
            ],
        )

    def grant_read(self, grantee: iam.IGrantable, prefix: str) -> None:
        """Read the objects below `prefix`."""
        self._grant(grantee, prefix, "s3:GetObject")

    def grant_write(self, grantee: iam.IGrantable, prefix: str) -> None:
        """Put objects below `prefix`: lifecycle rules remove them, no function does."""
        self._grant(grantee, prefix, "s3:PutObject")

    def _grant(self, grantee: iam.IGrantable, prefix: str, action: str) -> None:
        iam.Grant.add_to_principal(
            grantee=grantee, actions=[action], resource_arns=[self.bucket.arn_for_objects(f"{prefix}*")]
        )
