"""When the care took place that a resource tells of: the search parameter that says so, and texts that sort by it.

A text sorts as it stands, by bytes. What a resource has for the parameter gives one text where it is a moment or a day, and two
where it is a period (or several values): one for each direction of a sort, since a period sorts by its first instant, and by
its last when the newest comes first.

| value                          | text, oldest first                                   | text, newest first         |
| ------------------------------ | ---------------------------------------------------- | -------------------------- |
| a moment (a second at most)    | `2026-11-22T01:02:03.000Z`                           | the same                   |
| a day of UTC                   | `2026-11-22`, before all moments of the day          | the same                   |
| a period, several values       | `2026-11-22T00:00:00.000Z-2026-11-29T23:59:59.999Z`  | `2026-11-29T23:59:59.999Z+` |
| nothing                        | `none`, the last in both directions                  | the same                   |

In the index a period of more than a day has its first text under `long#`, so that a range of dates finds it wherever it began.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from bulkhead.facts import extract
from bulkhead.fhir import dates
from bulkhead.fhir.definitions import SearchParameter, compartment_parameters, search_parameters

NONE = "none"
LONG = "long#"
END = "+"
_INSTANT = len(dates.FIRST)
_DAY = len("2026-11-22")
_MOMENT = timedelta(milliseconds=999)
_WHOLE_DAY = timedelta(days=1) - timedelta(milliseconds=1)

# The first of these that a type has tells when its care took place. `date` of a MedicationRequest is about single doses.
CARE = (
    "authoredon", "date", "onset-date", "occurrence", "effective-time", "effective", "whenhandedover", "started", "collected",
    "period", "issued", "created", "authored-on", "context-period", "authored", "sent", "start-date", "datetime", "datewritten",
    "identified", "recorded",
)  # fmt: skip
# The first of these that a type has says what the care was.
_CODES = ("code", "vaccine-code", "type")
# What kind of care it was. A patient has many of each, and all of a type too many to be listed together.
_CATEGORY = "category"
# Nearly every event of the trail has the same type; and of what takes a period each entry is two.
_WITHOUT_CODE = frozenset({"Account", "AuditEvent", "Encounter", "EpisodeOfCare"})


class Texts(NamedTuple):
    """What a resource sorts by in each direction."""

    oldest_first: str
    newest_first: str


@cache
def care_parameter(resource_type: str) -> SearchParameter | None:
    """The date parameter by which resources of a type of the Patient compartment are in clinical order; None for other types."""
    if resource_type not in compartment_parameters("Patient"):
        return None
    own = search_parameters(resource_type)
    return next((own[code] for code in CARE if code in own and own[code].type == "date"), None)


@cache
def code_parameter(resource_type: str) -> SearchParameter | None:
    """The token parameter whose entries are in clinical order, too; None for types that have none, or no care date."""
    if care_parameter(resource_type) is None or resource_type in _WITHOUT_CODE:
        return None
    own = search_parameters(resource_type)
    return next((own[code] for code in _CODES if code in own and own[code].type == "token"), None)


@cache
def category_parameter(resource_type: str) -> SearchParameter | None:
    """The token parameter whose values have entries of each patient in clinical order, too; None for types without it, or without a care date."""
    found = search_parameters(resource_type).get(_CATEGORY) if care_parameter(resource_type) else None
    return found if found is not None and found.type == "token" else None


def texts(periods: Iterable[tuple[str, str]]) -> Texts | None:
    """What values (first and last instant, inclusive) sort by, of whichever is the earlier; None where there are none."""
    # A period may end on a day that begins before its first moment does.
    spans = [(min(period), max(period)) for period in periods]
    if not spans:
        return None
    if len(spans) == 1 and (simple := _simple(*spans[0])):
        return Texts(simple, simple)
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    return Texts(f"{first}-{last}", last + END)


def _simple(first: str, last: str) -> str | None:
    """The text of a moment or of a day; None for longer periods."""
    width = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    if width <= _MOMENT:
        return first
    if width == _WHOLE_DAY and first[_DAY:] == "T00:00:00.000Z":
        return first[:_DAY]
    return None


def of_resource(resource: dict[str, Any], parameter: SearchParameter) -> Texts:
    """What a resource sorts by for a date parameter."""
    found = extract.values(resource, parameter)
    return texts(period for item in found for period in extract.periods(*item)) or Texts(NONE, NONE)


def codes_of(resource: dict[str, Any], parameter: SearchParameter) -> tuple[tuple[str, str], ...]:
    """(system, code) of what the care was, or of what kind: the tokens of `code_parameter` or `category_parameter`, as the resource has them."""
    return tuple(pair for item in extract.values(resource, parameter) for pair in extract.tokens(*item))


def counted_code(resource: dict[str, Any]) -> tuple[str, str, str] | None:
    """The parameter, the code (case folded) and its system under which counts know a resource: one of those of `code_parameter`, the same
    each time. None where it has none."""
    parameter = code_parameter(resource["resourceType"])
    codes = [(code.casefold(), system) for system, code in codes_of(resource, parameter) if code] if parameter else []
    return (parameter.code, *min(codes)) if parameter and codes else None


def sorts(found: Texts) -> tuple[str, ...]:
    """What the index is to hold of a resource: one entry or two."""
    first, last = found
    if first == last:
        return (first,)
    return (LONG + first if later(first[:_INSTANT], days=1) < last else first, last)


def later(instant: str, *, days: int = 0, seconds: int = 0) -> str:
    """An instant so much later, or earlier where the numbers are negative; at most the first or last one that there is."""
    try:
        return dates.text(datetime.fromisoformat(instant) + timedelta(days=days, seconds=seconds))
    except OverflowError:
        return dates.FIRST if days < 0 or seconds < 0 else dates.LAST


def may_reach(text: str, first: str) -> bool:
    """Whether what has a text of an entry may have ended at the instant `first` or later."""
    if text.endswith(END):
        return text[:-1] >= first
    if len(text) == _DAY:
        return text >= first[:_DAY]
    if len(text) == _INSTANT:
        return text >= later(first, seconds=-1)
    return text[_INSTANT + 1 :] >= first


def is_period(text: str) -> bool:
    """Whether a text is that of a period, oldest first."""
    return len(text) > _INSTANT + 1


def end_of(text: str) -> str:
    """The text, newest first, of a period by its text, oldest first."""
    return text[_INSTANT + 1 :] + END
