"""The model of a large propagation, and the page that shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.load import simulation
from tests.load.simulation import SETTINGS, Setting
from tests.support.synthesis import ROOT

MEMBERS = st.floats(1, 1e7)


@given(MEMBERS, MEMBERS, st.sampled_from(SETTINGS))
def test_more_members_take_longer(one: float, other: float, setting: Setting) -> None:
    fewer, more = sorted((one, other))
    assert simulation.seconds(fewer, setting) <= simulation.seconds(more, setting) + 1e-6


@given(MEMBERS)
def test_no_more_is_written_than_the_narrowest_place_takes(members: float) -> None:
    for setting in SETTINGS:
        bound = min(setting.workers * 100, setting.shards * 1_000 / 3)
        assert simulation.seconds(members, setting) >= members / bound
        assert simulation.seconds(members, Setting("", "", workers=setting.workers * 2, warm=setting.warm)) > 0


def test_a_new_table_is_the_narrowest_place_at_first() -> None:
    assert (
        simulation.seconds(100_000, Setting("", "", workers=1_000))
        > 100_000 / (4_000 / simulation.UNITS_A_MEMBER) * 0.9
    )


NIGHT = 8 * 3600


@given(st.floats(1, 1e8), st.integers(16, 100))
def test_a_hundred_million_resources_are_compared_in_a_night(resources: float, segments: int) -> None:
    assert simulation.check_seconds(resources, segments) < NIGHT
    assert simulation.check_events(resources, segments, refusals=99) < simulation.HISTORY


def test_in_one_history_a_bad_night_would_end_the_check() -> None:
    segments = 100
    assert segments * simulation.check_events(1e8, segments, refusals=simulation.REFUSALS) > simulation.HISTORY


@given(st.floats(1, 1e9), st.integers(1, 99))
def test_one_segment_more_never_takes_longer_nor_more_than_the_table_serves(resources: float, segments: int) -> None:
    taken = simulation.check_seconds(resources, segments + 1)
    assert taken <= simulation.check_seconds(resources, segments)
    assert resources * simulation.BYTES_A_RESOURCE / taken <= 313 * simulation.PAGE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scaling.md", simulation.table()),
        ("scaling.md", simulation.check_table()),
        ("propagation.svg", simulation.picture()),
    ],
    ids=["members", "check", "picture"],
)
def test_the_page_shows_what_the_model_says(name: str, text: str) -> None:
    assert text in (ROOT / "docs" / "operations" / name).read_text(), "run python -m tests.load.simulation"
