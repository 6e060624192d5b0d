"""The bucket is private, encrypted, and forgets manifests."""

from __future__ import annotations

from bulkhead.settings import Settings
from infra.bucket_construct import MANIFESTS
from tests.infrastructure.synthesis import Template

BUCKET = "AWS::S3::Bucket"


def test_no_public_access(template: Template) -> None:
    access = template.only(BUCKET)["PublicAccessBlockConfiguration"]
    assert set(access) == {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    assert all(access.values())


def test_encrypted_and_versioned(template: Template) -> None:
    bucket = template.only(BUCKET)
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def test_plain_http_is_denied(template: Template) -> None:
    statements = template.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    insecure = [statement for statement in statements if "Bool" in statement["Condition"]]
    assert [(statement["Effect"], statement["Action"]) for statement in insecure] == [("Deny", "s3:*")]
    assert insecure[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_manifests_live_as_long_as_jobs(template: Template) -> None:
    rules = template.only(BUCKET)["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix"): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {MANIFESTS: Settings().job_days}
