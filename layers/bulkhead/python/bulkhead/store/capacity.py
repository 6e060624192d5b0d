"""Counting what the store asks of DynamoDB: requests and capacity units, for one piece of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

_READS = ("GetItem", "BatchGetItem", "Query", "Scan")


@dataclass(slots=True)
class Meter:
    """Requests by operation, and the capacity units that DynamoDB says they took (indexes included)."""

    requests: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    @property
    def read(self) -> float:
        """Read units."""
        return sum(self.units[name] for name in _READS)

    @property
    def written(self) -> float:
        """Write units."""
        return sum(self.units.values()) - self.read

    def count(self, operation: str, answer: dict[str, Any]) -> None:
        """One request of `operation` and its answer."""
        self.requests[operation] += 1
        consumed = answer.get("ConsumedCapacity") or []
        for part in consumed if isinstance(consumed, list) else [consumed]:
            self.units[operation] += part.get("CapacityUnits", 0)


_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def counted(*, is_wanted: bool) -> Iterator[Meter | None]:
    """Within this context, one request or task and all its threads, what is asked of DynamoDB is counted, if that `is_wanted`."""
    meter = Meter() if is_wanted else None
    token = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(token)


def current() -> Meter | None:
    """The meter of `counted`, if there is one."""
    return _current.get()


@contextmanager
def metered(client: Any) -> Iterator[Meter]:
    """Within this context all requests of `client` (see `store.client`) are counted, of whatever thread."""
    meter = Meter()
    client.meters.append(meter)
    try:
        yield meter
    finally:
        # By identity: two meters that have counted the same are equal.
        client.meters[:] = [other for other in client.meters if other is not meter]
