"""`POST {Type}/{id}/$purge`: erase a resource for good, and with `compartment` what is its Patient's alone. Semantics, section 3."""

from __future__ import annotations

from functools import partial
from typing import Any

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.api.request import Request
from bulkhead.api.response import Response, accepted
from bulkhead.errors import BadRequest, TooCostly, raise_together
from bulkhead.jobs import executions, purge_steps, purging
from bulkhead.jobs.lifecycle import Background
from bulkhead.jobs.purging import Order
from bulkhead.operations.parameters import fault

COMPARTMENT = "compartment"

_PARTS = {"resourceType", "id", "meta", "implicitRules", "language", "parameter"}
_PARAMETER_PARTS = {"id", "extension", "name", "_name", "valueBoolean", "_valueBoolean"}


def purge(request: Request) -> Response:
    """200 with what was erased and what was left; 202 with a job under `Prefer: respond-async`.

    Forbidden, NotFound, BadRequest, Unprocessable as `purging.require`; TooCostly where the compartment is too large to wait for.
    """
    # Before the body is looked at: who has no right learns nothing else.
    policy.require_purge(request.caller)
    key = resources.key_of(request.parameters["type"], request.parameters["id"])
    order = Order(key, parse(request.resource()) if request.body else False)
    session = request.session
    purging.require(session, order)
    if request.prefer.respond_async:
        background = Background(partial(executions.start, session.store), request.headers.get("idempotency-key"))
        return accepted(request, purge_steps.submit(session, order, background), purge_steps.NOTHING_YET)
    limit = session.store.settings.sync_limit
    if purging.count(session.store, order, limit) > limit:
        raise TooCostly(
            f"the compartment has more than {limit} members, and at most {limit} are purged synchronously: "
            "use Prefer: respond-async",
            COMPARTMENT,
        )
    outcome = purging.run(session, order)
    shared = sorted(outcome.shared)
    return Response(200, purging.answer(outcome.erased, len(shared), shared))


def parse(parameters: dict[str, Any]) -> bool:
    """Whether a Parameters resource asks for the compartment too. BadRequest with an issue for each fault, at its place."""
    if parameters.get("resourceType") != "Parameters":
        raise BadRequest("the body must be a Parameters resource", "Parameters")
    given = parameters.get("parameter", [])
    if not isinstance(given, list):
        raise BadRequest("must be a list", "Parameters.parameter")
    faults = [fault(f"Parameters has no {name}", "Parameters") for name in sorted(parameters.keys() - _PARTS)]
    flags: list[bool] = []
    for position, parameter in enumerate(given):
        place = f"Parameters.parameter[{position}]"
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if name != COMPARTMENT:
            named = str(name)[:64] if isinstance(name, str) else "one without a name"
            faults.append(fault(f"$purge has only the parameter {COMPARTMENT}, not {named}", f"{place}.name"))
        elif not isinstance(parameter.get("valueBoolean"), bool) or parameter.keys() - _PARAMETER_PARTS:
            faults.append(fault(f"{COMPARTMENT} must have a valueBoolean and nothing else", f"{place}.valueBoolean"))
        elif flags:
            faults.append(fault(f"{COMPARTMENT} may be given only once", place))
        else:
            flags.append(parameter["valueBoolean"])
    raise_together([BadRequest(one.diagnostics, issues=[one]) for one in faults])
    return any(flags)
