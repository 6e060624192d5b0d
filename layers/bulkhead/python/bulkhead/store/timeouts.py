"""How long any AWS service is waited for: botocore's own minute is longer than a function may take."""

from __future__ import annotations

from typing import Any

CONNECT_SECONDS = 2
# Between two pieces of an answer, of which a large body has many.
READ_SECONDS = 5
ATTEMPTS = 5


def options() -> dict[str, Any]:
    """Of `botocore.config.Config`, for clients of services other than DynamoDB."""
    return {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "tcp_keepalive": True,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
    }
