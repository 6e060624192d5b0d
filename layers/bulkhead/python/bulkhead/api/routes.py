"""The route table: every path of the API, with its function and operation. CDK, the local server and the handlers all read it.

`function` is a folder below functions/; `operation` is the Router's name for the route.
Paths are API Gateway's (HTTP API): a literal segment wins over a variable one.

API Gateway gets the coarser `GATEWAY`: it accepts no `$` in a route key, and treats `%24` as a different literal. So the operations
at one place share a route and a function, and the Router, which reads `ROUTES`, tells them apart.
"""

from __future__ import annotations

from typing import NamedTuple

BASE = "/fhir/R4"


class Route(NamedTuple):
    """One route key of the HTTP API."""

    method: str
    path: str
    function: str
    operation: str
    public: bool = False

    @property
    def key(self) -> str:
        """API Gateway's route key, such as `GET /fhir/R4/{type}/{id}`."""
        return self.path if self.path == DEFAULT else f"{self.method} {self.path}"


DEFAULT = "$default"
SERVICE = f"{BASE}/service/"
"""Below this, paths are no resources."""

# The OperationDefinitions that the server publishes: operation_definitions.BY_ID. A test holds the two equal.
OPERATION_DEFINITIONS = (
    "bulkhead-set-accounts",
    "bulkhead-purge",
    "bulkhead-explain-access",
    "bulkhead-validate",
    "bulkhead-patient-everything",
    "bulkhead-encounter-everything",
    "bulkhead-lastn",
    "bulkhead-meta",
    "bulkhead-meta-add",
    "bulkhead-meta-delete",
    "bulkhead-upload",
    "bulkhead-list-find",
    "bulkhead-patient-merge",
    "bulkhead-patient-merge-bundle",
    "bulkhead-document-new",
    "bulkhead-document-update",
)

_OPERATIONS: tuple[Route, ...] = (
    Route("POST", BASE, "bundles", "bundle"),
    Route("POST", f"{BASE}/$upload", "resources", "upload"),
    # The paths below service/ and the system operations are the same: OperationDefinitions can name the second only.
    Route("POST", f"{SERVICE}document/new", "bundles", "document-new"),
    Route("POST", f"{SERVICE}document/update", "bundles", "document-update"),
    Route("POST", f"{SERVICE}patient/merge", "bundles", "merge-bundle"),
    Route("POST", f"{BASE}/$document-new", "resources", "document-new"),
    Route("POST", f"{BASE}/$document-update", "resources", "document-update"),
    Route("POST", f"{BASE}/$patient-merge", "resources", "merge-bundle"),
    Route("POST", f"{BASE}/{{type}}/$merge", "operations", "merge"),
    Route("GET", BASE, "search", "system"),
    Route("POST", f"{BASE}/_search", "search", "system"),
    Route("GET", f"{BASE}/{{type}}", "search", "search"),
    Route("POST", f"{BASE}/{{type}}/_search", "search", "search"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/{{member}}", "search", "compartment"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/{{member}}/_search", "search", "compartment"),
    Route("POST", f"{BASE}/{{type}}", "resources", "create"),
    Route("GET", f"{BASE}/{{type}}/{{id}}", "resources", "read"),
    Route("PUT", f"{BASE}/{{type}}/{{id}}", "resources", "update"),
    Route("DELETE", f"{BASE}/{{type}}/{{id}}", "resources", "delete"),
    Route("PATCH", f"{BASE}/{{type}}/{{id}}", "resources", "patch"),
    Route("PUT", f"{BASE}/{{type}}", "resources", "conditional-update"),
    Route("PATCH", f"{BASE}/{{type}}", "resources", "conditional-patch"),
    Route("DELETE", f"{BASE}/{{type}}", "resources", "conditional-delete"),
    Route("GET", f"{BASE}/_history", "resources", "system-history"),
    Route("GET", f"{BASE}/{{type}}/_history", "resources", "type-history"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/_history", "resources", "history"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/_history/{{version}}", "resources", "vread"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/$everything", "search", "everything"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$everything", "operations", "everything"),
    Route("GET", f"{BASE}/{{type}}/$lastn", "resources", "lastn"),
    Route("POST", f"{BASE}/{{type}}/$lastn", "operations", "lastn"),
    Route("GET", f"{BASE}/{{type}}/$find", "resources", "find-list"),
    Route("POST", f"{BASE}/{{type}}/$find", "operations", "find-list"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/$meta", "search", "meta"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/_history/{{version}}/$meta", "resources", "meta"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$meta-add", "operations", "meta-add"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$meta-delete", "operations", "meta-delete"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$validate", "operations", "validate"),
    Route("POST", f"{BASE}/{{type}}/$validate", "operations", "validate"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$set-accounts", "operations", "set-accounts"),
    Route("GET", f"{BASE}/{{type}}/{{id}}/$explain-access", "search", "explain-access"),
    Route("POST", f"{BASE}/{{type}}/{{id}}/$purge", "operations", "purge"),
    Route("GET", f"{BASE}/job", "jobs", "jobs"),
    Route("GET", f"{BASE}/job/{{id}}/status", "jobs", "status"),
    Route("DELETE", f"{BASE}/job/{{id}}/status", "jobs", "cancel"),
    Route("GET", f"{BASE}/metadata", "capabilities", "metadata", public=True),
    Route("GET", f"{BASE}/.well-known/smart-configuration", "capabilities", "smart-configuration", public=True),
    Route("GET", "/.well-known/smart-configuration", "capabilities", "smart-configuration", public=True),
    *(
        Route("GET", f"{BASE}/OperationDefinition/{name}", "capabilities", "operation-definition", public=True)
        for name in OPERATION_DEFINITIONS
    ),
    Route("GET", "/openapi.json", "capabilities", "openapi", public=True),
    Route("GET", "/docs", "capabilities", "docs", public=True),
    Route("GET", "/console", "capabilities", "console", public=True),
    Route("GET", "/console/{file}", "capabilities", "console-file", public=True),
    Route("ANY", DEFAULT, "capabilities", "unmatched", public=True),
)

# HTTP APIs do not route HEAD to GET by themselves. OPTIONS comes by $default: infra/cors.py.
ROUTES = _OPERATIONS + tuple(route._replace(method="HEAD") for route in _OPERATIONS if route.method == "GET")

BY_KEY: dict[str, Route] = {route.key: route for route in ROUTES}

_PLACES = ("{type}", "{id}", "{member}")


def _gateway_path(path: str) -> str:
    """API Gateway's path for a route: a variable takes the place of an operation's name."""
    below = path.removeprefix(f"{BASE}/").split("/")
    if path == DEFAULT or not any(part.startswith("$") for part in below):
        return path
    if "_history" in below:
        return "/".join([BASE, *("{member}" if part.startswith("$") else part for part in below)])
    return "/".join([BASE, *_PLACES[: len(below)]])


def _gateway_routes() -> tuple[Route, ...]:
    """The routes of API Gateway. ValueError where operations that share one differ in function, or in being public."""
    made: dict[str, Route] = {}
    for route in ROUTES:
        coarse = route._replace(path=_gateway_path(route.path))
        first = made.setdefault(coarse.key, coarse)
        if (first.function, first.public) != (coarse.function, coarse.public):
            raise ValueError(
                f"{route.key} shares a route of API Gateway with {first.operation}: it must have the same function"
            )
    return tuple(made.values())


GATEWAY = _gateway_routes()
"""The routes of API Gateway, local and on AWS. `operation` is that of the first route; the Router decides anew."""
