"""The fuzz of the tests, with other requests and as many as one likes: every kind, on a new table every so often."""

from __future__ import annotations

import itertools
import logging
import time
import traceback
from collections.abc import Callable

from bulkhead.settings import Settings
from bulkhead.store import Store, files, keys
from tests.support.fuzzing import edge
from tests.support.fuzzing.requests import KINDS, Sent, sequence

ROUND = 500
"""Requests of one kind on one table."""
SHOWN = 20
"""Failures that are printed."""


def report(requests: int, first: int, say: Callable[[str, str, str], None]) -> None:
    """Send so many requests, from the sequences with the numbers `first` and up; print what failed and the slowest."""
    from moto import mock_aws

    from tests.load import tables

    logging.disable(logging.ERROR)
    begun, sent, failures = time.process_time(), 0, 0
    slowest: tuple[float, Sent | None] = (0.0, None)
    with tables.empty() as (client, _), mock_aws():
        objects = files.client()
        objects.create_bucket(Bucket="bulkhead")
        rounds = ((number, kind) for number in itertools.count(first) for kind in KINDS)
        while sent < requests:
            number, kind = next(rounds)
            count = min(ROUND, requests - sent)
            name = f"fuzz-{number}-{kind.replace(' ', '-')}"
            client.create_table(**keys.table_definition(name))
            with edge.serving(Store(client, objects, Settings(table=name, bucket="bulkhead"))):
                for one in sequence(kind, number, count):
                    at = time.perf_counter()
                    try:
                        edge.check(one, edge.send(one))
                    except Exception:
                        failures += 1
                        if failures <= SHOWN:
                            print(
                                f"{kind} {number}: {traceback.format_exc(limit=-2)[-4000:]}\n{str(one)[:3000]}",
                                flush=True,
                            )
                    slowest = max(slowest, (time.perf_counter() - at, one), key=lambda pair: pair[0])
            client.delete_table(TableName=name)
            sent += count
    taken = time.process_time() - begun
    say(
        f"fuzz: {sent} requests", f"{failures} failures, {taken:.0f} s of CPU, slowest {slowest[0]:.1f} s", "0 failures"
    )
    if slowest[1] is not None:
        print(f"  slowest: {slowest[1].method} {slowest[1].target[:200]}", flush=True)
