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
    assert simulation.seconds(100_000, Setting("", "", workers=1_000)) > 100_000 / (4_000 / 10.5) * 0.9


@pytest.mark.parametrize(
    ("name", "text"),
    [("scaling.md", simulation.table()), ("propagation.svg", simulation.picture())],
    ids=["scaling.md", "propagation.svg"],
)
def test_the_page_shows_what_the_model_says(name: str, text: str) -> None:
    assert text in (ROOT / "docs" / "operations" / name).read_text(), "run python -m tests.load.simulation"
