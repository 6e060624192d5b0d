"""The route table as an OpenAPI 3.1 document: it contains each route by construction; a table here has the descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bulkhead.api.formats import FHIR_TYPES
from bulkhead.api.routes import BASE, DEFAULT, Route
from bulkhead.fhir import definitions
from bulkhead.version import VERSION

_VARIABLE = re.compile(r"\{(\w+)\}")


class Words(NamedTuple):
    """The description of an operation; `body` and `gives` are names of schemas. `later`: accepts `Prefer: respond-async`."""

    tag: str
    summary: str
    body: str | None = None
    gives: str = "Resource"
    query: tuple[str, ...] = ()
    later: bool = False


_PAGING = ("_count", "_format", "_pretty")
_SEARCH = ("_id", "_lastUpdated", "_sort", "_include", "_revinclude", "_total", "_account", "_compartment", *_PAGING)
_HISTORY = ("_since", "_at", *_PAGING)
WORDS: Mapping[str, Words] = {
    "bundle": Words("Bundles", "A batch or a transaction of any size, all or nothing; `Prefer: respond-async` answers later",
                    "BundleOrUpload", "Bundle", later=True),
    "upload": Words("Bundles", "Where to upload a Bundle that is too large for a request", gives="Parameters"),
    "search": Words("Search", "Resources of a type; every R4 search parameter of the type may be added", None, "Bundle", _SEARCH),
    "system": Words("Search", "Resources of the types that `_type` names", None, "Bundle", ("_type", *_SEARCH)),
    "compartment": Words("Compartments", "Members of a compartment: a type, or * for all", None, "Bundle", _SEARCH),
    "create": Words("Resources", "Create; `If-None-Exist` makes it conditional", "Resource"),
    "read": Words("Resources", "Read the current version", query=("_format", "_pretty")),
    "vread": Words("Resources", "Read one version", query=("_format", "_pretty")),
    "update": Words("Resources", "Update, or create under this id; `If-Match` guards", "Resource"),
    "patch": Words("Resources", "Change parts by JSON Patch, FHIRPath Patch or JSON Merge Patch", "Resource"),
    "delete": Words("Resources", "Delete", gives=""),
    "conditional-update": Words("Resources", "Update the one resource that meets the criteria in the query, or create it", "Resource"),
    "conditional-patch": Words("Resources", "Patch the one resource that meets the criteria in the query", "Resource"),
    "conditional-delete": Words("Resources", "Delete what meets the criteria in the query", gives=""),
    "history": Words("History", "Versions, newest first", None, "Bundle", _HISTORY),
    "type-history": Words("History", "Versions of all resources of a type", None, "Bundle", _HISTORY),
    "system-history": Words("History", "Versions of all resources", None, "Bundle", _HISTORY),
    "set-accounts": Words("Accounts", "Set a resource's accounts, and propagate them to its compartment", "Parameters", "Parameters",
                          later=True),
    "explain-access": Words("Accounts", "Who can see a resource, and why; with claims of a token, what it may do", None, "Parameters",
                            ("scope", "accounts", "patient", "_format", "_pretty")),
    "purge": Words("Operations", "Erase a resource for good, and with `compartment` what is its patient's alone", "Parameters",
                   "Parameters", later=True),
    "everything": Words("Operations", "A patient or encounter, its compartment, and what these refer to", None, "Bundle",
                        ("_since", "_type", "start", "end", *_PAGING)),
    "lastn": Words("Operations", "The latest results of a patient, by what was observed", "Parameters", "Bundle",
                   ("patient", "subject", "category", "code", "max", "_format", "_pretty")),
    "document-new": Words("Care", "A document: a Binary, a DocumentReference, perhaps a Provenance, all or nothing", "Bundle", "Bundle"),
    "document-update": Words("Care", "A document that replaces another: the old one superseded, the new one, all or nothing", "Bundle", "Bundle"),
    "merge-bundle": Words("Care", "A merge that an identity source has made: both Patients, all or nothing", "Bundle", "Bundle"),
    "merge": Words("Care", "Merge one Patient into another; `preview` changes nothing", "Parameters", "Parameters"),
    "find-list": Words("Operations", "The List that serves a purpose for a patient, such as $current-medications", "Parameters", "Resource",
                       ("patient", "name", "_format", "_pretty")),
    "meta": Words("Operations", "Profiles, tags and security labels", None, "Parameters"),
    "meta-add": Words("Operations", "Add profiles, tags and security labels", "Parameters", "Parameters"),
    "meta-delete": Words("Operations", "Remove profiles, tags and security labels", "Parameters", "Parameters"),
    "validate": Words("Operations", "Validate a resource: the response lists every fault", "Resource", "OperationOutcome", ("mode", "profile")),
    "jobs": Words("Jobs", "Your own jobs, the newest first", None, "Bundle", _PAGING),
    "status": Words("Jobs", "The progress of a job, and its result", None, "Bundle"),
    "cancel": Words("Jobs", "Stop a job", gives=""),
    "metadata": Words("Server", "The CapabilityStatement", query=("mode", "_format", "_pretty")),
    "operation-definition": Words("Server", "The definition of an operation of this server"),
    "smart-configuration": Words("Server", "The issuer of accepted tokens (SMART App Launch 2)", gives="object"),
    "openapi": Words("Server", "This document", gives="object"),
    "docs": Words("Server", "A page to try the API", gives="text"),
    "console": Words("Server", "A page that shows who can see a record, and why", gives="text"),
    "console-file": Words("Server", "A file of that page", gives="text"),
}  # fmt: skip


_WRITTEN = {"200": "Done", "201": "Created"}
_KEPT = {"200": "Done", "304": "The client has it already: `If-None-Match`, `If-Modified-Since`"}
_STATUSES: Mapping[str, Mapping[str, str]] = {
    "create": {"201": "Created", "200": "`If-None-Exist` has found this one"},
    "update": _WRITTEN,
    "conditional-update": _WRITTEN,
    "delete": {"204": "Deleted, or nothing to delete"},
    "conditional-delete": {"204": "Deleted, or nothing to delete"},
    "read": _KEPT,
    **dict.fromkeys(("metadata", "operation-definition", "smart-configuration", "openapi", "docs", "console"), _KEPT),
    "console-file": {**_KEPT, "308": "The page is at /console"},
    "status": {"200": "Done", "202": "It is under way: X-Progress, Retry-After"},
    "cancel": {"202": "It stops; its status says when"},
}
"""The statuses of an operation that succeeds, where there are others than 200, each with what it means."""
_EMPTY = ("202", "204", "304", "308")
"""Of these, those that come without content."""

_PATCHES = {
    "application/json-patch+json": {"type": "array", "items": {"type": "object", "required": ["op", "path"]}},
    "application/merge-patch+json": {"type": "object"},
}


def document(routes: Iterable[Route], host: str, issuer: str) -> dict[str, Any]:
    """The document as plain JSON data, without HEAD. `host` is the server's URL without path; `issuer` is "" where no token is needed."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.path != DEFAULT and route.method != "HEAD":
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, secured=bool(issuer))
    components: dict[str, Any] = {
        "schemas": _schemas(),
        "responses": {"Error": _response("OperationOutcome", "Refused")},
    }
    if issuer:
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": f"Issued by {issuer}"}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bulkhead",
            "version": VERSION,
            "summary": "A FHIR R4 server built around compartments",
            "description": f"FHIR 4.0.1 below `{BASE}`. `{BASE}/metadata` lists every search parameter of every type.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": host}],
        "paths": paths,
        "components": components,
    }


def _operation(route: Route, *, secured: bool) -> dict[str, Any]:
    words = WORDS.get(route.operation) or Words("Others", route.operation.replace("-", " ").capitalize())
    found: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": words.summary,
        "tags": [words.tag],
        "parameters": [*_path_parameters(route.path), *(_query_parameter(name) for name in words.query)],
        "responses": {
            **{
                status: _response("" if status in _EMPTY else words.gives, meaning)
                for status, meaning in _STATUSES.get(route.operation, {"200": "Done"}).items()
            },
            "4XX": {"$ref": "#/components/responses/Error"},
        },
    }
    if route.path.endswith("/_search"):
        found["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}
    elif words.body and route.method != "GET":
        content = _in_each_format(words.body)
        if route.method == "PATCH":
            content |= {content_type: {"schema": schema} for content_type, schema in _PATCHES.items()}
        found["requestBody"] = {"required": True, "content": content}
    if words.later:
        found["parameters"].append({"name": "Prefer", "in": "header", "schema": {"type": "string"}})
        found["responses"]["202"] = _response("OperationOutcome", "Accepted; Content-Location is the job's status") | {
            "headers": {
                "Content-Location": {"schema": {"type": "string", "format": "uri"}},
                "X-Progress": {"schema": {"type": "string"}},
            }
        }
    if secured and not route.public:
        found["security"] = [{"token": []}]
    return found


def _identifier(route: Route) -> str:
    """A unique operationId for a route: `get_fhir_R4_type_id__history`."""
    return re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)} for name in _VARIABLE.findall(path)
    ]


def _path_schema(name: str) -> dict[str, Any]:
    if name == "type":
        return {"$ref": "#/components/schemas/Type"}
    if name == "id":
        return {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
    return {"type": "string"}


def _query_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 0} if name == "_count" else {"type": "string"}
    return {"name": name, "in": "query", "schema": schema}


def _response(gives: str, description: str) -> dict[str, Any]:
    if gives == "":
        return {"description": description}
    if gives == "text":
        return {"description": description, "content": {"text/html": {"schema": {"type": "string"}}}}
    if gives == "object":
        return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"description": description, "content": _in_each_format(gives)}


def _in_each_format(schema: str) -> dict[str, Any]:
    return {
        content_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for content_type in FHIR_TYPES.values()
    }


def _schemas() -> dict[str, Any]:
    return {
        "Type": {"type": "string", "enum": sorted(definitions.RESOURCE_TYPES)},
        "Resource": _resource_schema(None),
        **{name: _resource_schema(name) for name in ("Bundle", "Parameters", "OperationOutcome")},
        "BundleOrUpload": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Bundle", "Parameters")]},
    }


def _resource_schema(resource_type: str | None) -> dict[str, Any]:
    kind = {"const": resource_type} if resource_type else {"$ref": "#/components/schemas/Type"}
    return {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": kind, "id": {"type": "string"}, "meta": {"type": "object"}},
        "additionalProperties": True,
    }
