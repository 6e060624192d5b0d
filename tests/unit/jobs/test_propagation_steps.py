"""The manifest of a propagation: whatever the size of its batches, Step Functions takes it, and no member is left out or handed on twice."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.jobs import propagation_steps
from bulkhead.settings import LARGEST_BATCH, Settings
from bulkhead.store import Store, jobs
from infra.local.states import PAYLOAD_LIMIT

JOB = jobs.Job("f" * 32, "me", "Patient/1", (), 0, 9_999_999_999)
# The longest type and the longest id of R4.
LONGEST = f"MedicinalProductUndesirableEffect/{'x' * 64}"


def items(members: list[str], batch: int) -> list[dict[str, Any]]:
    store = cast(Store, SimpleNamespace(settings=Settings(propagation_batch=batch)))
    return propagation_steps._items(store, JOB, {"turn": 2, "batch": 7, "correlation": "c" * 36}, amiss=members)


def bytes_of(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


@pytest.mark.parametrize("batch", [1, 2, 5, 100, 399, 400, LARGEST_BATCH])
def test_the_longest_manifest_fits_step_functions(batch: int) -> None:
    """As the input of each child, and as the outputs of all together, which are gathered although nothing reads them."""
    made = items([LONGEST] * propagation_steps.MANIFEST_MEMBERS, batch)
    assert max(map(bytes_of, (made[0], made[-1]))) < PAYLOAD_LIMIT
    assert bytes_of([{"standing": len(item["members"])} for item in made]) < PAYLOAD_LIMIT
    assert sum(len(item["members"]) for item in made) == propagation_steps.MANIFEST_MEMBERS


@given(st.integers(1, 30_000), st.integers(1, LARGEST_BATCH))
def test_every_member_is_handed_on_once_and_every_batch_has_a_number_of_its_own(members: int, batch: int) -> None:
    names = [str(number) for number in range(members)]
    made = items(names, batch)
    assert [name for item in made for name in item["members"]] == names
    # A worker numbers the batches of its item from `batch` on; the planner goes on after the last of all.
    numbers = [item["batch"] + n for item in made for n in range(-(-len(item["members"]) // batch))]
    assert numbers == list(range(8, 8 + -(-members // batch)))
