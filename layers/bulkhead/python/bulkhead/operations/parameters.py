"""The Parameters that an operation is called with (R4 parameters.html): names, the member that has the value, and how often each may come."""

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
    """What an operation takes under one name: the `member` that holds the value, and whether it may be `repeated`."""

    member: str
    repeated: bool = False


def read(body: dict[str, Any], operation: str, taken: Mapping[str, Taken]) -> dict[str, list[Given]]:
    """The parameters of a call of `operation` by their names; [] for one that is not given.

    BadRequest (InvalidResource for a body that is no valid Parameters), with an issue at each fault: a name that is not in `taken`, a
    value of another type, a parameter that is given twice.
    """
    validation.check(body, "Parameters")
    found: dict[str, list[Given]] = {name: [] for name in taken}
    faults: list[Issue] = []
    for n, item in enumerate(body.get("parameter", ())):
        name, place = item["name"], f"Parameters.parameter[{n}]"
        if name not in taken:
            faults.append(_fault(f"{operation} has no parameter {name[:64]}; it takes {', '.join(taken)}", place))
        elif taken[name].member not in item:
            faults.append(_fault(f"{name} must have its value in {taken[name].member}", place))
        elif found[name] and not taken[name].repeated:
            faults.append(_fault(f"{name} may be given only once", place))
        else:
            found[name].append(Given(item[taken[name].member], f"{place}.{taken[name].member}"))
    if faults:
        raise BadRequest(faults[0].diagnostics, issues=faults)
    return found


def _fault(text: str, place: str) -> Issue:
    return Issue(BadRequest.code, text, place)
