"""Every function: its runtime, its environment, and a role that allows what it does and no more."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from bulkhead.api.routes import ROUTES
from bulkhead.settings import Settings
from functions.sweeper.handler import CHECK
from infra.functions_construct import FUNCTIONS
from tests.support.synthesis import Template, actions, as_list, referred

# What each may do to which objects: read, write, delete.
OBJECTS = {
    "resources": {"bodies": "rw", "uploads": "w", "answers": "rw"},
    "search": {"bodies": "r", "answers": "rw"},
    "bundles": {"bodies": "rw", "requests": "w", "uploads": "rd", "answers": "rw"},
    "operations": {"bodies": "rwd", "answers": "rw"},
    "jobs": {"results": "rw", "answers": "rw"},
    "propagation": {"bodies": "rd", "manifests": "w"},
    "processing": {"bodies": "rw", "requests": "rd", "results": "rw"},
    "sweeper": {"bodies": "rd"},
}
LETTERS = {"s3:GetObject": "r", "s3:PutObject": "w", "s3:DeleteObject": "d"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
READ = {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"}
WRITE = {
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
}
QUEUE = {"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"}
# Of functions that purge: every version of an object goes.
ERASE = {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucketVersions"}
# What each function may do, in full.
ALLOWED = {
    "resources": LOGS | READ | WRITE | {"s3:GetObject", "s3:PutObject"},
    "search": LOGS
    | READ
    | {"dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    | {"s3:GetObject", "s3:PutObject"},
    "bundles": LOGS
    | READ
    | WRITE
    | {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject", "states:StartExecution"},
    "operations": LOGS | ERASE | READ | WRITE | {"s3:GetObject", "s3:PutObject", "states:StartExecution"},
    "jobs": LOGS
    | READ
    | {"dynamodb:UpdateItem"}
    | {"s3:GetObject", "s3:ListBucket", "s3:PutObject"}
    | {"states:DescribeExecution", "states:StopExecution"},
    "capabilities": LOGS | READ,
    "propagation": LOGS | ERASE | READ | WRITE | {"s3:GetObject", "s3:PutObject"},
    "processing": LOGS
    | READ
    | WRITE
    | {"dynamodb:PartiQLInsert", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"},
    "sweeper": LOGS | ERASE | READ | WRITE | {"dynamodb:Scan", "s3:GetObject"} | QUEUE,
}


def statements_of(template: Template, name: str) -> list[dict[str, Any]]:
    return template.statements(template.functions()[name]["Role"])


def test_every_function_of_the_route_table_is_there(template: Template) -> None:
    tasks = {"propagation", "processing", "sweeper"}
    assert set(template.functions()) == {route.function for route in ROUTES} | tasks == set(ALLOWED)


def test_runtime_and_architecture(template: Template) -> None:
    for function in template.functions().values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
        assert len(function["Layers"]) in (2, 3)


def test_only_who_gives_page_links_loads_cryptography(template: Template) -> None:
    sealing = {name for name, function in template.functions().items() if len(function["Layers"]) == 3}
    assert sealing == {"resources", "search", "bundles", "operations", "processing"}


def test_a_request_fits_the_memory_of_its_function(template: Template, trial: Template) -> None:
    """A function that a decompressed request kills answers 500 instead of 413."""
    for function in template.functions().values():
        limit = int(function["Environment"]["Variables"]["REQUEST_LIMIT"])
        assert 10_000_000 <= limit <= Settings().request_limit
        assert 150 + 20 * limit / 1_000_000 < function["MemorySize"]
    assert template.functions()["bundles"]["Environment"]["Variables"]["REQUEST_LIMIT"] == "100000000"


def test_a_limit_that_a_deployment_chooses_is_lowered_where_memory_asks_for_it() -> None:
    limits = {name: function.request_limit for name, function in FUNCTIONS.items()}
    assert limits["capabilities"] < limits["resources"] < limits["search"] < limits["bundles"]


def test_workers_of_all_jobs_together_are_bounded_where_a_deployment_says_so(
    template: Template, full: Template
) -> None:
    """Not by default: a reservation has to leave 100 executions, and a new account may have but ten."""
    reserved = {
        name: function["ReservedConcurrentExecutions"]
        for name, function in full.functions().items()
        if "ReservedConcurrentExecutions" in function
    }
    assert reserved == {"propagation": 40, "processing": 40}
    assert not any("ReservedConcurrentExecutions" in function for function in template.functions().values())


def test_functions_and_state_machines_are_traced_where_a_deployment_says_so(template: Template, full: Template) -> None:
    def traced(found: Template) -> set[bool]:
        functions = {function.get("TracingConfig") == {"Mode": "Active"} for function in found.functions().values()}
        machines = found.of_type("AWS::StepFunctions::StateMachine").values()
        return functions | {machine.get("TracingConfiguration", {}).get("Enabled", False) for machine in machines}

    assert (traced(template), traced(full)) == ({False}, {True})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_may_use_the_customer_key_through_the_services_that_it_calls(full: Template, name: str) -> None:
    """Without, each call is AccessDenied; with more, the role decrypts what it has no right to read."""
    role = full.functions()[name]["Role"]
    statements = [s for s in full.statements(role) if any(a.startswith("kms:") for a in actions([s]))]
    reaches = {
        "dynamodb": any("dynamodb:GetItem" in actions([s]) for s in full.statements(role)),
        "s3": bool(FUNCTIONS[name].objects),
    }
    allowed: dict[str, set[str]] = {}
    for statement in statements:
        assert all(referred(each) in full.of_type("AWS::KMS::Key") for each in as_list(statement["Resource"]))
        via = statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Join"][1][0].rstrip(".")
        allowed[via] = allowed.get(via, set()) | actions([statement])
    assert set(allowed) == {service for service, reached in reaches.items() if reached}
    may = actions(full.statements(role))
    for service, put in (("dynamodb", "dynamodb:PutItem"), ("s3", "s3:PutObject")):
        if service in allowed:
            assert {"kms:Decrypt", "kms:DescribeKey"} <= allowed[service]
            writes = put in may or (service == "dynamodb" and "dynamodb:UpdateItem" in may)
            assert ("kms:GenerateDataKey*" in allowed[service]) == writes


def test_nobody_has_a_right_to_a_key_that_is_not_there(template: Template) -> None:
    policies = template.of_type("AWS::IAM::Policy").values()
    assert not [a for p in policies for a in actions(p["PolicyDocument"]["Statement"]) if a.startswith("kms:")]


def test_api_functions_end_before_the_api_gives_up(template: Template) -> None:
    for route in ROUTES:
        assert template.functions()[route.function]["Timeout"] < 30


def test_nobody_waits_for_workers_that_write_members_one_by_one(template: Template, full: Template) -> None:
    for made in (template, full):
        ways = {name: f["Environment"]["Variables"].get("BULK_WRITES") for name, f in made.functions().items()}
        assert {name for name, way in ways.items() if way} == {"propagation"}
        assert ways["propagation"] == "single"


def test_environment_holds_settings_only(template: Template) -> None:
    known = {field.name.upper() for field in fields(Settings)}
    environments = {
        name: function["Environment"]["Variables"]
        for name, function in template.functions().items()
        if "Environment" in function
    }
    assert all(set(variables) <= known for variables in environments.values())
    assert {variables["AUTH"] for variables in environments.values()} == {"on"}
    assert {name for name, variables in environments.items() if "STATE_MACHINE" in variables} == {"operations", "jobs"}
    assert {name for name, variables in environments.items() if "BUNDLE_STATE_MACHINE" in variables} == {
        "bundles",
        "jobs",
    }
    assert {name for name, variables in environments.items() if "BUCKET" in variables} == set(OBJECTS)
    assert {name for name, variables in environments.items() if "TABLE" in variables} == set(ALLOWED)


def test_each_function_has_a_role_of_its_own(template: Template) -> None:
    functions = template.functions()
    roles = {referred(function["Role"]) for function in functions.values()}
    assert len(roles) == len(functions)
    for role in roles:
        assert "ManagedPolicyArns" not in template.resources[role]["Properties"]


@pytest.mark.parametrize("name", ALLOWED)
def test_a_role_allows_what_its_function_does_and_no_more(template: Template, name: str) -> None:
    assert actions(statements_of(template, name)) == ALLOWED[name]


@pytest.mark.parametrize("name", ALLOWED)
def test_a_role_names_its_resources(template: Template, name: str) -> None:
    for statement in statements_of(template, name):
        assert statement["Effect"] == "Allow"
        assert "*" not in as_list(statement["Resource"])


@pytest.mark.parametrize("name", ALLOWED)
def test_a_role_reaches_objects_below_its_prefixes_only(template: Template, name: str) -> None:
    found: dict[str, str] = {}
    for statement in statements_of(template, name):
        for action in actions([statement]) & set(LETTERS):
            for resource in as_list(statement["Resource"]):
                prefix = resource["Fn::Join"][1][1].strip("/*")
                found[prefix] = found.get(prefix, "") + LETTERS[action]
    assert {prefix: sorted(letters) for prefix, letters in found.items()} == {
        prefix: sorted(letters) for prefix, letters in OBJECTS.get(name, {}).items()
    }


@pytest.mark.parametrize(
    ("name", "leading"),
    [("jobs", ["job#*"]), ("capabilities", ["definitions", "CompartmentDefinition/*", "txn#*"])],
)
def test_some_functions_touch_no_item_of_a_patient(template: Template, name: str, leading: list[str]) -> None:
    on_table = [s for s in statements_of(template, name) if actions([s]) & (READ | WRITE)]
    assert [s["Condition"] for s in on_table] == [{"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading}}]


def test_search_writes_nothing_but_the_audit_trail_the_tables_secret_and_long_queries(template: Template) -> None:
    writing = [s for s in statements_of(template, "search") if actions([s]) & WRITE]
    assert [s["Condition"] for s in writing] == [
        {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["secret", "query#*"]}},
        {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["AuditEvent/audit-*", "months"]}},
    ]


def test_who_cannot_write_the_audit_trail_does_not_try(template: Template) -> None:
    functions = template.functions()
    silent = {
        name
        for name, function in functions.items()
        if function.get("Environment", {}).get("Variables", {}).get("AUDIT") == "off"
    }
    assert silent == {"capabilities", "jobs"}


def test_nothing_writes_to_an_index(template: Template) -> None:
    for name in ALLOWED:
        for statement in statements_of(template, name):
            if actions([statement]) & WRITE:
                assert all("Fn::GetAtt" in resource for resource in as_list(statement["Resource"]))


def test_logs_expire(template: Template, trial: Template) -> None:
    assert {group["RetentionInDays"] for group in template.of_type("AWS::Logs::LogGroup").values()} == {90}
    assert {group["RetentionInDays"] for group in trial.of_type("AWS::Logs::LogGroup").values()} == {7}


def test_every_function_logs_to_a_group_of_the_stack(template: Template) -> None:
    groups = {referred(function["LoggingConfig"]["LogGroup"]) for function in template.functions().values()}
    assert len(groups) == len(ALLOWED)
    assert groups <= set(template.of_type("AWS::Logs::LogGroup"))


def test_snapstart_has_a_version_and_an_alias(template: Template, full: Template) -> None:
    """Where a deployment asks for it: its cache costs money while nobody calls."""
    with_snapstart = {name for name, function in full.functions().items() if "SnapStart" in function}
    aliases = full.of_type("AWS::Lambda::Alias").values()
    assert {full.function_named(alias["FunctionName"]) for alias in aliases} == with_snapstart
    assert with_snapstart == {"resources", "search", "bundles", "operations"}
    assert not template.of_type("AWS::Lambda::Alias")
    assert not any("SnapStart" in function for function in template.functions().values())


def test_the_sweeper_has_its_schedules(template: Template) -> None:
    queue = referred({"Ref": next(iter(template.of_type("AWS::SQS::Queue")))})
    scheduled = set()
    for rule in template.of_type("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert "Sweeper" in referred(target["Arn"])
            assert referred(target["DeadLetterConfig"]["Arn"]) == queue
            scheduled.add((rule["ScheduleExpression"], target.get("Input")))
    assert scheduled == {("rate(1 minute)", None), ("rate(1 day)", json.dumps(CHECK, separators=(",", ":")))}


def test_what_the_sweeper_fails_at_each_time_is_kept(template: Template) -> None:
    asynchronous = template.only("AWS::Lambda::EventInvokeConfig")
    assert "Sweeper" in referred(asynchronous["FunctionName"])
    destination = referred(asynchronous["DestinationConfig"]["OnFailure"]["Destination"])
    assert destination in template.of_type("AWS::SQS::Queue")


def test_a_version_that_a_deployment_replaces_goes(full: Template) -> None:
    """Its snapshot would be paid for as long as it is there. The way back is a deployment (docs/operations/upgrade.md)."""
    versions = [each for each in full.resources.values() if each["Type"] == "AWS::Lambda::Version"]
    assert len(versions) == len([function for function in FUNCTIONS.values() if function.snapstart])
    assert not any("DeletionPolicy" in each for each in versions)
