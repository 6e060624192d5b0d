"""The Parameters of an operation's call (R4 parameters.html): their names, the member with the value, and how often each may occur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.errors import BadRequest, Issue
from bulkhead.fhir import validation


@dataclass(frozen=True, slots=True)
class Given:
    """One parameter of a call. `place` is its path, such as `Parameters.parameter[2].valueReference`."""

    value: Any
    place: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A parameter that an operation accepts: the `member` that holds the value, and whether it may be `repeated`."""

    member: str
    repeated: bool = False


def read(body: dict[str, Any], operation: str, taken: Mapping[str, Taken]) -> dict[str, list[Given]]:
    """The parameters of a call of `operation` by name; [] for an absent one.

    BadRequest (InvalidResource for a body that is not a valid Parameters), with an issue for each fault: a name that is not in `taken`,
    a value of another type, a repeated parameter.
    """
    validation.check(body, "Parameters")
    found: dict[str, list[Given]] = {name: [] for name in taken}
    faults: list[Issue] = []
    for n, item in enumerate(body.get("parameter", ())):
        name, place = item["name"], f"Parameters.parameter[{n}]"
        if name not in taken:
            faults.append(fault(f"{operation} has no parameter {name[:64]}; it takes {', '.join(taken)}", place))
        elif taken[name].member not in item:
            faults.append(fault(f"{name} must have its value in {taken[name].member}", place))
        elif found[name] and not taken[name].repeated:
            faults.append(fault(f"{name} may occur only once", place))
        else:
            found[name].append(Given(item[taken[name].member], f"{place}.{taken[name].member}"))
    if faults:
        raise BadRequest(faults[0].diagnostics, issues=faults)
    return found


def fault(text: str, place: str) -> Issue:
    """The issue of a BadRequest about one place of the Parameters."""
    return Issue(BadRequest.code, text, place)
