"""What no route answers: 405 where the path has other methods, 404 where it has none."""

from __future__ import annotations

from bulkhead.errors import MethodNotAllowed, NotFound
from functions.http import Answer, Request, lambda_handler
from infra.routes import ROUTES, fits


def unmatched(request: Request) -> Answer:
    """`$default`."""
    methods = sorted({route.method for route in ROUTES if fits(route.path, request.path)})
    if not methods:
        raise NotFound("this server has no such path")
    raise MethodNotAllowed(f"{request.method[:16]} is not for this path; it takes {', '.join(methods)}")


OPERATIONS = {"unmatched": unmatched}
handler = lambda_handler(OPERATIONS)
