"""The state machines are the files infra/*.asl.json, with rights for what they start."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from functions.sweeper import handler
from infra import bundle_construct, integrity_construct, propagation_construct
from infra.deployment import Deployment
from tests.support.synthesis import Template, actions, as_list, referred

STATE_MACHINE = "AWS::StepFunctions::StateMachine"
# By the function that does its tasks.
DEFINITIONS = {"propagation": propagation_construct.DEFINITION, "processing": bundle_construct.DEFINITION}


def machine_of(template: Template, worker: str) -> dict[str, Any]:
    """The state machine whose tasks are the function `worker`."""
    machines = template.of_type(STATE_MACHINE).values()
    placeholder = f"{worker.title()}FunctionArn"
    (found,) = [machine for machine in machines if placeholder in machine["DefinitionSubstitutions"]]
    assert template.function_named(found["DefinitionSubstitutions"][placeholder]) == worker
    return found


def statements_for(template: Template, worker: str, action: str) -> list[dict[str, Any]]:
    role = machine_of(template, worker)["RoleArn"]
    return [statement for statement in template.statements(role) if action in as_list(statement["Action"])]


def test_there_is_no_other(template: Template) -> None:
    assert len(template.of_type(STATE_MACHINE)) == len(DEFINITIONS)


@pytest.mark.parametrize("worker", DEFINITIONS)
def test_definition_is_the_file(template: Template, worker: str) -> None:
    assert machine_of(template, worker)["DefinitionString"] == DEFINITIONS[worker].read_text()


@pytest.mark.parametrize("worker", DEFINITIONS)
def test_every_placeholder_is_filled(template: Template, worker: str) -> None:
    substitutions = machine_of(template, worker)["DefinitionSubstitutions"]
    assert set(re.findall(r"\$\{(\w+)\}", DEFINITIONS[worker].read_text())) == set(substitutions)
    assert all(
        referred(substitutions[n]) in template.of_type("AWS::S3::Bucket") for n in {"Bucket"} & set(substitutions)
    )


def test_map_states_bound_their_concurrency() -> None:
    definition = json.loads(DEFINITIONS["propagation"].read_text())
    maps = [state for state in definition["States"].values() if state["Type"] == "Map"]
    assert maps
    # The planner says how many: a fair share of all.
    assert all(state["MaxConcurrencyPath"] == "$.concurrency" for state in maps)


@pytest.mark.parametrize("worker", DEFINITIONS)
def test_a_task_is_tried_again_and_its_end_is_always_told(worker: str) -> None:
    """A job never runs for ever: each task has a timeout, retries, and a way to the step that marks the job as failed."""
    for name, state in json.loads(DEFINITIONS[worker].read_text())["States"].items():
        if state["Type"] == "Task":
            assert state["TimeoutSeconds"] > 900
            assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"]
            assert name == "Fail" or state["Catch"][0]["Next"] == "Fail"


def tasks(machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of its maps too."""
    states = list(machine["States"].values())
    inner = [task for state in states if state["Type"] == "Map" for task in tasks(state["ItemProcessor"])]
    return [state for state in states if state["Type"] == "Task"] + inner


@pytest.mark.parametrize("worker", DEFINITIONS)
def test_a_task_that_lambda_has_no_room_for_waits_its_turn(worker: str) -> None:
    """Reserved concurrency turns workers away for as long as others work: an hour, not seconds; and not all come back at once."""
    for task in tasks(json.loads(DEFINITIONS[worker].read_text())):
        busy = task["Retry"][0]
        assert busy["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        # With full jitter a pause is half as long on average.
        assert busy["MaxAttempts"] * busy["MaxDelaySeconds"] / 2 > 3600
        assert {each["JitterStrategy"] for each in task["Retry"]} == {"FULL"}


@pytest.mark.parametrize("worker", DEFINITIONS)
def test_it_calls_its_function_and_no_other(template: Template, worker: str) -> None:
    (invoke,) = statements_for(template, worker, "lambda:InvokeFunction")
    assert template.function_named(invoke["Resource"]) == worker


def test_the_one_for_bundles_may_do_nothing_else(template: Template) -> None:
    statements = template.statements(machine_of(template, "processing")["RoleArn"])
    assert {action for action in actions(statements) if not action.startswith("logs:")} == {"lambda:InvokeFunction"}


def assert_may_run_a_distributed_map(template: Template, worker: str) -> None:
    """Its children are executions of a state machine of its own name."""
    machine = machine_of(template, worker)
    (start,) = statements_for(template, worker, "states:StartExecution")
    assert template.of_type(STATE_MACHINE)[referred(start["Resource"])] == machine
    (children,) = statements_for(template, worker, "states:StopExecution")
    assert actions([children]) == {"states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"}
    assert all(referred(start["Resource"]) in json.dumps(each) for each in children["Resource"])


def test_it_may_do_what_a_distributed_map_does(template: Template) -> None:
    assert_may_run_a_distributed_map(template, "propagation")
    (manifest,) = statements_for(template, "propagation", "s3:GetObject")
    assert manifest["Resource"]["Fn::Join"][1][1] == "/manifests/*"


def test_only_log_delivery_is_allowed_on_everything(template: Template) -> None:
    for policy in template.of_type("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if "*" in as_list(statement["Resource"]):
                assert all(action.startswith("logs:") for action in as_list(statement["Action"]))
                roles = {referred(machine["RoleArn"]) for machine in template.of_type(STATE_MACHINE).values()}
                assert policy["Roles"][0]["Ref"] in roles


def test_log_holds_no_execution_data(template: Template) -> None:
    for machine in template.of_type(STATE_MACHINE).values():
        assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
        assert machine["LoggingConfiguration"]["Level"] == "ALL"


def nightly(full: Template) -> dict[str, Any]:
    """The target of the rule that starts the integrity check of the whole table. Nothing else checks it."""
    rules = full.of_type("AWS::Events::Rule").values()
    found: dict[str, Any]
    (found,) = [target for rule in rules for target in rule["Targets"] if "Input" in target]
    return found


def test_the_whole_table_is_checked_nightly_where_a_deployment_says_in_how_many_segments(full: Template) -> None:
    machine = machine_of(full, "sweeper")
    assert machine["DefinitionString"] == integrity_construct.DEFINITION.read_text()
    assert actions(full.statements(machine["RoleArn"])) >= {"lambda:InvokeFunction"}
    given = json.loads(nightly(full)["Input"])
    assert given == handler.whole_table(16) == {"segments": [{"number": number, "of": 16} for number in range(16)]}


def test_a_night_on_which_the_check_cannot_be_started_is_told(full: Template) -> None:
    """The queue has an alarm."""
    queue = full.of_type("AWS::SQS::Queue")[referred(nightly(full)["DeadLetterConfig"]["Arn"])]
    assert queue["SqsManagedSseEnabled"] is True


def test_the_segments_of_the_most_that_a_deployment_may_ask_for_fit_a_rule() -> None:
    """EventBridge takes 8,192 characters as the input of a target, and says so when the stack is deployed."""
    (most,) = [each.le for each in Deployment.model_fields["check_segments"].metadata if hasattr(each, "le")]
    assert len(json.dumps(handler.whole_table(most))) <= 8_192


def test_each_segment_has_a_history_of_its_own(full: Template) -> None:
    """An inline map writes the events of all segments into the one history of the execution, which ends it at 25,000."""
    segments = json.loads(integrity_construct.DEFINITION.read_text())["States"]["Segments"]
    assert segments["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert segments["ToleratedFailurePercentage"] == 100
    assert_may_run_a_distributed_map(full, "sweeper")


def test_the_check_ends_before_the_next_night_s_begins() -> None:
    definition = json.loads(integrity_construct.DEFINITION.read_text())
    assert definition["TimeoutSeconds"] < 24 * 3600


def test_a_task_of_the_check_is_tried_again_and_no_segment_ends_the_others() -> None:
    definition = json.loads(integrity_construct.DEFINITION.read_text())
    for task in tasks(definition):
        assert task["TimeoutSeconds"] > 900
        assert task["Retry"][0]["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert task["Retry"][-1]["ErrorEquals"] == ["States.ALL"]
    assert definition["States"]["Segments"]["ItemProcessor"]["States"]["Compare"]["Catch"][0]["Next"] == "LeaveOut"
