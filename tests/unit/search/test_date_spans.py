"""The span of a search loses no resource that matches it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.search import ranges
from bulkhead.search.date_spans import span
from bulkhead.search.parse import parse
from bulkhead.search.query import Clause

TEXTS = ("2020", "2020-02", "2020-02-28", "2020-02-29", "2020-03-01", "2020-02-29T12:00:00Z", "2020-03-01T00:00:00Z")
INSTANTS = (
    "2019-12-31T23:59:59.999Z",
    "2020-02-28T00:00:00.000Z",
    "2020-02-29T12:00:00.000Z",
    "2020-02-29T12:00:00.999Z",
)
LATER = ("2020-02-29T23:59:59.999Z", "2020-03-01T00:00:00.000Z", "2020-12-31T23:59:59.999Z", "2021-01-01T00:00:00.000Z")

prefixes = st.sampled_from(["", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
dates = st.builds(str.__add__, prefixes, st.sampled_from(TEXTS))
conditions = st.lists(st.lists(dates, min_size=1, max_size=2).map(",".join), min_size=1, max_size=3)
instants = st.sampled_from(INSTANTS + LATER)


def clauses(*texts: str) -> tuple[Clause, ...]:
    return parse([("date", text) for text in texts], "Observation").clauses


@given(conditions, st.tuples(instants, instants).map(sorted))
def test_what_matches_lies_in_the_span(texts: list[str], period: list[str]) -> None:
    first, last = period
    asked = clauses(*texts)
    earliest_last, latest_first = span(asked)
    if all(any(ranges.dates(value, first, last) for value in clause.values) for clause in asked):  # type: ignore[arg-type] # dates only
        assert earliest_last is None or last >= earliest_last
        assert latest_first is None or first <= latest_first


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2020-02-29"], ("2020-02-29T00:00:00.000Z", "2020-02-29T23:59:59.999Z")),
        (["ge2020-02-29", "lt2020-03"], ("2020-02-29T00:00:00.000Z", "2020-03-01T00:00:00.000Z")),
        (["sa2020-02-29"], ("2020-02-29T23:59:59.999Z", None)),
        (["le2020-02"], (None, "2020-02-29T23:59:59.999Z")),
        (["ne2020"], (None, None)),
        # Any of two dates: what lies between them, too. All of two conditions: what both leave.
        (["2020-02-28,2020-03-01"], ("2020-02-28T00:00:00.000Z", "2020-03-01T23:59:59.999Z")),
        (["2020-02-28,gt2020-03-01"], ("2020-02-28T00:00:00.000Z", None)),
        (["ge2020", "ge2020-02-29"], ("2020-02-29T00:00:00.000Z", None)),
    ],
)
def test_the_span_of_a_search(texts: list[str], expected: tuple[str | None, str | None]) -> None:
    assert span(clauses(*texts)) == expected
