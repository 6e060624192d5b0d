"""The bucket is private, encrypted, and forgets what jobs needed."""

from __future__ import annotations

from bulkhead.jobs.bundles import uploads
from bulkhead.settings import Settings
from bulkhead.store import files
from infra.bucket_construct import MANIFESTS
from tests.support.synthesis import Template, referred

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


def test_a_customer_key(full: Template) -> None:
    bucket = full.only(BUCKET)
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert referred(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]) in full.of_type("AWS::KMS::Key")
    assert rule["BucketKeyEnabled"] is True


def test_plain_http_is_denied(template: Template) -> None:
    statements = template.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    insecure = [statement for statement in statements if "Bool" in statement["Condition"]]
    assert [(statement["Effect"], statement["Action"]) for statement in insecure] == [("Deny", "s3:*")]
    assert insecure[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_what_jobs_need_lives_as_long_as_they_do_and_goes_for_good(template: Template) -> None:
    rules = template.only(BUCKET)["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix"): rule for rule in rules if "ExpirationInDays" in rule}
    assert {prefix: rule["ExpirationInDays"] for prefix, rule in expiring.items()} == {
        **dict.fromkeys((MANIFESTS, files.REQUESTS, files.RESULTS), Settings().job_days),
        files.UPLOADS: uploads.LIFETIME.days,
        files.ANSWERS: 1,
    }
    assert all(rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1} for rule in expiring.values())


def test_bodies_stay_until_they_are_superseded_and_then_as_long_as_a_restore_may_want_them(template: Template) -> None:
    rules = template.only(BUCKET)["LifecycleConfiguration"]["Rules"]
    (everything,) = [rule for rule in rules if "Prefix" not in rule]
    assert everything["NoncurrentVersionExpiration"] == {"NoncurrentDays": 35}
    assert "ExpirationInDays" not in everything
    # A delete marker without versions hides nothing; they would pile up for ever.
    assert everything["ExpiredObjectDeleteMarker"] is True
    assert not any("bodies/".startswith(rule["Prefix"]) for rule in rules if "Prefix" in rule)


def test_browsers_may_use_signed_urls(template: Template) -> None:
    (rule,) = template.only(BUCKET)["CorsConfiguration"]["CorsRules"]
    assert (rule["AllowedOrigins"], sorted(rule["AllowedMethods"])) == (["*"], ["GET", "PUT"])
