"""What needs no stored data: what the server says of itself, `$validate`, and what no route answers."""

from __future__ import annotations

from bulkhead.errors import MethodNotAllowed, NotFound
from functions.capabilities import description, metadata, smart, validate
from functions.http import Answer, Request, lambda_handler
from infra.routes import ROUTES, fits


def unmatched(request: Request) -> Answer:
    """`$default`: 405 where the path has other methods, 404 where it has none, or is that of an operation that is not there."""
    if len(request.path) > 1 and request.path.endswith("/"):
        return Answer(308, headers={"location": request.path.removesuffix("/")})
    found = [route for route in ROUTES if fits(route.path, request.path)]
    last = request.path.rpartition("/")[2]
    methods = sorted({route.method for route in found if not last.startswith("$") or route.path.endswith(f"/{last}")})
    if not methods:
        raise NotFound("this server has no such path", "path")
    raise MethodNotAllowed(f"{request.method[:16]} is not for this path; it takes {', '.join(methods)}", methods)


OPERATIONS = {
    "metadata": metadata.metadata,
    "operation-definition": metadata.operation_definition,
    "smart-configuration": smart.configuration,
    "openapi": description.openapi_document,
    "docs": description.docs,
    "validate": validate.validate,
    "unmatched": unmatched,
}
handler = lambda_handler(OPERATIONS)
