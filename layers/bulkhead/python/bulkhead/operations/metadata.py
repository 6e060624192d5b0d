"""`[base]/metadata`, and the OperationDefinitions that it names (R4 http.html#capabilities)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from bulkhead.access.shared_types import shared_types
from bulkhead.api import cached, formats
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.api.routes import BASE, ROUTES
from bulkhead.compartments import membership
from bulkhead.errors import BadRequest
from bulkhead.operations import capabilities, operation_definitions, smart
from bulkhead.settings import Settings

SERVED = frozenset(
    (route.method, route.path.removeprefix(BASE).lstrip("/")) for route in ROUTES if route.path.startswith(BASE)
)
"""Method and path below the base of every request that is answered."""

FORMATS = (*formats.FHIR_TYPES.values(), *formats.FHIR_TYPES)
# JSON Patch, and FHIRPath Patch in either format.
PATCH_FORMATS = ("application/json-patch+json", "application/merge-patch+json", *formats.FHIR_TYPES.values())


def metadata(request: Request) -> Response:
    """`GET [base]/metadata?mode=full|normative|terminology`. R4 does not say what normative leaves out: here nothing."""
    mode = dict(request.query).get("mode", "full")
    if mode == "terminology":
        return cached.answer(request, capabilities.terminology(request.base))
    if mode not in ("full", "normative"):
        raise BadRequest("mode must be full, normative or terminology", "mode")
    known = membership.in_force(request.store)
    compartments = tuple(sorted(its.url for its in known.values() if its.url))
    return cached.answer(request, statement(request.base, compartments, request.session.settings))


@lru_cache(maxsize=8)
def statement(base: str, compartments: tuple[str, ...], settings: Settings) -> dict[str, Any]:
    """The CapabilityStatement for a base URL. The cache is bounded, so that clients with invented hosts do not fill the memory."""
    server = capabilities.Server(
        base=base,
        served=SERVED,
        formats=FORMATS,
        patch_formats=PATCH_FORMATS if ("PATCH", "{type}/{id}") in SERVED else (),
        conditional_read="full-support",
        conditional_delete=settings.conditional_delete,
        authorization=smart.authorization(settings),
        shared_types=shared_types(settings.shared_types),
    )
    return capabilities.statement(server, compartments)


def operation_definition(request: Request) -> Response:
    """`GET [base]/OperationDefinition/{one of this server's own}`."""
    operation = operation_definitions.BY_ID[request.route.path.rpartition("/")[2]]
    return cached.answer(request, operation_definitions.definition(operation, request.base, SERVED))
