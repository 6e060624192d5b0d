"""Failures raise alarms."""

from __future__ import annotations

from tests.infrastructure.synthesis import Template


def test_errors_and_throttles_of_every_function(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    watched = {
        (template.function_named(alarm["Dimensions"][0]["Value"]), alarm["MetricName"])
        for alarm in alarms
        if alarm["Namespace"] == "AWS/Lambda"
    }
    assert watched == {(name, metric) for name in template.functions() for metric in ("Errors", "Throttles")}


def test_failed_propagations_server_errors_and_a_throttled_table(template: Template) -> None:
    watched = {alarm["MetricName"] for alarm in template.of_type("AWS::CloudWatch::Alarm").values()}
    assert {"ExecutionsFailed", "ExecutionsTimedOut", "5xx", "ThrottledRequests"} <= watched


def test_every_state_machine_is_watched(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    watched = [alarm["MetricName"] for alarm in alarms if alarm["Namespace"] == "AWS/States"]
    assert sorted(watched) == sorted(["ExecutionsFailed", "ExecutionsTimedOut"] * 2)


def test_one_failure_is_enough(template: Template) -> None:
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1)
        assert alarm["TreatMissingData"] == "notBreaching"
