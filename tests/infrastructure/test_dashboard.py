"""The dashboard shows what whoever is on call at night asks first, and costs nothing."""

from __future__ import annotations

import json
from typing import Any

from bulkhead import observability
from bulkhead.store import keys
from tests.support.synthesis import Template


def widgets(template: Template) -> list[dict[str, Any]]:
    """The body with a placeholder for all that CloudFormation fills in."""
    body = template.only("AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Join"][1]
    found: list[dict[str, Any]] = json.loads("".join(part if isinstance(part, str) else "~" for part in body))[
        "widgets"
    ]
    return found


def lines(template: Template) -> list[list[Any]]:
    return [line for widget in widgets(template) for line in widget["properties"]["metrics"]]


def test_units_of_the_table_and_of_each_index(template: Template) -> None:
    shown = set()
    for namespace, name, *rest in (line for line in lines(template) if line[0] == "AWS/DynamoDB"):
        assert namespace
        named = dict(zip(rest[::2], rest[1::2], strict=False))
        shown.add((name, named.get("GlobalSecondaryIndexName")))
    for name in ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"):
        assert {(name, index) for index in (None, *keys.INDEXES)} <= shown


def test_traffic_latency_jobs_and_cost(template: Template) -> None:
    names = {line[1] for line in lines(template) if isinstance(line[0], str)}
    assert {"Count", "4xx", "5xx", "Latency", "Duration", "ExecutionsFailed", observability.JOBS_FAILED} <= names
    expressions = [line[0]["expression"] for line in lines(template) if isinstance(line[0], dict)]
    assert any("0.625" in each and "/ 1000000" in each for each in expressions)
    searched = f"{{{observability.NAMESPACE},operation,service}}"
    assert sum(searched in each for each in expressions) == 2


def test_it_stays_below_the_fifty_metrics_that_are_free(template: Template) -> None:
    metrics_of = {json.dumps(line[:6]) for line in lines(template) if isinstance(line[0], str)}
    assert len(metrics_of) <= 50
