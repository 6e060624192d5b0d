"""The CapabilityStatement of this server (R4 capabilitystatement.html), made from the tables that serve requests.

Interactions and operations come from the routes, search parameters from the tables that parse searches, so that
the statement is true by construction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.operations import operation_definitions
from bulkhead.operations.operation_definitions import Operation, Served
from bulkhead.search import parse
from bulkhead.version import RELEASED, VERSION

_INSTANCE = "{type}/{id}"
# The request for each interaction, by R4's code.
_TYPE_INTERACTIONS: Mapping[str, tuple[str, str]] = {
    "read": ("GET", _INSTANCE),
    "vread": ("GET", f"{_INSTANCE}/_history/{{version}}"),
    "update": ("PUT", _INSTANCE),
    "patch": ("PATCH", _INSTANCE),
    "delete": ("DELETE", _INSTANCE),
    "history-instance": ("GET", f"{_INSTANCE}/_history"),
    "history-type": ("GET", "{type}/_history"),
    "create": ("POST", "{type}"),
    "search-type": ("GET", "{type}"),
}
_SYSTEM_INTERACTIONS: Mapping[str, tuple[str, str]] = {
    "transaction": ("POST", ""),
    "batch": ("POST", ""),
    "search-system": ("GET", ""),
    "history-system": ("GET", "_history"),
}
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SHARED = "A shared type: every token whose scopes allow it reads what carries no account."
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


@dataclass(frozen=True, slots=True)
class Server:
    """Facts about the server that only the edge knows."""

    base: str
    served: Served
    formats: tuple[str, ...]
    patch_formats: tuple[str, ...]
    conditional_read: str
    """not-supported, modified-since, not-match or full-support."""
    conditional_delete: str
    """single or multiple, where conditional deletes are served."""
    authorization: Mapping[str, str] | None
    """The URLs of the authorization server as `authorize` and `token`; None where no token is needed."""
    shared_types: frozenset[str]
    """Types of which every caller reads what carries no account, if its scopes allow the type."""


def statement(server: Server, compartments: Sequence[str]) -> dict[str, Any]:
    """The CapabilityStatement of this server, as plain JSON data. `compartments` are the URLs of the definitions in force."""
    operations = operation_definitions.offered(server.served)
    pointing = _pointing()
    return {
        "resourceType": "CapabilityStatement",
        "id": "bulkhead",
        "url": f"{server.base}/metadata",
        "version": VERSION,
        "name": "Bulkhead",
        "title": "Bulkhead, a serverless FHIR R4 server",
        "status": "active",
        "date": RELEASED,
        "publisher": "Bulkhead",
        "kind": "instance",
        "software": {"name": "Bulkhead", "version": VERSION, "releaseDate": RELEASED},
        "implementation": {"description": "Bulkhead, a FHIR R4 server built around compartments", "url": server.base},
        "fhirVersion": "4.0.1",
        "format": list(server.formats),
        **({"patchFormat": list(server.patch_formats)} if server.patch_formats else {}),
        "rest": [
            {
                "mode": "server",
                "security": _security(server.authorization),
                **_shared(server.shared_types),
                "resource": [
                    _resource(resource_type, server, operations, pointing=pointing.get(resource_type, ()))
                    for resource_type in sorted(definitions.RESOURCE_TYPES)
                ],
                "interaction": _interactions(_SYSTEM_INTERACTIONS, server.served),
                "searchParam": _search_parameters(()),
                **_offered(server.base, [operation for operation in operations if operation.system]),
                **({"compartment": list(compartments)} if compartments else {}),
            }
        ],
    }


def terminology(base: str) -> dict[str, Any]:
    """The TerminologyCapabilities (`mode=terminology`): this server has no terminology service."""
    return {
        "resourceType": "TerminologyCapabilities",
        "id": "bulkhead",
        "url": f"{base}/metadata?mode=terminology",
        "version": VERSION,
        "name": "BulkheadTerminology",
        "status": "active",
        "date": RELEASED,
        "kind": "instance",
        "software": {"name": "Bulkhead", "version": VERSION},
        "implementation": {"description": "Bulkhead has no terminology service", "url": base},
    }


def _security(authorization: Mapping[str, str] | None) -> dict[str, Any]:
    if authorization is None:
        return {"cors": True, "description": "The server needs no token."}
    found: dict[str, Any] = {
        "cors": True,
        "service": [{"coding": [{"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART App Launch 2"}],
        "description": "Requests need a bearer token of the issuer in .well-known/smart-configuration.",
    }
    uris = [{"url": name, "valueUri": uri} for name, uri in authorization.items() if uri]
    return found | ({"extension": [{"url": _OAUTH_URIS, "extension": uris}]} if uris else {})


def _shared(types: Collection[str]) -> dict[str, str]:
    """What a reader of the statement is told of shared types; each of them says so itself, too."""
    if not types:
        return {}
    return {
        "documentation": f"Every token whose scopes allow the type reads what carries no account of: {', '.join(sorted(types))}."
    }


def _interactions(kinds: Mapping[str, tuple[str, str]], served: Served) -> list[dict[str, str]]:
    return [{"code": code} for code, request in kinds.items() if request in served]


def _resource(
    resource_type: str, server: Server, operations: Sequence[Operation], *, pointing: Sequence[str]
) -> dict[str, Any]:
    """One type: `pointing` are the parameters of all types that can point at it."""
    served = server.served
    own = [parameter for parameter in _answered(resource_type) if parameter.type == "reference"]
    includes = [f"{resource_type}:{parameter.code}" for parameter in own if not parameter.code.startswith("_")]
    offered = [operation for operation in operations if operation.on(resource_type)]
    found: dict[str, Any] = {
        "type": resource_type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{resource_type}",
        **({"documentation": _SHARED} if resource_type in server.shared_types else {}),
        "interaction": _interactions(_TYPE_INTERACTIONS, served),
        "versioning": "versioned",
        "readHistory": _TYPE_INTERACTIONS["vread"] in served,
        "updateCreate": _TYPE_INTERACTIONS["update"] in served,
        "conditionalCreate": _TYPE_INTERACTIONS["create"] in served,
        "conditionalRead": server.conditional_read,
        "conditionalUpdate": ("PUT", "{type}") in served,
        "conditionalDelete": server.conditional_delete if ("DELETE", "{type}") in served else "not-supported",
        "referencePolicy": ["literal", "logical"],
        "searchInclude": ["*", *includes],
        "searchRevInclude": list(pointing),
        "searchParam": _search_parameters((resource_type,)),
        **_offered(server.base, offered),
    }
    return {name: value for name, value in found.items() if value != []}


def _offered(base: str, operations: Sequence[Operation]) -> dict[str, Any]:
    listed = [{"name": each.code, "definition": operation_definitions.url(base, each)} for each in operations]
    return {"operation": listed} if listed else {}


def _answered(resource_type: str) -> list[SearchParameter]:
    """The R4 parameters that a search of the type accepts."""
    own = definitions.search_parameters(resource_type)
    return [own[code] for code in sorted(own) if code not in parse.REFUSED]


def _search_parameters(types: tuple[str, ...]) -> list[dict[str, str]]:
    """The parameters that a search accepts: of one type, or of the whole system."""
    known = {**parse.common(types), "_account": parse.ACCOUNT, "_compartment": parse.COMPARTMENT}
    return [
        {"name": code, **({"definition": known[code].url} if known[code].url else {}), "type": known[code].type}
        for code in sorted(known)
        if code not in parse.REFUSED
    ]


def _pointing() -> Mapping[str, Sequence[str]]:
    """By resource type, the `Type:parameter` of every reference parameter that may point at it: for `_revinclude`."""
    found: dict[str, list[str]] = {}
    for source in sorted(definitions.RESOURCE_TYPES):
        for parameter in _answered(source):
            if parameter.type == "reference" and not parameter.code.startswith("_"):
                for target in parameter.targets or definitions.RESOURCE_TYPES:
                    found.setdefault(target, []).append(f"{source}:{parameter.code}")
    return found
