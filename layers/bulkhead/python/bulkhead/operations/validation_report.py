"""`$validate` (R4 resource-operation-validate.html): every fault of a resource, and whether the caller could store it.

It reads and writes nothing: it judges only the request itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.compartments import compartment_definitions
from bulkhead.errors import BadRequest, Issue
from bulkhead.fhir import validation
from bulkhead.resources import preparation
from bulkhead.search import custom

MODES = {"create": policy.CREATE, "update": policy.UPDATE, "delete": policy.DELETE, "profile": None}
_PARAMETERS = {"resource": "resource", "mode": "valueCode", "profile": "valueUri"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The resource to validate, and the mode."""

    resource: Any = None
    mode: str | None = None
    profile: str | None = None


def parse(body: dict[str, Any] | None, query: Sequence[tuple[str, str]], resource_type: str) -> Asked:
    """The request: a resource alone, or Parameters that hold it; the URL may also have `mode` and `profile`.

    BadRequest for a mode that R4 does not have, for other parameters, and if there is nothing to validate.
    """
    given: dict[str, Any] = {name: text for name, text in query if name in ("mode", "profile") and text}
    if body is not None and _wraps(body, resource_type):
        given |= _unwrapped(body)
    elif body is not None:
        given["resource"] = body
    asked = Asked(given.get("resource"), given.get("mode"), given.get("profile"))
    if asked.mode is not None and asked.mode not in MODES:
        raise BadRequest("mode must be create, update, delete or profile", "mode")
    if asked.resource is None and asked.mode != "delete":
        raise BadRequest("the request must have a resource to validate", "resource")
    return asked


def _wraps(body: dict[str, Any], resource_type: str) -> bool:
    """Whether the body is the operation's Parameters, and not itself the resource to validate."""
    if body.get("resourceType") != "Parameters":
        return False
    listed = body.get("parameter")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return resource_type != "Parameters" or any(item.get("name") == "resource" for item in items)


def _unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    listed = body.get("parameter", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise BadRequest("parameter must be a list of objects", "Parameters.parameter")
    for n, item in enumerate(listed):
        place = f"Parameters.parameter[{n}]"
        name = item.get("name")
        if not isinstance(name, str) or name not in _PARAMETERS:
            raise BadRequest("$validate takes only the parameters resource, mode and profile", f"{place}.name")
        value = item.get(_PARAMETERS[name]) or (item.get("valueCanonical") if name == "profile" else None)
        if value is None or (name != "resource" and not isinstance(value, str)):
            raise BadRequest(f"{name} must have its value in {_PARAMETERS[name]}", place)
        if name in found:
            raise BadRequest(f"{name} may occur only once", place)
        found[name] = value
    return found


def issues(
    caller: Caller,
    resource_type: str,
    identifier: str | None,
    *,
    asked: Asked,
    base: str,
    look: compartment_definitions.Lookup,
) -> list[Issue]:
    """Every fault, and notes on what was not checked; [] if all is well.

    `identifier` is that of the URL if the operation is called on an instance; `base` is the URL of this server. `look` finds the search
    parameters of the project's own that a CompartmentDefinition names.
    """
    found: list[Issue] = []
    right = MODES[asked.mode] if asked.mode else None
    if right is not None and not policy.may(caller, right, resource_type):
        found.append(Issue("forbidden", f"the token's scopes do not let the caller {asked.mode} {resource_type}"))
    if asked.mode == "delete":
        if identifier is None:
            found.append(Issue("required", "mode delete needs an instance: call [type]/[id]/$validate", "mode"))
        return found
    invalid = validation.faults(asked.resource, resource_type, base=base)
    if not invalid:
        invalid = _unserved(asked.resource, resource_type, look)
    found += invalid
    if asked.mode == "update":
        found += _identity(asked.resource, resource_type, identifier)
    return found + _profiles(asked, resource_type)


def _unserved(resource: Any, resource_type: str, look: compartment_definitions.Lookup) -> list[Issue]:
    """Why a write of a valid resource would be refused, or what of it would have no effect."""
    if resource_type == compartment_definitions.TYPE:
        return list(compartment_definitions.faults(resource, look))
    if refused := preparation.unserved(resource):
        return refused
    return custom.unsupported(resource) if resource_type == preparation.SEARCH_PARAMETER else []


def _identity(resource: Any, resource_type: str, identifier: str | None) -> list[Issue]:
    given = resource.get("id") if isinstance(resource, dict) else None
    if given is None:
        return [Issue("required", "a resource in an update must have an id", f"{resource_type}.id")]
    if identifier is not None and given != identifier:
        return [Issue("value", "the resource's id must be the one of the URL", f"{resource_type}.id")]
    return []


def _profiles(asked: Asked, resource_type: str) -> list[Issue]:
    own = f"http://hl7.org/fhir/StructureDefinition/{resource_type}"
    if asked.profile is not None and asked.profile.partition("|")[0] != own:
        return [Issue("not-supported", f"the only profile that this server checks is {own}", "profile")]
    meta = asked.resource.get("meta") if isinstance(asked.resource, dict) else None
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    if isinstance(claimed, list) and any(profile != own for profile in claimed):
        return [
            Issue(
                "not-supported",
                "the profiles in the resource's meta.profile are not checked",
                f"{resource_type}.meta.profile",
                severity="information",
            )
        ]
    return []
