"""The state machine is infra/propagation.asl.json, with rights for what it starts."""

from __future__ import annotations

import json
import re
from typing import Any

from infra.propagation_construct import DEFINITION
from tests.infrastructure.synthesis import Template, actions, as_list, referred

STATE_MACHINE = "AWS::StepFunctions::StateMachine"


def statements_for(template: Template, action: str) -> list[dict[str, Any]]:
    role = template.only(STATE_MACHINE)["RoleArn"]
    return [statement for statement in template.statements(role) if action in as_list(statement["Action"])]


def test_definition_is_the_file(template: Template) -> None:
    assert template.only(STATE_MACHINE)["DefinitionString"] == DEFINITION.read_text()


def test_every_placeholder_is_filled(template: Template) -> None:
    substitutions = template.only(STATE_MACHINE)["DefinitionSubstitutions"]
    assert set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text())) == set(substitutions)
    assert template.function_named(substitutions["PropagationFunctionArn"]) == "propagation"
    assert referred(substitutions["Bucket"]) in template.of_type("AWS::S3::Bucket")


def test_map_states_bound_their_concurrency() -> None:
    maps = [state for state in json.loads(DEFINITION.read_text())["States"].values() if state["Type"] == "Map"]
    assert maps
    assert all(state.get("MaxConcurrency", 0) > 0 for state in maps)


def test_it_may_do_what_a_distributed_map_does(template: Template) -> None:
    (start,) = statements_for(template, "states:StartExecution")
    assert referred(start["Resource"]) in template.of_type(STATE_MACHINE)
    (manifest,) = statements_for(template, "s3:GetObject")
    assert manifest["Resource"]["Fn::Join"][1][1] == "/manifests/*"
    (invoke,) = statements_for(template, "lambda:InvokeFunction")
    assert template.function_named(invoke["Resource"]) == "propagation"
    (children,) = statements_for(template, "states:StopExecution")
    assert actions([children]) == {"states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"}


def test_only_log_delivery_is_allowed_on_everything(template: Template) -> None:
    for policy in template.of_type("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if "*" in as_list(statement["Resource"]):
                assert all(action.startswith("logs:") for action in as_list(statement["Action"]))
                assert referred(template.only(STATE_MACHINE)["RoleArn"]) == policy["Roles"][0]["Ref"]


def test_log_holds_no_execution_data(template: Template) -> None:
    logging = template.only(STATE_MACHINE)["LoggingConfiguration"]
    assert logging["IncludeExecutionData"] is False
    assert logging["Level"] == "ALL"
