"""Search of a type and of a compartment, by GET and by `POST _search` (R4 search.html, compartmentdefinition.html)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bulkhead import resources
from bulkhead.access import page_links, policy
from bulkhead.api.request import FORM, Request
from bulkhead.api.response import Response
from bulkhead.compartments import membership
from bulkhead.errors import Forbidden, Issue, NotFound, UnsupportedMediaType
from bulkhead.fhir import older_versions, outcome
from bulkhead.fhir.definitions import RESOURCE_TYPES
from bulkhead.search import custom, parse, run
from bulkhead.search.plan import Plan, describe
from bulkhead.search.query import Query


def search(request: Request) -> Response:
    """`GET [base]/Type?parameters`, `POST [base]/Type/_search`."""
    resource_type = resources.known_type(request.parameters["type"])
    return _searched(request, resource_type)


def system(request: Request) -> Response:
    """`GET [base]?_type=A,B&parameters`, `POST [base]/_search`."""
    return _searched(request, None)


def compartment(request: Request) -> Response:
    """`GET [base]/Compartment/id/Type?parameters`, with `*` for all types; `POST .../_search`."""
    member = request.parameters["member"]
    target = resources.key_of(request.parameters["type"], request.parameters["id"])
    resource_type = None if member == "*" else member
    if resource_type is not None and resource_type not in RESOURCE_TYPES:
        raise NotFound(f"{member[:64]} is not a resource type of R4{older_versions.instead_of(member)}", "path")
    definition = membership.checked(request.store, request.parameters["type"], resource_type)
    return _searched(request, resource_type, target, types=tuple(definition.parameters))


def _searched(
    request: Request, resource_type: str | None, target: str | None = None, *, types: tuple[str, ...] = ()
) -> Response:
    if request.method == "POST" and request.body and request.content_type != FORM:
        raise UnsupportedMediaType(f"the parameters of a search in a body must be sent as {FORM}", "Content-Type")
    pairs = page_links.opened(request.store, request.caller, request.query)
    named = (
        parse.requested_types(pairs, in_compartment=False, of_compartment=())
        if resource_type is None and target is None
        else ()
    )
    for name in named or (resource_type or "*",):
        policy.require(request.caller, policy.SEARCH, name)
    notes: list[Issue] = []
    query = parse.parse(
        pairs,
        resource_type,
        compartment=target,
        compartment_types=types,
        base=request.base,
        strict=request.prefer.handling == "strict",
        limits=request.session.settings,
        custom=custom.stored_in(
            request.store, policy.fence(request.store, request.caller, policy.SEARCH), notes.append
        ),
    )
    query = query.of_at_most(request.most_entries)
    if ("_explain", "true") in request.query:
        return Response(200, _explained(request, query, notes))
    bundle = _run(request, query, lambda chosen: None, notes=notes)
    modes = Counter(entry["search"]["mode"] for entry in bundle.get("entry", ()))
    return Response(200, bundle, entries=modes["match"], included=modes["include"])


def _run(request: Request, query: Query, explain: Callable[[Plan], None], *, notes: Sequence[Issue]) -> dict[str, Any]:
    known, most = request.store.settings, request.most_included
    bundle = run.search(
        request.store,
        query,
        base=request.base,
        represent=request.show,
        fence=policy.fence(request.store, request.caller, policy.SEARCH),
        limits=run.Limits(seconds=known.search_seconds, included=known.included_limit if most is None else most),
        explain=explain,
        consulted=lambda found: request.note_shown(found.head),
        notes=notes,
    )
    return page_links.sealed(request.store, request.caller, bundle)


def _explained(request: Request, query: Query, notes: Sequence[Issue]) -> dict[str, Any]:
    """The Bundle, with an explanation of the search and its cost in the first entry. Only for callers with every right."""

    if not policy.sees_all(request.caller, policy.SEARCH, "*"):
        raise Forbidden("only a caller who may see everything can use _explain", "_explain")
    policy.require(request.caller, policy.SET_ACCOUNTS)
    plans: list[Plan] = []
    with request.store.metered() as meter:
        bundle = _run(request, query, plans.append, notes=notes)
    lines = [line for chosen in plans for line in describe(chosen)]
    lines += [f"{name}: {count} requests, {meter.units[name]:g} units" for name, count in meter.requests.items()]
    issues = [Issue("informational", line, severity="information") for line in lines]
    entry = {"resource": outcome.outcome(issues), "search": {"mode": "outcome"}}
    return bundle | {"entry": [entry, *bundle.get("entry", ())]}
