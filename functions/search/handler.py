"""Search of a type and of a compartment, by GET and by `POST _search` (R4 search.html, compartmentdefinition.html)."""

from __future__ import annotations

from bulkhead import access, compartments, resources, settings
from bulkhead.errors import BadRequest, MethodNotAllowed, NotFound
from bulkhead.search import parse, run
from functions.http import Answer, Request, lambda_handler
from functions.search.everything import everything
from infra.routes import ROUTES


def search(request: Request) -> Answer:
    """`GET [base]/Type?parameters`, `POST [base]/Type/_search`."""
    resource_type = resources.known_type(request.parameters["type"])
    return _searched(request, resource_type)


def compartment(request: Request) -> Answer:
    """`GET [base]/Compartment/id/Type?parameters`, with `*` for all types; `POST .../_search`."""
    member = request.parameters["member"]
    if member.startswith("$"):
        raise _not_an_operation(member)
    target = resources.key_of(request.parameters["type"], request.parameters["id"])
    resource_type = None if member == "*" else member
    definition = compartments.checked(request.store, request.parameters["type"], resource_type)
    return _searched(request, resource_type, target, tuple(definition.parameters))


def _not_an_operation(member: str) -> MethodNotAllowed | NotFound:
    if any(route.path.endswith(f"/{member}") for route in ROUTES):
        return MethodNotAllowed(f"{member} is called by POST", ["POST"])
    return NotFound("this server has no such operation", "operation")


def _searched(
    request: Request, resource_type: str | None, target: str | None = None, types: tuple[str, ...] = ()
) -> Answer:
    access.require(request.caller, access.SEARCH, resource_type or "*")
    query = parse.parse(
        request.query,
        resource_type,
        compartment=target,
        compartment_types=types,
        base=request.base,
        strict=request.prefer.handling == "strict",
    )
    bundle = run.search(
        request.store,
        query,
        base=request.base,
        represent=request.represent,
        fence=access.fence(request.caller, access.SEARCH),
    )
    return Answer(200, bundle)


OPERATIONS = {"search": search, "compartment": compartment, "everything": everything}
handler = lambda_handler(OPERATIONS)
