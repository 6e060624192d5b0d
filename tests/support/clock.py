"""Time that passes when the test says so, or when somebody waits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bulkhead.bundles import committing
from bulkhead.compartments import propagation
from bulkhead.fhir import dates
from bulkhead.jobs import lifecycle, propagation_steps
from bulkhead.operations import set_accounts_run
from bulkhead.store import identifiers, pre_commit, reservations, throttling, transactions
from bulkhead.store import jobs as items

_MODULES = (
    pre_commit,
    committing,
    identifiers,
    items,
    lifecycle,
    propagation,
    propagation_steps,
    reservations,
    set_accounts_run,
    throttling,
    transactions,
)


class Clock:
    """Stands in for the module `time`. It begins at the present moment."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def stamp(self) -> str:
        return dates.text(datetime.fromtimestamp(self.now, UTC))


def stopped(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all that waits for something, and of time stamps."""
    clock = Clock()
    for module in _MODULES:
        monkeypatch.setattr(module, "time", clock)
    # Pauses before a retry: their jitter would make every run another one.
    for module in (committing, throttling):
        monkeypatch.setattr(module, "jitter", lambda longest: longest)
    monkeypatch.setattr(dates, "now", clock.stamp)
    return clock
