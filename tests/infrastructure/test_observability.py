"""Failures raise alarms."""

from __future__ import annotations

from bulkhead.store import keys
from tests.infrastructure.synthesis import Template


def test_errors_and_throttles_of_every_function(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    watched = {
        (template.function_named(alarm["Dimensions"][0]["Value"]), alarm["MetricName"])
        for alarm in alarms
        if alarm["Namespace"] == "AWS/Lambda"
    }
    assert watched == {(name, metric) for name in template.functions() for metric in ("Errors", "Throttles")}


def test_failed_propagations_and_server_errors(template: Template) -> None:
    watched = {alarm["MetricName"] for alarm in template.of_type("AWS::CloudWatch::Alarm").values()}
    assert {"ExecutionsFailed", "ExecutionsTimedOut", "5xx"} <= watched


def test_a_throttled_table_and_each_throttled_index(template: Template) -> None:
    """Under the dimensions by which DynamoDB reports: `ThrottledRequests` has an Operation besides, and is never there by table alone."""
    watched = set()
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        if alarm["Namespace"] == "AWS/DynamoDB":
            dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
            assert "Ref" in dimensions.pop("TableName")
            watched.add((alarm["MetricName"], *dimensions.items()))
    places: list[tuple[tuple[str, str], ...]] = [
        (),
        *((("GlobalSecondaryIndexName", index),) for index in keys.INDEXES),
    ]
    assert {(f"{kind}ThrottleEvents", *place) for kind in ("Read", "Write") for place in places} <= watched
    assert ("SystemErrors", ("Operation", "TransactWriteItems")) in watched


def test_every_state_machine_is_watched(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    watched = [alarm["MetricName"] for alarm in alarms if alarm["Namespace"] == "AWS/States"]
    assert sorted(watched) == sorted(["ExecutionsFailed", "ExecutionsTimedOut"] * 2)


def test_one_failure_is_enough(template: Template) -> None:
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1)
        assert alarm["TreatMissingData"] == "notBreaching"
