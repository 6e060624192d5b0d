"""The table of the template is the one that the code speaks of."""

from __future__ import annotations

from bulkhead.store import keys
from tests.support.synthesis import Template, referred

TABLE = "AWS::DynamoDB::Table"


def test_keys_and_indexes_are_those_of_the_code(template: Template) -> None:
    table, definition = template.only(TABLE), keys.table_definition("any")
    assert table["KeySchema"] == definition["KeySchema"]
    assert table["BillingMode"] == definition["BillingMode"]
    for name in ("AttributeDefinitions", "GlobalSecondaryIndexes"):
        assert sorted(table[name], key=str) == sorted(definition[name], key=str)


def test_data_is_encrypted_recoverable_and_expires(template: Template) -> None:
    table = template.only(TABLE)
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": keys.TTL, "Enabled": True}


def test_a_customer_key(full: Template) -> None:
    encryption = full.only(TABLE)["SSESpecification"]
    assert encryption["SSEType"] == "KMS"
    assert referred(encryption["KMSMasterKeyId"]) in full.of_type("AWS::KMS::Key")
    assert full.only("AWS::KMS::Key")["EnableKeyRotation"] is True


def test_throughput_is_warmed_on_the_table_and_each_index(template: Template, full: Template) -> None:
    warm = {"ReadUnitsPerSecond": 24_000, "WriteUnitsPerSecond": 16_000}
    table = full.only(TABLE)
    assert [each.get("WarmThroughput") for each in (table, *table["GlobalSecondaryIndexes"])] == [warm] * 4
    table = template.only(TABLE)
    assert not any("WarmThroughput" in each for each in (table, *table["GlobalSecondaryIndexes"]))


def test_table_of_a_trial_goes_with_the_stack(trial: Template) -> None:
    assert trial.only(TABLE)["DeletionProtectionEnabled"] is False
    (resource,) = (resource for resource in trial.resources.values() if resource["Type"] == TABLE)
    assert resource["DeletionPolicy"] == "Delete"
