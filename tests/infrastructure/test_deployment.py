"""Context keys become a deployment, or an error that names the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bulkhead.api.routes import GATEWAY
from infra.deployment import RESERVING, Deployment, from_context
from infra.functions_construct import FUNCTIONS, WORKERS
from tests.support.synthesis import ROOT, Template


class Node:
    """A construct node that has the given context."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context

    def try_get_context(self, key: str) -> Any:
        return self._context.get(key)

    def get_all_context(self) -> Mapping[str, Any]:
        return self._context


NEEDED: dict[str, Any] = {"issuer": "https://issuer.example", "audience": "a"}


def deployed(**context: Any) -> Deployment:
    return from_context(Node({**NEEDED, **context}))


def test_the_least_context_is_the_safe_default_and_costs_nothing_when_idle() -> None:
    deployment = deployed()
    assert deployment == Deployment(**NEEDED)
    assert deployment.retained
    assert (deployment.snapstart, deployment.key, deployment.alarmed, deployment.tracing) == ("off", "", False, "off")


@pytest.mark.parametrize("key", NEEDED)
def test_an_issuer_is_needed_and_nobody_guesses_one(key: str) -> None:
    with pytest.raises(ValueError, match=f"^context {key} is needed: .*-c {key}="):
        from_context(Node({name: text for name, text in NEEDED.items() if name != key}))


def test_endpoints_of_the_issuer_may_be_chosen() -> None:
    assert deployed(TOKEN_ENDPOINT="https://issuer.example/t").settings == {
        "TOKEN_ENDPOINT": "https://issuer.example/t"
    }


def test_text_of_the_command_line_becomes_numbers() -> None:
    assert deployed(log_days="7", request_rate=50) == Deployment(**NEEDED, log_days=7, request_rate=50)


def test_settings_of_the_server_are_chosen_by_their_variables() -> None:
    deployment = deployed(**{"AUDIT": "*.read", "SYNC_LIMIT": 50, "@aws-cdk/core:x": True, "aws:cdk:y": []})
    assert deployment.settings == {"AUDIT": "*.read", "SYNC_LIMIT": "50"}


def test_audiences_are_separated_by_commas() -> None:
    assert Deployment(issuer="https://i", audience="a, b,").audiences == ["a", "b"]


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ({"data": "delete"}, "data"),
        ({"snapstart": "yes"}, "snapstart"),
        ({"layers": "no"}, "layers"),
        ({"issuer": "issuer.example"}, "context issuer is 'issuer.example'"),
        ({"audience": ""}, "context audience is ''"),
        ({"table": "t"}, "context table and bucket go together"),
        ({"table": "t", "bucket": "b", "key": "create"}, "has its key already"),
        ({"table": "t", "bucket": "b", "warm_reads": "20000", "warm_writes": "8000"}, "UpdateTable"),
        ({"key": "alias/mine"}, "context key is 'alias/mine': it has to be create, or the ARN"),
        ({"warm_writes": "100", "warm_reads": "20000"}, "context warm_writes is '100': a new table serves 4000"),
        ({"warm_writes": "8000"}, "warm_reads and warm_writes go together"),
        ({"alarm_email": "nobody"}, "context alarm_email is 'nobody'"),
        ({"alarm_email": "a@b", "alarm_topic": "arn:aws:sns:x"}, "give one"),
        ({"name": "1st"}, "context name is '1st'"),
        ({"worker_concurrency": "-1"}, "context worker_concurrency is '-1'"),
        ({"worker_concurrency": "451"}, "concurrency_quota=1000 give 450 at most"),
        ({"worker_concurrency": "5", "concurrency_quota": "10"}, "give 0 at most"),
        ({"check_segments": "6", "concurrency_quota": "10"}, "context check_segments is 6: .* give 5 at most"),
        ({"check_segments": "51", "worker_concurrency": "450"}, "give 50 at most"),
        ({"check_segments": "101"}, "context check_segments is '101'"),
        ({"AUDIT": "List.reads"}, "AUDIT"),
        ({"SYNC_LIMIT": "many"}, "SYNC_LIMIT is 'many'"),
        ({"AUTH": "off"}, "context AUTH is nothing to choose"),
        ({"TABLE": "another"}, "context TABLE is nothing to choose"),
        ({"log_day": "7"}, "there is no context log_day; log_days may be meant"),
        ({"sync_limit": "7"}, "there is no context sync_limit"),
        ({"UNCHECKED_INVARIANTS": "ait1"}, "UNCHECKED_INVARIANTS names 'ait1'"),
        ({"settings": {}}, "there is no context settings"),
        ({"log_days": "8"}, "context log_days is '?8'?: it has to be one of 1, 3"),
        ({"log_days": "x"}, "context log_days is 'x'"),
        ({"request_rate": "-1"}, "context request_rate is '-1'"),
        ({"data": "delete"}, "context data is 'delete': .*'retain' or 'destroy'"),
    ],
)
def test_a_wrong_value_is_refused(context: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        deployed(**context)


def test_what_just_fits_the_quota_is_deployed() -> None:
    assert len(WORKERS) == RESERVING
    assert deployed(worker_concurrency="450", check_segments="50").worker_concurrency == 450
    assert deployed(check_segments="100").check_segments == 100


def test_the_documentation_says_how_far_the_quotas_of_the_api_and_of_the_stack_are(full: Template) -> None:
    rows = (ROOT / "docs" / "operations" / "quotas.md").read_text().splitlines()
    for named, quota, used in (
        ("API Gateway, routes of an API", 300, len(GATEWAY)),
        ("CloudFormation, resources of a stack", 500, len(full.resources)),
    ):
        (row,) = [line.split("|") for line in rows if line.startswith(f"| {named} |")]
        (said,) = [int(each) for each in re.findall(r"some (\d+)", row[3])]
        assert int(row[2]) == quota
        assert abs(said - used) <= used / 10, used
        assert used < quota


def test_the_documentation_names_every_key() -> None:
    page = (ROOT / "docs" / "operations" / "deploy.md").read_text()
    keys = set(Deployment.model_fields) - {"settings", "layers"}
    assert {key for key in keys if f"`{key}`" not in page} == set()
    assert "-c layers=host" in page


def test_the_documentation_has_the_limits_of_every_function() -> None:
    page = (ROOT / "docs" / "operations" / "quotas.md").read_text()
    for name, function in FUNCTIONS.items():
        if function.timeout < 60 or name == "processing":
            (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
            assert f"| {function.memory:,} MB | {function.request_limit // 1_000_000} MB |" in row


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())):
        if "://" in target:
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, heading
