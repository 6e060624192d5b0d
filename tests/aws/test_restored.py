"""A restored table, adopted by a second deployment (docs/operations/backup.md); and what each right of each role is needed for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.functions_construct import FUNCTIONS
from tests.aws.emulator import Account, Deployment, until
from tests.aws.uses import SMALL, USES, Json, ok, owner, resource
from tests.support.synthesis import actions, as_list

SPARED = {
    "logs": "the emulator writes logs of functions without asking",
    "sqs": "Lambda itself sends what failed",
}
"""Services whose rights have no use here, and why. Those of the state machines' roles, which the emulator does not look at, are in
tests/infrastructure/test_state_machines.py."""
WITHOUT_USE = {
    "search": {"dynamodb:PutItem"},
    "bundles": {"s3:ListBucket"},
    "jobs": {"s3:ListBucket"},
    "processing": {"s3:ListBucket"},
    "sweeper": {"s3:ListBucketVersions"},
}
"""Statements that nothing here misses: the emulator does not look at partition keys, so one right to put items is as good as the other; it says
of an object that it is not there to who may not list the bucket, where AWS says 403; and no purge has died that the sweeper would finish."""


@pytest.fixture(scope="module")
def restored(
    account: Account, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """As docs/operations/backup.md restores, with the limits SMALL. Made after `Patient/before` and before `Patient/later`."""
    dynamodb = account.client("dynamodb")
    with owner(deployment) as client:
        ok(client.put("/Patient/before", json=resource("/Patient/before", active=True)))
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=deployment.outputs["TableName"], TargetTableName="restored", UseLatestRestorableTime=True
        )
        until(lambda: dynamodb.describe_table(TableName="restored")["Table"]["TableStatus"] == "ACTIVE")
        ok(client.put("/Patient/later", json=resource("/Patient/later")))
    dynamodb.update_time_to_live(
        TableName="restored", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    context = {**SMALL, "table": "restored", "bucket": deployment.outputs["BucketName"]}
    with Deployment(account, tmp_path_factory.mktemp("restored"), "Restored", context) as made:
        yield made


def test_what_was_there_at_that_moment_is_there(deployment: Deployment, restored: Deployment) -> None:
    assert not [each for each in restored.document["Resources"].values() if each["Type"] == "AWS::DynamoDB::Table"]
    with owner(deployment) as before, owner(restored) as after:
        assert ok(after.get("/Patient/before")).json()["active"] is True
        assert after.get("/Patient/later").status_code == 404
        ok(after.put("/Patient/before", json=resource("/Patient/before", active=False)))
        assert ok(after.get("/Patient", params={"_id": "before", "active": "false"})).json()["total"] == 1
        # The old table is as it was.
        assert ok(before.get("/Patient/before")).json()["active"] is True
    assert restored.invoke("sweeper", {"check": True})["resources"] > 0


def test_every_function_has_uses() -> None:
    assert USES.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", USES)
def test_a_function_needs_each_right_of_its_role(restored: Deployment, name: str) -> None:
    """Everything works with all statements of the role, and something fails without any one of them."""
    assert not failures(restored, name, everything=True)
    idle = []
    for policy, number, statement in statements(restored, name):
        spared = {action.split(":")[0] for action in actions([statement])} <= SPARED.keys()
        if not spared and not (actions([statement]) <= WITHOUT_USE.get(name, set())):
            with taken_away(restored, name, policy, number):
                if not failures(restored, name, everything=False):
                    idle.append(statement)
    assert idle == []


def failures(deployment: Deployment, name: str, *, everything: bool) -> list[str]:
    """Which uses of the function fail, and how; the first of them, unless `everything` is asked for."""
    failed = []
    for use in USES[name]:
        try:
            use(deployment)
        except AssertionError as error:
            failed.append(f"{use.__name__}: {error}")
            if not everything:
                break
    return failed


def statements(deployment: Deployment, name: str) -> list[tuple[str, int, Json]]:
    """The statements of the function's role: policy, number in it, and the statement."""
    iam, role = deployment.account.client("iam"), role_of(deployment, name)
    return [
        (policy, number, statement)
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
        for number, statement in enumerate(document(deployment, role, policy)["Statement"])
    ]


@contextmanager
def taken_away(deployment: Deployment, name: str, policy: str, number: int) -> Iterator[None]:
    """Within this context the role is without that statement."""
    iam, role = deployment.account.client("iam"), role_of(deployment, name)
    whole = document(deployment, role, policy)
    rest = {**whole, "Statement": [each for at, each in enumerate(whole["Statement"]) if at != number]}
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(rest))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))


def document(deployment: Deployment, role: str, policy: str) -> Json:
    found = deployment.account.client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    read: Json = {**found, "Statement": as_list(found["Statement"])}
    return read


def role_of(deployment: Deployment, name: str) -> str:
    configuration = deployment.account.client("lambda").get_function_configuration(
        FunctionName=deployment.function(name)
    )
    return str(configuration["Role"].rsplit("/", 1)[1])
