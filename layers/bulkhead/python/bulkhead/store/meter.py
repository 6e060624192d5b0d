"""Counting what the store asks of DynamoDB: requests and capacity units, for one piece of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_EVERY = "dynamodb"


@dataclass(slots=True)
class Meter:
    """Requests by operation, and the capacity units that DynamoDB says they took (indexes included)."""

    requests: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def _ask(self, params: dict[str, Any], **_: Any) -> None:
        params.setdefault("ReturnConsumedCapacity", "TOTAL")

    def _count(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests[model.name] += 1
        consumed = parsed.get("ConsumedCapacity") or []
        for part in consumed if isinstance(consumed, list) else [consumed]:
            self.units[model.name] += part.get("CapacityUnits", 0)


@contextmanager
def metered(client: Any) -> Iterator[Meter]:
    """Within this context all requests of `client` (boto3's DynamoDB client) are counted, of whatever thread."""
    meter = Meter()
    events = client.meta.events
    events.register(f"provide-client-params.{_EVERY}", meter._ask)
    events.register(f"after-call.{_EVERY}", meter._count)
    try:
        yield meter
    finally:
        events.unregister(f"provide-client-params.{_EVERY}", meter._ask)
        events.unregister(f"after-call.{_EVERY}", meter._count)
