"""What a request of `$set-accounts` asks for: its Parameters, read and checked. Semantics, section 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.errors import BadRequest, Issue, Unprocessable
from bulkhead.fhir import dates, definitions
from bulkhead.operations.parameters import fault

ACCOUNTS, PROPAGATE, UNTIL, INHERIT, PREVIEW = "accounts", "propagate", "until", "inherit", "preview"
NAMES = (ACCOUNTS, PROPAGATE, UNTIL, INHERIT, PREVIEW)
ACCOUNT = "account"

_REFERENCE = re.compile(r"([A-Za-z]+)/[A-Za-z0-9\-.]{1,64}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PARTS = {"resourceType", "id", "meta", "implicitRules", "language", "parameter"}
_PARAMETER_PARTS = {"id", "extension", "name", "_name"}
_END_TYPES = ("valueInstant", "valueDateTime")

Named = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What the Parameters ask for.

    `accounts` in their order, each once; `ends` are the instants of those that end. `propagate`: whether the compartment gets them
    too. `inherit`: whether the target inherits from others; None leaves it as it is. `preview`: nothing is to be written.
    """

    accounts: tuple[str, ...]
    propagate: bool = False
    ends: Mapping[str, str] = field(default_factory=dict)
    inherit: bool | None = None
    preview: bool = False


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    accounts: dict[str, str | None] = field(default_factory=dict)
    """Each account with an end of its own, if it has one."""
    places: dict[str, str] = field(default_factory=dict)
    """By account, the place of its end."""
    flags: dict[str, bool] = field(default_factory=dict)
    until: str | None = None
    number: int = 0


def parse(parameters: Any, account_limit: int) -> Request:
    """The request that a Parameters resource makes; one without `accounts` clears them.

    BadRequest with an issue for each fault, at the parameter that it is in; Unprocessable for an end that is in the past.
    """
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise BadRequest("the body must be a Parameters resource", "Parameters")
    given = parameters.get("parameter", [])
    if not isinstance(given, list):
        raise BadRequest("must be a list", "Parameters.parameter")
    faults = [fault(f"Parameters has no {name}", "Parameters") for name in sorted(parameters.keys() - _PARTS)]
    found = _Found()
    for position, parameter in enumerate(given):
        try:
            _take(found, parameter, f"Parameters.parameter[{position}]")
        except BadRequest as error:
            faults += error.issues
    if found.number > account_limit:
        faults.append(fault(f"at most {account_limit} accounts may be given", "Parameters.parameter"))
    if faults:
        raise BadRequest(faults[0].diagnostics, issues=faults)
    ends = {account: end for account, own in found.accounts.items() if (end := own or found.until)}
    _require_future(ends, found.places)
    flags = found.flags
    return Request(
        tuple(found.accounts), flags.get(PROPAGATE, False), ends, flags.get(INHERIT), flags.get(PREVIEW, False)
    )


def _take(found: _Found, parameter: Any, place: str) -> None:
    """Read one parameter. BadRequest."""
    name = parameter.get("name") if isinstance(parameter, dict) else None
    if name == ACCOUNTS:
        found.number += 1
        account, end = _account(parameter, place)
        if account in found.accounts and found.accounts[account] != end:
            raise BadRequest("the account is given twice, with different ends", place)
        found.accounts[account] = end
        found.places[account] = place
    elif name == UNTIL:
        _require_once(first=found.until is None, name=UNTIL, place=place)
        found.until = _end(parameter, place)
    elif name in (PROPAGATE, INHERIT, PREVIEW):
        _require_once(first=name not in found.flags, name=name, place=place)
        found.flags[name] = _flag(parameter, place)
    else:
        known = ", ".join(NAMES)
        if not isinstance(name, str):
            raise BadRequest(f"a parameter of $set-accounts must have one of the names {known}", f"{place}.name")
        raise BadRequest(f"$set-accounts has no parameter {name}, only {known}", f"{place}.name")


def _require_once(*, first: bool, name: str, place: str) -> None:
    if not first:
        raise BadRequest(f"{name} may be given only once", place)


def _require_future(ends: Mapping[str, str], places: Mapping[str, str]) -> None:
    now = dates.now()
    text = "the end of an account is in the past: leave the account out to take it away now"
    if past := [Issue(Unprocessable.code, text, places[account]) for account, end in ends.items() if end <= now]:
        raise Unprocessable(text, issues=past)


def _value(parameter: Named, names: tuple[str, ...], place: str) -> Any:
    """The parameter's value, which must have one of `names` and be all that there is."""
    there = [name for name in names if name in parameter]
    others = parameter.keys() - _PARAMETER_PARTS - {part for name in there for part in (name, f"_{name}")}
    if len(there) != 1 or others:
        raise BadRequest(
            f"{parameter['name']} must have a {' or '.join(names)} and nothing else", f"{place}.{names[0]}"
        )
    return parameter[there[0]]


def _account(parameter: Named, place: str) -> tuple[str, str | None]:
    """An account, and its own end: a valueReference, or parts."""
    if "part" not in parameter:
        return _reference(parameter, place), None
    parts = _value(parameter, ("part",), place)
    read: dict[str, Callable[[Named, str], str]] = {ACCOUNT: _reference, UNTIL: _end}
    found: dict[str, str] = {}
    for n, part in enumerate(parts if isinstance(parts, list) else [None]):
        where = f"{place}.part[{n}]"
        name = part.get("name") if isinstance(part, dict) else None
        if name not in read:
            raise BadRequest("accounts has only the parts account and until", f"{where}.name")
        _require_once(first=name not in found, name=name, place=where)
        found[name] = read[name](part, where)
    if ACCOUNT not in found:
        raise BadRequest("accounts with parts must have one that is named account", f"{place}.part")
    return found[ACCOUNT], found.get(UNTIL)


def _reference(parameter: Named, place: str) -> str:
    value = _value(parameter, ("valueReference",), place)
    reference = value.get("reference") if isinstance(value, dict) else None
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if reference is None or match is None or match[1] not in definitions.RESOURCE_TYPES:
        raise BadRequest(
            "accounts must be literal references, Type/id, on this server", f"{place}.valueReference.reference"
        )
    return str(reference)


def _end(parameter: Named, place: str) -> str:
    value = _value(parameter, _END_TYPES, place)
    if not (isinstance(value, str) and _INSTANT.fullmatch(value)):
        raise BadRequest("until must be an instant with a time zone, such as 2027-01-31T12:00:00Z", place)
    try:
        return dates.bounds(value)[0]
    except BadRequest as error:
        raise BadRequest(f"until is {error}", place) from None


def _flag(parameter: Named, place: str) -> bool:
    value = _value(parameter, ("valueBoolean",), place)
    if not isinstance(value, bool):
        raise BadRequest(f"{parameter['name']} must be true or false", f"{place}.valueBoolean")
    return value
