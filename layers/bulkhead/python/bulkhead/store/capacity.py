"""Counts the store's requests to DynamoDB, and their capacity units, for one piece of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Meter:
    """Requests by operation, and the capacity units that DynamoDB reports for them (indexes included)."""

    requests: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def count(self, operation: str, answer: dict[str, Any]) -> None:
        """Adds one request of `operation` by its answer."""
        self.requests[operation] += 1
        consumed = answer.get("ConsumedCapacity") or []
        for part in consumed if isinstance(consumed, list) else [consumed]:
            self.units[operation] += part.get("CapacityUnits", 0)


@contextmanager
def metered(client: Any) -> Iterator[Meter]:
    """Counts all requests of `client` (see `store.client`) within this context, from any thread."""
    meter = Meter()
    client.meters.append(meter)
    try:
        yield meter
    finally:
        # By identity: two meters with the same counts are equal.
        client.meters[:] = [other for other in client.meters if other is not meter]
