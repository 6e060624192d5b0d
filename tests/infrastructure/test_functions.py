"""Every function: its runtime, its environment, and a role that allows what it does and no more."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from bulkhead.api.routes import ROUTES
from bulkhead.settings import Settings
from functions.sweeper.handler import CHECK
from tests.infrastructure.synthesis import Template, actions, as_list, referred

# What each may do to which objects: read, write, delete.
OBJECTS = {
    "resources": {"bodies": "rw", "answers": "rw"},
    "search": {"bodies": "r", "answers": "rw"},
    "bundles": {"bodies": "rw", "requests": "w", "uploads": "rwd", "answers": "rw"},
    "accounts": {"bodies": "r"},
    "jobs": {"results": "rw", "answers": "rw"},
    "propagation": {"bodies": "r", "manifests": "w"},
    "processing": {"bodies": "rw", "requests": "rd", "results": "rw"},
    "sweeper": {"bodies": "r"},
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
# What each function may do, in full.
ALLOWED = {
    "resources": LOGS | READ | WRITE | {"s3:GetObject", "s3:PutObject"},
    "search": LOGS
    | READ
    | {"dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    | {"s3:GetObject", "s3:PutObject"},
    "bundles": LOGS | READ | WRITE | {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "states:StartExecution"},
    "accounts": LOGS | READ | WRITE | {"s3:GetObject", "states:StartExecution"},
    "jobs": LOGS
    | {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"}
    | {"s3:GetObject", "s3:PutObject"}
    | {"states:DescribeExecution", "states:StopExecution"},
    "capabilities": LOGS | READ,
    "propagation": LOGS | READ | WRITE | {"s3:GetObject", "s3:PutObject"},
    "processing": LOGS | READ | WRITE | {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
    "sweeper": LOGS | READ | WRITE | {"dynamodb:Scan", "s3:GetObject"},
}


def statements_of(template: Template, name: str) -> list[dict[str, Any]]:
    return template.statements(template.functions()[name]["Role"])


def test_every_function_of_the_route_table_is_there(template: Template) -> None:
    tasks = {"propagation", "processing", "sweeper"}
    assert set(template.functions()) == {route.function for route in ROUTES} | tasks == set(ALLOWED)


def test_runtime_and_architecture(template: Template) -> None:
    for function in template.functions().values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
        assert len(function["Layers"]) == 2


def test_api_functions_end_before_the_api_gives_up(template: Template) -> None:
    for route in ROUTES:
        assert template.functions()[route.function]["Timeout"] < 30


def test_environment_holds_settings_only(template: Template) -> None:
    known = {field.name.upper() for field in fields(Settings)}
    environments = {
        name: function["Environment"]["Variables"]
        for name, function in template.functions().items()
        if "Environment" in function
    }
    assert all(set(variables) <= known for variables in environments.values())
    assert {name for name, variables in environments.items() if "STATE_MACHINE" in variables} == {"accounts", "jobs"}
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


def test_snapstart_has_a_version_and_an_alias(template: Template, trial: Template) -> None:
    with_snapstart = {name for name, function in template.functions().items() if "SnapStart" in function}
    aliases = template.of_type("AWS::Lambda::Alias").values()
    assert {template.function_named(alias["FunctionName"]) for alias in aliases} == with_snapstart
    assert with_snapstart == {"resources", "search", "bundles", "accounts"}
    assert not trial.of_type("AWS::Lambda::Alias")
    assert not any("SnapStart" in function for function in trial.functions().values())


def test_the_sweeper_has_its_schedules(template: Template) -> None:
    rules = template.of_type("AWS::Events::Rule").values()
    scheduled = {
        (rule["ScheduleExpression"], target.get("Input"))
        for rule in rules
        for target in rule["Targets"]
        if "Sweeper" in referred(target["Arn"])
    }
    assert scheduled == {("rate(1 hour)", None), ("rate(1 day)", json.dumps(CHECK, separators=(",", ":")))}
