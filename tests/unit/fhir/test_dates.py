"""Dates as UTC bounds in text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.fhir import dates

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MOMENTS = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 12, 31),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def test_now_is_an_instant_in_milliseconds() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert INSTANT.fullmatch(dates.now())
    assert before <= datetime.fromisoformat(dates.now()) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2020", "2020-01-01T00:00:00.000Z", "2020-12-31T23:59:59.999Z"),
        ("2020-02", "2020-02-01T00:00:00.000Z", "2020-02-29T23:59:59.999Z"),
        ("2021-02", "2021-02-01T00:00:00.000Z", "2021-02-28T23:59:59.999Z"),
        ("2020-12-31", "2020-12-31T00:00:00.000Z", "2020-12-31T23:59:59.999Z"),
        ("2020-03-01T10:20", "2020-03-01T10:20:00.000Z", "2020-03-01T10:20:59.999Z"),
        ("2020-03-01T10:20Z", "2020-03-01T10:20:00.000Z", "2020-03-01T10:20:59.999Z"),
        ("2020-03-01T00:20:30+02:00", "2020-02-29T22:20:30.000Z", "2020-02-29T22:20:30.999Z"),
        ("2020-03-01T10:20:30-05:30", "2020-03-01T15:50:30.000Z", "2020-03-01T15:50:30.999Z"),
        ("2020-03-01T10:20:30.5Z", "2020-03-01T10:20:30.500Z", "2020-03-01T10:20:30.599Z"),
        ("2020-03-01T10:20:30.12Z", "2020-03-01T10:20:30.120Z", "2020-03-01T10:20:30.129Z"),
        ("2020-03-01T10:20:30.1239Z", "2020-03-01T10:20:30.123Z", "2020-03-01T10:20:30.123Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z", "2016-12-31T23:59:59.999Z"),
        ("0001", dates.FIRST, "0001-12-31T23:59:59.999Z"),
        ("9999", "9999-01-01T00:00:00.000Z", dates.LAST),
        ("0001-01-01T00:00:00+14:00", dates.FIRST, dates.FIRST),
        ("9999-12-31T23:59:59-12:00", dates.LAST, dates.LAST),
    ],
)
def test_bounds(value: str, first: str, last: str) -> None:
    assert dates.bounds(value) == (first, last)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "20",
        "2020-1",
        "2020-13",
        "2023-02-29",
        "2020-04-31",
        "0000",
        "2020-01-01T24:00:00Z",
        "2020-01-01T10",
        "today",
        "2020-01-01T10:00:00+15:00",
        "2020-01-01 10:00:00Z",
        "2020-01-01T10:00:00.Z",
        "2020-W01",
        "\u0662\u0660\u0662\u0660",
        "2020\n",
    ],
)
def test_what_is_no_date(value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        dates.bounds(value)
    assert not value or value not in str(caught.value)


@given(MOMENTS)
def test_an_instant_is_within_its_own_bounds_and_those_of_its_parts(moment: datetime) -> None:
    written = moment.isoformat(timespec="milliseconds")
    assert dates.bounds(written) == (dates.text(moment), dates.text(moment))
    local = moment.replace(tzinfo=UTC)
    for length in (4, 7, 10):
        first, last = dates.bounds(written[:length])
        assert first <= dates.text(local) <= last
        assert first[:length] == last[:length] == written[:length]


@given(MOMENTS, MOMENTS)
def test_text_sorts_as_time_does(one: datetime, other: datetime) -> None:
    if abs(one - other) >= timedelta(milliseconds=1):
        assert (dates.text(one) < dates.text(other)) == (one < other)
