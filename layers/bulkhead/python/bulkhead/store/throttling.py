"""Waiting out a throttled table.

A new on-demand table serves 4,000 write units a second, and a large bundle asks for four times as many. So DynamoDB's "not now" is
ordinary: the store asks again until its patience ends, with full jitter, and fewer threads ask at once while the table says so.

A function that is stopped by its timeout says nothing to anybody. So whoever runs within one gives the moment at which the store is to
stop waiting (`waiting_until`): a little before API Gateway or Lambda ends the request, as late as that for the task of a job.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bulkhead.errors import Unavailable

CODES = frozenset(
    ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException"]
)
"""The error codes by which DynamoDB says that it is asked too much."""

_FIRST, _LONGEST = 0.02, 2.0
_ASKING_AT_ONCE = 2

# Of the operating system: processes that start from one snapshot would share the state of `random`, and all wait alike.
_random = random.SystemRandom()


def jitter(longest: float) -> float:
    """A wait between nothing and `longest` seconds."""
    return _random.uniform(0, longest)


# By `time.monotonic`, unless a test has a clock of its own.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def waiting_until(moment: float) -> Iterator[None]:
    """Within this context a throttled table is asked again until `moment`, in seconds of `time.monotonic`, and no longer."""
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)


def is_over() -> bool:
    """Whether the moment of `waiting_until` has passed: what fails now is not tried again."""
    moment = _deadline.get()
    return moment is not None and time.monotonic() >= moment


class Patience:
    """How long the store waits for a throttled table: until the moment of `waiting_until`.

    Where there is none, `seconds` for each piece of work, from its first refusal on.

    `clock` and `sleep` are `time.monotonic` and `time.sleep` unless a test gives others. One object serves all threads of a process.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._asking = threading.BoundedSemaphore(_ASKING_AT_ONCE)

    def attempts(self) -> Iterator[Callable[[], None]]:
        """Once for each try of one piece of work. The caller leaves the loop when it is done.

        What is yielded is to be called after a try that got something done: the waits then begin short again. Unavailable when the patience ends.
        """
        exponent = 0

        def progress() -> None:
            nonlocal exponent
            exponent = 0

        yield progress
        deadline = _deadline.get()
        ends = self._clock() + self._seconds if deadline is None else deadline
        while True:
            wait = jitter(min(_LONGEST, _FIRST * 2**exponent))
            exponent = min(exponent + 1, 16)
            if self._clock() + wait >= ends:
                raise Unavailable("the table is throttled; try again later")
            self._sleep(wait)
            with self._asking:
                yield progress


def pause(attempt: int) -> None:
    """Wait before retry number `attempt`: exponential, with full jitter, at most half a second."""
    time.sleep(jitter(min(0.5, 0.01 * 2**attempt)))
