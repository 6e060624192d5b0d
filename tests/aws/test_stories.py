"""What the deployed system is for, from outside: as roles, state machines and API Gateway let it happen."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.aws.emulator import Deployment, until
from tests.aws.uses import ASYNC, COMPARTMENT, Json, base, bundle, ok, outcome, resource

MEMBERS = 12


@pytest.fixture(scope="module")
def owner(deployment: Deployment) -> Iterator[httpx.Client]:
    """A caller without a fence, and two tenants' Organizations."""
    with deployment.caller(scope="system/*.cruds accounts.write purge", subject="owner") as client:
        for name in ("a", "b"):
            ok(client.put(f"/Organization/{name}", json=resource(f"/Organization/{name}", name=name)))
        yield client


def patient_with_observations(owner: httpx.Client, identifier: str, members: int = MEMBERS) -> None:
    about = {"status": "final", "subject": {"reference": f"Patient/{identifier}"}}
    coded = {"code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}}
    made = bundle("transaction", *["Observation"] * members, **about, **coded)
    patient = resource(f"/Patient/{identifier}", name=[{"family": f"Family-{identifier}"}])
    first = {"resource": patient, "request": {"method": "PUT", "url": f"Patient/{identifier}"}}
    ok(owner.post(base(owner), json={**made, "entry": [first, *made["entry"]]}))


def set_accounts(owner: httpx.Client, identifier: str, account: str) -> httpx.Response:
    parameters = [
        {"name": "accounts", "valueReference": {"reference": account}},
        {"name": "propagate", "valueBoolean": True},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    return owner.post(f"/Patient/{identifier}/$set-accounts", json=body, headers=ASYNC)


def count(client: httpx.Client, search: str) -> int:
    total: int = ok(client.get(f"{search}&_summary=count")).json()["total"]
    return total


def test_a_patient_is_shared_by_the_state_machine_and_only_its_tenant_finds_it(
    deployment: Deployment, owner: httpx.Client
) -> None:
    patient_with_observations(owner, "shared")
    (entry,) = outcome(deployment, owner, set_accounts(owner, "shared", "Organization/a"))["entry"]
    counted = {each["name"]: each.get("valueInteger") for each in entry["resource"]["parameter"]}
    assert counted["resourcesUpdated"] == MEMBERS + 1
    with deployment.caller("Organization/a") as tenant, deployment.caller("Organization/b") as other:
        assert ok(tenant.get("/Patient/shared")).json()["id"] == "shared"
        assert count(tenant, "/Observation?patient=Patient/shared&code=http://loinc.org|8867-4") == MEMBERS
        assert count(tenant, "/Patient?family=Family-shared") == 1
        assert other.get("/Patient/shared").status_code == 404
        assert count(other, "/Observation?patient=Patient/shared") == 0
        assert count(other, "/Patient?family=Family-shared") == 0


def test_a_bundle_is_processed_in_the_background(deployment: Deployment, owner: httpx.Client) -> None:
    accepted = owner.post(base(owner), json=bundle("transaction", *["Patient"] * 40), headers=ASYNC)
    (entry,) = outcome(deployment, owner, accepted)["entry"]
    assert [each["response"]["status"] for each in entry["resource"]["entry"]] == ["201 Created"] * 40


def test_a_propagation_is_cancelled_in_the_middle_of_its_map(deployment: Deployment, owner: httpx.Client) -> None:
    members = 60
    patient_with_observations(owner, "cancelled", members)
    status = ok(set_accounts(owner, "cancelled", "Organization/b")).headers["content-location"]
    with deployment.caller("Organization/b") as tenant:
        until(lambda: count(tenant, "/Observation?patient=Patient/cancelled"))
        assert owner.delete(status).status_code == 202
        until(lambda: not deployment.running())
        reached = count(tenant, "/Observation?patient=Patient/cancelled")
        assert reached < members, "it was over before it was cancelled"
        # What was done stays done, and to ask again finishes it.
        outcome(deployment, owner, set_accounts(owner, "cancelled", "Organization/b"))
        assert count(tenant, "/Observation?patient=Patient/cancelled") == members


def test_a_purge_leaves_nothing(deployment: Deployment, owner: httpx.Client) -> None:
    patient_with_observations(owner, "purged")
    (entry,) = outcome(deployment, owner, owner.post("/Patient/purged/$purge", json=COMPARTMENT, headers=ASYNC))[
        "entry"
    ]
    counted = {each["name"]: each.get("valueInteger") for each in entry["resource"]["parameter"]}
    assert counted["resourcesErased"] == MEMBERS + 1
    assert owner.get("/Patient/purged").status_code == 404
    assert count(owner, "/Observation?patient=Patient/purged") == 0
    dynamodb = deployment.account.client("dynamodb")
    left = dynamodb.scan(
        TableName=deployment.outputs["TableName"],
        FilterExpression="contains(pk, :purged)",
        ExpressionAttributeValues={":purged": {"S": "Patient/purged"}},
        ConsistentRead=True,
    )["Items"]
    # The gravestone, and nothing of the Patient.
    assert [item.keys() & {"body", "own", "inherited"} for item in left] == [set()] * len(left)


def test_a_token_of_nobody_is_refused(deployment: Deployment, owner: httpx.Client) -> None:
    stranger = {"Authorization": "Bearer e30.e30.e30"}
    for answer in (
        httpx.get(f"{deployment.base}/Patient/shared", timeout=60),
        httpx.get(f"{deployment.base}/Patient/shared", headers=stranger, timeout=60),
    ):
        assert answer.status_code == 401
    assert httpx.get(f"{deployment.base}/metadata", timeout=60).status_code == 200


def test_the_sweeper_and_its_check_run(deployment: Deployment, owner: httpx.Client) -> None:
    patient_with_observations(owner, "swept")
    assert deployment.invoke("sweeper", {}) == {"finished": 0, "dead": 0}
    report: Json = deployment.invoke("sweeper", {"check": True})
    assert report["resources"] > MEMBERS


def test_the_whole_table_is_checked_in_segments_by_the_state_machine(
    deployment: Deployment, owner: httpx.Client
) -> None:
    patient_with_observations(owner, "checked")
    machines = deployment.account.client("stepfunctions")
    (given,) = [
        target["Input"]
        for rule in deployment.document["Resources"].values()
        if rule["Type"] == "AWS::Events::Rule"
        for target in rule["Properties"]["Targets"]
        if "Input" in target
    ]
    machine = deployment.state_machine("SweeperFunctionArn")
    started = machines.start_execution(stateMachineArn=machine, input=given)["executionArn"]

    def over() -> Json | None:
        said: Json = machines.describe_execution(executionArn=started)
        return None if said["status"] == "RUNNING" else said

    ended = until(over)
    assert ended["status"] == "SUCCEEDED", ended
    report = json.loads(ended["output"])
    assert (report["left_out"], report["damaged"]) == (0, 0)
    assert report["resources"] > MEMBERS
