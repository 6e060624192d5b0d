"""The one S3 bucket: bodies too large for a DynamoDB item, and for a while what jobs need: manifests, bundles, answers."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from bulkhead.store import files, manifests
from infra import cors
from infra.deployment import Deployment
from infra.key_construct import KeyConstruct
from infra.removal import removal_policy

MANIFESTS = manifests.PREFIX
# As long as a job lives, and as long as DynamoDB's point-in-time recovery reaches back.
JOB_DAYS = 7
RECOVERY_DAYS = 35
EXPIRING = {MANIFESTS: JOB_DAYS, files.REQUESTS: JOB_DAYS, files.RESULTS: JOB_DAYS, files.UPLOADS: 1, files.ANSWERS: 1}
"""By prefix, the days after which objects go. Of patient data among them nothing is left a day after that."""


class BucketConstruct(Construct):
    """Private, encrypted, TLS only, versioned: a table restored to an earlier moment finds the bodies it names."""

    def __init__(self, scope: Construct, construct_id: str, *, key: KeyConstruct, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self._key = key
        self.bucket: s3.IBucket = (
            s3.Bucket.from_bucket_name(self, "Bucket", deployment.bucket)
            if deployment.bucket
            else self._made(deployment)
        )

    def _made(self, deployment: Deployment) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS if self._key.key else s3.BucketEncryption.KMS_MANAGED,
            encryption_key=self._key.key,
            # One data key for many objects: a hundredth of the requests to KMS.
            bucket_key_enabled=True,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=removal_policy(deployment),
            lifecycle_rules=[
                *(
                    s3.LifecycleRule(
                        id=prefix.rstrip("/"),
                        prefix=prefix,
                        expiration=Duration.days(days),
                        noncurrent_version_expiration=Duration.days(1),
                    )
                    for prefix, days in EXPIRING.items()
                ),
                s3.LifecycleRule(
                    id="superseded",
                    noncurrent_version_expiration=Duration.days(RECOVERY_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                    # What a deletion leaves once the last version below it is gone.
                    expired_object_delete_marker=True,
                ),
            ],
            # Browsers upload and fetch by signed URLs: who has one needs no origin.
            cors=[
                s3.CorsRule(
                    allowed_origins=list(cors.ORIGINS),
                    allowed_methods=[s3.HttpMethods.GET, s3.HttpMethods.PUT],
                    allowed_headers=["*"],
                    max_age=cors.MAX_AGE,
                )
            ],
        )

    def grant_read(self, grantee: iam.IPrincipal, prefix: str) -> None:
        """Read the objects below `prefix`."""
        self._grant(grantee, prefix, "s3:GetObject")

    def grant_write(self, grantee: iam.IPrincipal, prefix: str) -> None:
        """Put objects below `prefix`."""
        self._grant(grantee, prefix, "s3:PutObject")

    def grant_delete(self, grantee: iam.IPrincipal, prefix: str) -> None:
        """Remove objects below `prefix`; what nobody removes, lifecycle rules do."""
        self._grant(grantee, prefix, "s3:DeleteObject")

    def grant_erase(self, grantee: iam.IPrincipal, prefix: str) -> None:
        """Remove objects below `prefix` with all versions that the bucket keeps of them, which have to be listed for that."""
        for action in ("s3:DeleteObject", "s3:DeleteObjectVersion"):
            self._grant(grantee, prefix, action)
        grantee.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucketVersions"],
                resources=[self.bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
            )
        )

    def grant_absence(self, grantee: iam.IPrincipal) -> None:
        """Be told 404 of an object that is not there. Without this right S3 says 403, as it does of one that is there and closed."""
        grantee.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self.bucket.bucket_arn])
        )

    def grant_key(self, grantee: iam.IPrincipal, *, write: bool) -> None:
        """Use the customer key of the bucket, where it has one."""
        self._key.grant(grantee, "s3", write=write)

    def _grant(self, grantee: iam.IPrincipal, prefix: str, action: str) -> None:
        grantee.add_to_principal_policy(
            iam.PolicyStatement(actions=[action], resources=[self.bucket.arn_for_objects(f"{prefix}*")])
        )
