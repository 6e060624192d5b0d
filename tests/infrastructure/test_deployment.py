"""Context keys become a deployment, or an error that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infra.deployment import Deployment, from_context


class Node:
    """A construct node that has the given context."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context

    def try_get_context(self, key: str) -> Any:
        return self._context.get(key)

    def get_all_context(self) -> Mapping[str, Any]:
        return self._context


def test_no_context_is_the_safe_default() -> None:
    deployment = from_context(Node({}))
    assert deployment == Deployment()
    assert deployment.retained


def test_text_of_the_command_line_becomes_numbers() -> None:
    assert from_context(Node({"log_days": "7", "request_rate": 50})) == Deployment(log_days=7, request_rate=50)


def test_settings_of_the_server_are_chosen_by_their_variables() -> None:
    deployment = from_context(Node({"AUDIT": "*.read", "SYNC_LIMIT": 50, "@aws-cdk/core:x": True, "aws:cdk:y": []}))
    assert deployment.settings == {"AUDIT": "*.read", "SYNC_LIMIT": "50"}


def test_audiences_are_separated_by_commas() -> None:
    assert Deployment(issuer="https://i", audience="a, b,").audiences == ["a", "b"]


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ({"data": "delete"}, "data"),
        ({"snapstart": "yes"}, "snapstart"),
        ({"layers": "no"}, "layers"),
        ({"issuer": "https://issuer.example"}, "audience"),
        ({"audience": "a"}, "issuer"),
        ({"AUDIT": "List.reads"}, "AUDIT"),
        ({"SYNC_LIMIT": "many"}, "SYNC_LIMIT is 'many'"),
        ({"AUTH": "off"}, "context AUTH is nothing to choose"),
        ({"TABLE": "another"}, "context TABLE is nothing to choose"),
        ({"log_day": "7"}, "there is no context log_day; log_days may be meant"),
        ({"sync_limit": "7"}, "there is no context sync_limit"),
        ({"settings": {}}, "there is no context settings"),
        ({"log_days": "8"}, "context log_days is '?8'?: it has to be one of 1, 3"),
        ({"log_days": "x"}, "context log_days is 'x'"),
        ({"request_rate": "-1"}, "context request_rate is '-1'"),
        ({"data": "delete"}, "context data is 'delete': .*'retain' or 'destroy'"),
    ],
)
def test_a_wrong_value_is_refused(context: dict[str, str], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        from_context(Node(context))
