"""Timeouts for AWS services: botocore's default minute is longer than a function may take."""

from __future__ import annotations

from typing import Any

CONNECT_SECONDS = 2
# Between two pieces of a response; a large body has many.
READ_SECONDS = 5
ATTEMPTS = 5


def options() -> dict[str, Any]:
    """Arguments of `botocore.config.Config` for clients of services other than DynamoDB."""
    return {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "tcp_keepalive": True,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
    }
