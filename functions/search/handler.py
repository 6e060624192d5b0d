"""Search of a type and of a compartment, by GET and by `POST _search` (R4 search.html, compartmentdefinition.html)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bulkhead import access, compartments, resources, sealing
from bulkhead.errors import Forbidden, Issue, MethodNotAllowed, NotFound, UnsupportedMediaType
from bulkhead.model import outcome
from bulkhead.search import custom, parse, run
from bulkhead.search.plan import Plan, describe
from bulkhead.search.query import Query
from functions.http import FORM, Answer, Request, lambda_handler
from functions.search.everything import everything
from infra.routes import ROUTES


def search(request: Request) -> Answer:
    """`GET [base]/Type?parameters`, `POST [base]/Type/_search`."""
    resource_type = resources.known_type(request.parameters["type"])
    return _searched(request, resource_type)


def system(request: Request) -> Answer:
    """`GET [base]?_type=A,B&parameters`, `POST [base]/_search`."""
    return _searched(request, None)


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
    if request.method == "POST" and request.body and request.content_type != FORM:
        raise UnsupportedMediaType(f"the parameters of a search are sent as {FORM}", "Content-Type")
    named = parse.requested_types(request.query, False, ()) if resource_type is None and target is None else ()
    for name in named or (resource_type or "*",):
        access.require(request.caller, access.SEARCH, name)
    query = parse.parse(
        sealing.opened(request.store, request.caller, request.query),
        resource_type,
        compartment=target,
        compartment_types=types,
        base=request.base,
        strict=request.prefer.handling == "strict",
        custom=custom.stored_in(request.store, access.fence(request.store, request.caller, access.SEARCH)),
    )
    if ("_explain", "true") in request.query:
        return Answer(200, _explained(request, query))
    return Answer(200, _run(request, query, lambda chosen: None))


def _run(request: Request, query: Query, explain: Callable[[Plan], None]) -> dict[str, Any]:
    bundle = run.search(
        request.store,
        query,
        base=request.base,
        represent=request.represent,
        fence=access.fence(request.store, request.caller, access.SEARCH),
        limits=run.Limits(
            seconds=request.store.settings.search_seconds, included=request.store.settings.included_limit
        ),
        explain=explain,
    )
    return sealing.sealed(request.store, request.caller, bundle)


def _explained(request: Request, query: Query) -> dict[str, Any]:
    """The Bundle, and in its first entry how it was found and what that took. For callers with every right only."""
    from bulkhead.store.meter import metered

    if not access.sees_all(request.caller, access.SEARCH, "*"):
        raise Forbidden("_explain is for callers who may see everything", "_explain")
    access.require(request.caller, access.SET_ACCOUNTS)
    plans: list[Plan] = []
    with metered(request.store.table.client) as meter:
        bundle = _run(request, query, plans.append)
    lines = [line for chosen in plans for line in describe(chosen)]
    lines += [f"{name}: {count} requests, {meter.units[name]:g} units" for name, count in meter.requests.items()]
    issues = [Issue("informational", line, severity="information") for line in lines]
    entry = {"resource": outcome.outcome(issues), "search": {"mode": "outcome"}}
    return bundle | {"entry": [entry, *bundle.get("entry", ())]}


OPERATIONS = {"search": search, "system": system, "compartment": compartment, "everything": everything}
handler = lambda_handler(OPERATIONS)
