"""Query strings: what counts as `_count`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.fhir import queries


@given(st.integers(0, 10**30), st.integers(0, 12))
def test_a_count_of_any_length_is_a_number(number: int, zeros: int) -> None:
    assert queries.count("0" * zeros + str(number)) == min(number, 10**9)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1e3", "x", " 1", "1 ", "\u0661", "1\n"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="must be a whole number, 0 or more") as refused:
        queries.count(text)
    assert refused.value.issues[0].expression == "_count"
