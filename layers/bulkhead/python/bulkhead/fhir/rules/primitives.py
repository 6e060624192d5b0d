"""Rules for primitive values in JSON (R4 datatypes.html): JSON type, lexical form, range, calendar.

No message repeats the value, because it may be patient data.
"""

from __future__ import annotations

import binascii
import re
from calendar import isleap
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from bulkhead.fhir import definitions
from bulkhead.fhir.rules.faults import CODE_INVALID, INVARIANT, STRUCTURE, VALUE, Fault, Faults, Rule, Scope
from bulkhead.fhir.rules.narrative import narrative_fault

MAXIMUM_STRING_LENGTH = 1024 * 1024
MAXIMUM_EXPONENT = 1000
"""The largest power of ten in a decimal: arithmetic on larger numbers would exhaust the memory."""

_MAXIMUM_INTEGER = 2**31 - 1
_SMALLEST = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

_FORMS = {
    "date": "a date (YYYY, YYYY-MM or YYYY-MM-DD)",
    "dateTime": "a dateTime (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz)",
    "instant": "an instant (YYYY-MM-DDThh:mm:ss.sss+zz:zz)",
    "time": "a time (hh:mm:ss)",
    "id": "an id (1 to 64 letters, digits, '-' and '.')",
    "code": "a code (only single spaces, and none at the ends)",
    "oid": "an oid (urn:oid:...)",
    "uuid": "a uuid (urn:uuid: and lower-case digits)",
    "uri": "a uri (not empty, without spaces)",
    "url": "a url (not empty, without spaces)",
    "canonical": "a canonical url (not empty, without spaces)",
}
_DATED = frozenset({"date", "dateTime", "instant"})
_SPACELESS = frozenset({"code", "uri", "url", "canonical"})

_NOT_A_STRING = [Fault(STRUCTURE, "must be a JSON string")]
NULL_MESSAGE = "must not be null"
_NULL = [Fault(STRUCTURE, NULL_MESSAGE)]
_EMPTY = [Fault(VALUE, "must not be empty")]
_CONTROLLED = [Fault(VALUE, "must not contain control characters")]
_BLANK = [Fault(VALUE, "must not be only whitespace")]


@cache
def primitive_rule(type_code: str) -> Rule:
    """The rule for one value of a primitive type."""
    if type_code == "boolean":
        return _boolean
    if type_code == "decimal":
        return _decimal
    if type_code in _SMALLEST:
        return _integer_rule(_SMALLEST[type_code])
    if type_code in ("string", "markdown"):
        return _string
    if type_code == "base64Binary":
        return _base64
    if type_code == "xhtml":
        return _xhtml
    return _pattern_rule(type_code)


def element_id(value: Any, scope: Scope) -> Faults | None:
    """The rule for the id of an element (R4 element.html): a string without spaces, unique within a resource."""
    found = _string(value, scope)
    if found:
        return found
    if any(character.isspace() for character in value):
        return [Fault(VALUE, "must not contain spaces")]
    if value in scope.ids:
        return [Fault(INVARIANT, "another element of the resource has this id")]
    scope.ids.add(value)
    return None


def bound_code_rule(value_set: str) -> Rule:
    """The rule for a `code` with a required binding to an enumerable value set."""
    codes = definitions.value_set_codes(value_set)
    fault = [Fault(CODE_INVALID, f"the code is not in the required value set {value_set}")]

    def check(value: Any, _: Scope) -> Faults | None:
        if type(value) is str:
            return None if value in codes else fault
        return _not_a_string(value)

    return check


def _not_a_string(value: Any) -> Faults:
    return _NULL if value is None else _NOT_A_STRING


def _boolean(value: Any, _: Scope) -> Faults | None:
    if type(value) is bool:
        return None
    return _NULL if value is None else [Fault(STRUCTURE, "must be true or false, without quotes")]


def _decimal(value: Any, _: Scope) -> Faults | None:
    kind = type(value)
    if kind is int:
        return None
    if kind is float or isinstance(value, Decimal):
        number = Decimal(value)
        if number.is_finite() and -MAXIMUM_EXPONENT <= number.adjusted() <= MAXIMUM_EXPONENT:
            return None
        return [Fault(VALUE, "the number is too large or too small")]
    return _NULL if value is None else [Fault(STRUCTURE, "must be a JSON number")]


def _integer_rule(smallest: int) -> Rule:
    def check(value: Any, _: Scope) -> Faults | None:
        if type(value) is int:
            if smallest <= value <= _MAXIMUM_INTEGER:
                return None
            return [Fault(VALUE, f"must be from {smallest} to {_MAXIMUM_INTEGER}")]
        if isinstance(value, Decimal):
            return [Fault(VALUE, "must be an integer, without point or exponent")]
        return _NULL if value is None else [Fault(STRUCTURE, "must be a JSON number")]

    return check


def _string(value: Any, _: Scope) -> Faults | None:
    if type(value) is not str:
        return _not_a_string(value)
    if not value:
        return _EMPTY
    if value[0] == " " and value.isspace():
        return _BLANK
    if len(value) > MAXIMUM_STRING_LENGTH:
        return [Fault(VALUE, f"must not be longer than {MAXIMUM_STRING_LENGTH} characters")]
    # isprintable() decides nearly every string at a third of the cost of the expression.
    if value.isprintable():
        return None
    if value.isspace():
        return _BLANK
    if _CONTROL_CHARACTER.search(value):
        return _CONTROLLED
    return None


def _base64(value: Any, _: Scope) -> Faults | None:
    if type(value) is not str:
        return _not_a_string(value)
    try:
        decoded = binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except ValueError:
        return [Fault(VALUE, "is not base64")]
    return None if decoded else _EMPTY


def _xhtml(value: Any, _: Scope) -> Faults | None:
    if type(value) is not str:
        return _not_a_string(value)
    message = narrative_fault(value)
    return [Fault(VALUE, message)] if message else None


def _pattern_rule(type_code: str) -> Rule:
    matches = _matcher(type_code)
    fault = [Fault(VALUE, f"is not {_FORMS[type_code]}")]
    dated, spaceless = type_code in _DATED, type_code in _SPACELESS

    def check(value: Any, _: Scope) -> Faults | None:
        if type(value) is not str:
            return _not_a_string(value)
        if not value:
            return _EMPTY
        # This gives the same answer as the expression for nearly every code and uri, at a third of its cost.
        if spaceless and value.isprintable() and " " not in value:
            return None
        if not matches(value):
            return fault
        if spaceless and _CONTROL_CHARACTER.search(value):
            return _CONTROLLED
        if dated and value[8:10] > "28" and not _in_calendar(value):
            return [Fault(VALUE, "is not a date in the calendar")]
        return None

    return check


def _matcher(type_code: str) -> Callable[[str], re.Match[str] | None]:
    # Capturing groups would take half of the time that a dateTime needs.
    return re.compile(definitions.PRIMITIVES[type_code].replace("(", "(?:")).fullmatch


def _in_calendar(value: str) -> bool:
    """Whether the calendar has the date. The form is right and the day is from 29 to 31."""
    month, day = value[5:7], value[8:10]
    if month == "02":
        return day == "29" and isleap(int(value[:4]))
    return day != "31" or month in ("01", "03", "05", "07", "08", "10", "12")
