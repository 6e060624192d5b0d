"""No service is waited for longer than a function may take."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.jobs import executions
from bulkhead.store import client, direct, files, timeouts


@pytest.mark.parametrize("make", [files.client, executions._client.__wrapped__, lambda: client._of_boto3(2, 5, None)])
def test_clients_of_boto3(make: Any) -> None:
    config = make().meta.config
    assert (config.connect_timeout, config.read_timeout) == (timeouts.CONNECT_SECONDS, timeouts.READ_SECONDS)
    assert config.tcp_keepalive
    assert config.retries == {"mode": "standard", "total_max_attempts": timeouts.ATTEMPTS}


def test_the_direct_client(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    made = direct.client

    def watched(*names: Any, **options: Any) -> Any:
        given.append(options)
        return made(*names, **options)

    monkeypatch.setattr(direct, "client", watched)
    client.dynamodb(3, 5, "http://127.0.0.1:1")
    assert (given[0]["timeout"], given[0]["connections"]) == ((timeouts.CONNECT_SECONDS, 5), 5)
