"""Failures raise alarms, somebody is told, and the runbook says what to do."""

from __future__ import annotations

import re
from typing import Any

from bulkhead import observability
from bulkhead.store import keys
from infra.alarms_construct import RUNBOOK
from infra.functions_construct import WORKERS
from tests.support.synthesis import ROOT, Template, actions, referred

ALARM = "AWS::CloudWatch::Alarm"
LAMBDA = "AWS/Lambda"


def alarms(template: Template) -> list[dict[str, Any]]:
    return list(template.of_type(ALARM).values())


def dimensions(alarm: dict[str, Any]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in alarm.get("Dimensions", [])}


def test_there_are_none_where_nobody_would_be_told(template: Template) -> None:
    """An alarm costs ten cents a month, whether it is heard or not."""
    assert not alarms(template)
    assert not template.of_type("AWS::SNS::Topic")


def test_each_tells_the_address(full: Template) -> None:
    ((topic, _),) = full.of_type("AWS::SNS::Topic").items()
    subscription = full.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "on-call@hospital.example")
    assert referred(subscription["TopicArn"]) == topic
    assert alarms(full)
    assert all([referred(action) for action in alarm["AlarmActions"]] == [topic] for alarm in alarms(full))


def test_the_topic_lets_alarms_in(full: Template) -> None:
    """Its policy takes the place of the one that a topic has by itself, which lets its account publish. What none allows is refused."""
    policy = full.only("AWS::SNS::TopicPolicy")
    ((topic, _),) = full.of_type("AWS::SNS::Topic").items()
    assert [referred(each) for each in policy["Topics"]] == [topic]
    (allowed,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert (allowed["Action"], allowed["Principal"]) == ("sns:Publish", {"Service": "cloudwatch.amazonaws.com"})
    assert referred(allowed["Resource"]) == topic
    source = allowed["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Join"][1]
    assert source[2:] == [":cloudwatch:", {"Ref": "AWS::Region"}, ":", {"Ref": "AWS::AccountId"}, ":alarm:*"]


def test_the_topic_is_encrypted_by_a_key_that_lets_alarms_in(full: Template) -> None:
    topic = full.only("AWS::SNS::Topic")
    key = full.of_type("AWS::KMS::Key")[referred(topic["KmsMasterKeyId"])]
    letting_in = [
        statement
        for statement in key["KeyPolicy"]["Statement"]
        if statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert actions(letting_in) == {"kms:Decrypt", "kms:GenerateDataKey*"}


def test_each_has_an_entry_in_the_runbook_and_each_entry_an_alarm(full: Template) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)
    entries = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    named = set()
    for alarm in alarms(full):
        found = re.fullmatch(rf"Bulkhead: \w+\. What to do: {RUNBOOK}#([\w-]+)", alarm["AlarmDescription"])
        assert found, alarm["AlarmDescription"]
        named.add(found[1])
    assert named == entries


def test_errors_and_throttles_of_every_function(full: Template) -> None:
    watched = {
        (full.function_named(dimensions(alarm)["FunctionName"]), alarm["MetricName"])
        for alarm in alarms(full)
        if alarm["Namespace"] == LAMBDA and alarm.get("Dimensions")
    }
    # Workers whose concurrency is reserved are turned away as a matter of course, and come again.
    waiting = {(name, "Throttles") for name in WORKERS}
    assert watched == {(name, metric) for name in full.functions() for metric in ("Errors", "Throttles")} - waiting


def test_concurrent_executions_of_the_account_before_they_run_out(full: Template) -> None:
    (alarm,) = [each for each in alarms(full) if each["Namespace"] == LAMBDA and not each.get("Dimensions")]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ClaimedAccountConcurrency", 800)


def test_failed_and_dead_jobs_and_damage_under_the_dimensions_by_which_the_functions_report_them(
    full: Template,
) -> None:
    watched = {each["MetricName"]: each for each in alarms(full) if each["Namespace"] == observability.NAMESPACE}
    assert watched.keys() == {"JobsFailed", "JobsDead", "ResourcesDamaged"}
    assert all(dimensions(alarm) == {"service": "bulkhead"} for alarm in watched.values())
    # The same jobs are counted every minute: they are no more for that.
    assert (watched["JobsFailed"]["Statistic"], watched["JobsDead"]["Statistic"]) == ("Sum", "Maximum")


def test_server_errors_latency_and_undelivered_events(full: Template) -> None:
    watched = {alarm["MetricName"] for alarm in alarms(full)}
    assert {"5xx", "Latency", "ApproximateNumberOfMessagesVisible"} <= watched
    (latency,) = [alarm for alarm in alarms(full) if alarm["MetricName"] == "Latency"]
    assert (latency["ExtendedStatistic"], latency["Threshold"], latency["EvaluationPeriods"]) == ("p99", 8000, 3)


def test_a_throttled_table_and_each_throttled_index(full: Template) -> None:
    """Under the dimensions by which DynamoDB reports: `ThrottledRequests` has an Operation besides, and is never there by table alone."""
    watched = set()
    for alarm in alarms(full):
        if alarm["Namespace"] == "AWS/DynamoDB":
            found = dimensions(alarm)
            assert referred(found.pop("TableName")) in full.of_type("AWS::DynamoDB::Table")
            watched.add((alarm["MetricName"], *found.items()))
    places: list[tuple[tuple[str, str], ...]] = [
        (),
        *((("GlobalSecondaryIndexName", index),) for index in keys.INDEXES),
    ]
    throttles = {(f"{kind}ThrottleEvents", *place) for kind in ("Read", "Write") for place in places}
    assert {each for each in watched if each[0] != "SystemErrors"} == throttles
    assert ("SystemErrors", ("Operation", "TransactWriteItems")) in watched


def test_every_state_machine_is_watched(full: Template) -> None:
    watched = [alarm["MetricName"] for alarm in alarms(full) if alarm["Namespace"] == "AWS/States"]
    assert sorted(watched) == sorted(["ExecutionsFailed", "ExecutionsTimedOut"] * 3)


def test_one_failure_is_enough(full: Template) -> None:
    for alarm in alarms(full):
        assert alarm["TreatMissingData"] == "notBreaching"
        if alarm["MetricName"] not in ("Latency", "ClaimedAccountConcurrency"):
            assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1)
