"""FHIR dates, including partial ones, as UTC instants in text: "2026-11-22T01:02:03.456Z" sorts and compares as text."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from bulkhead.errors import BadRequest

FIRST, LAST = "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"
"""The earliest and the latest instant."""

_MILLISECOND = timedelta(milliseconds=1)
# Characters of a date with nanoseconds and a time zone. A fraction may have any number of digits, and those are not to be remembered.
_USUAL = 35

_PATTERN = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(:(?P<second>[0-5]\d|60)(\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)?)?)?)?",
    re.ASCII,
)


def now() -> str:
    """This moment as an instant in UTC with milliseconds."""
    return text(datetime.now(UTC))


def text(moment: datetime) -> str:
    """A moment in the form of all instants here. `moment` has a time zone; anything finer than a millisecond is cut off."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def after(instant: str) -> str:
    """The instant a millisecond later, in the form of all instants here."""
    return text(datetime.fromisoformat(instant) + _MILLISECOND)


def bounds(value: str) -> tuple[str, str]:
    """First and last UTC instant (inclusive, to the millisecond) of a date, dateTime, instant or a part of one.

    A date without time zone counts as UTC. Seconds may be absent, as in searches. A leap second counts as the second before it.
    BadRequest for any other text, and for dates that the calendar does not have, such as 2023-02-29.
    """
    return _known_bounds(value) if len(value) <= _USUAL else _bounds(value)


def _bounds(value: str) -> tuple[str, str]:
    match = _PATTERN.fullmatch(value)
    if not match:
        raise BadRequest("not a date, dateTime or instant")
    try:
        start, length = _start_and_length(match.groupdict())
    except ValueError:
        raise BadRequest("not a date in the calendar") from None
    try:
        first = text(start)
    except OverflowError:
        first = FIRST if start.year == 1 else LAST
    try:
        last = text(start + length - _MILLISECOND)
    except OverflowError:
        last = FIRST if start.year == 1 else LAST
    return first, last


# The facts of one resource ask for the same date several times, and those of a bundle's resources for the same dates.
_known_bounds = lru_cache(maxsize=1024)(_bounds)


def _start_and_length(part: dict[str, str | None]) -> tuple[datetime, timedelta]:
    year, month, day = int(part["year"] or 0), int(part["month"] or 1), int(part["day"] or 1)
    zone = _zone(part["zone"])
    start = datetime(year, month, day, tzinfo=zone)
    if part["month"] is None:
        return start, datetime(year, 12, 31) - datetime(year, 1, 1) + timedelta(days=1)
    if part["day"] is None:
        return start, timedelta(days=monthrange(year, month)[1])
    if part["hour"] is None:
        return start, timedelta(days=1)
    start = start.replace(hour=int(part["hour"]), minute=int(part["minute"] or 0))
    if part["second"] is None:
        return start, timedelta(minutes=1)
    start = start.replace(second=min(int(part["second"]), 59))
    if part["fraction"] is None:
        return start, timedelta(seconds=1)
    digits = part["fraction"][:3]
    return start.replace(microsecond=int(digits.ljust(6, "0"))), timedelta(milliseconds=10 ** (3 - len(digits)))


def _zone(offset: str | None) -> timezone:
    if offset is None or offset == "Z":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if offset[0] == "-" else span)
