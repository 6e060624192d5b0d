"""The DynamoDB client of a process."""

from __future__ import annotations

import os
from typing import Any

from bulkhead.store import direct
from bulkhead.store.short_way import ShortWay
from bulkhead.store.timeouts import CONNECT_SECONDS, options


def dynamodb(threads: int, read_timeout: float, endpoint_url: str | None = None) -> Any:
    """A client for up to `threads` requests at once, of the `endpoint_url` if there is one, else as the environment says.

    A request without an answer is sent again after `read_timeout` seconds: botocore's own minute is longer than a function may take.
    """
    # The pool must hold a connection for each thread.
    connections = threads + 2

    def full() -> Any:
        return _of_boto3(connections, read_timeout, endpoint_url)

    made = direct.client(
        os.environ,
        connections=connections,
        timeout=(CONNECT_SECONDS, read_timeout),
        endpoint_url=endpoint_url,
        make_full=full,
    )
    return made or full()


def _of_boto3(connections: int, read_timeout: float, endpoint_url: str | None) -> Any:
    """boto3's own, with the short way mixed into its class: see boto3's guide on extensibility (`creating-client-class`)."""
    import boto3
    from botocore.config import Config

    def mix_in(base_classes: list[type], **_: Any) -> None:
        base_classes.insert(0, ShortWay)

    session = boto3.session.Session()
    session.events.register("creating-client-class.dynamodb", mix_in)
    waiting = options() | {"read_timeout": read_timeout}
    config = Config(parameter_validation=False, max_pool_connections=connections, **waiting)
    client: Any = session.client("dynamodb", config=config, endpoint_url=endpoint_url)
    client.meters = []
    return client
