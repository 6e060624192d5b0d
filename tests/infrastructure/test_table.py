"""The table of the template is the one that the code speaks of."""

from __future__ import annotations

from bulkhead.store import keys
from tests.infrastructure.synthesis import Template

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


def test_table_outlives_the_stack(template: Template) -> None:
    assert template.only(TABLE)["DeletionProtectionEnabled"] is True
    (resource,) = (resource for resource in template.resources.values() if resource["Type"] == TABLE)
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_table_of_a_trial_goes_with_the_stack(trial: Template) -> None:
    assert trial.only(TABLE)["DeletionProtectionEnabled"] is False
    (resource,) = (resource for resource in trial.resources.values() if resource["Type"] == TABLE)
    assert resource["DeletionPolicy"] == "Delete"
