"""The one way in: answers a Request with a Response. HTTP, the entries of bundles and background jobs all use it.

The Router imports an operation's module on its first use, so a function that reads does not load the search engine.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from botocore.exceptions import BotoCoreError, ClientError

from bulkhead.api import fitting, matching, trail
from bulkhead.api.own_pages import require_own_page
from bulkhead.api.request import Request
from bulkhead.api.response import RETRY_AFTER, Response
from bulkhead.api.routes import SERVICE
from bulkhead.errors import BulkheadError, MethodNotAllowed, NotFound, Unauthorized, Unavailable
from bulkhead.fhir import outcome
from bulkhead.observability import logger
from bulkhead.store import one_request

Operation = Callable[[Request], Response]

# What AWS's services answer to a function whose role or key policy has not what it needs.
_DENIED = {"AccessDenied", "AccessDeniedException", "KMSAccessDeniedException", "KMS.AccessDeniedException"}

_PERSONAL: Mapping[str, str] = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Headers of what only the sender of the request may see."""

_PLACES: Mapping[str, str] = {
    "read": "interactions.resources:read",
    "vread": "interactions.resources:vread",
    "create": "interactions.resources:create",
    "update": "interactions.resources:update",
    "conditional-update": "interactions.resources:conditional_update",
    "patch": "interactions.resources:patch",
    "conditional-patch": "interactions.resources:conditional_patch",
    "delete": "interactions.resources:delete",
    "conditional-delete": "interactions.resources:conditional_delete",
    "history": "interactions.history:of_instance",
    "type-history": "interactions.history:of_type",
    "system-history": "interactions.history:of_system",
    "search": "interactions.search:search",
    "system": "interactions.search:system",
    "compartment": "interactions.search:compartment",
    "bundle": "interactions.bundle:bundle",
    "upload": "interactions.bundle:upload",
    "meta": "operations.meta:meta",
    "meta-add": "operations.meta:meta_add",
    "meta-delete": "operations.meta:meta_delete",
    "everything": "operations.everything:everything",
    "purge": "operations.purge:purge",
    "lastn": "operations.lastn:lastn",
    "document-new": "operations.document_bundles:new_document",
    "document-update": "operations.document_bundles:update_document",
    "merge-bundle": "operations.merge_bundle:merge_bundle",
    "merge": "operations.merge_patients:merge_patients",
    "find-list": "operations.find_list:find_list",
    "set-accounts": "operations.set_accounts:set_accounts_of",
    "explain-access": "operations.explain_access:explain_access",
    "validate": "operations.validate:validate",
    "jobs": "operations.jobs:listed",
    "status": "operations.jobs:status",
    "cancel": "operations.jobs:cancel",
    "metadata": "operations.metadata:metadata",
    "operation-definition": "operations.metadata:operation_definition",
    "smart-configuration": "operations.smart:configuration",
    "openapi": "operations.description:openapi_document",
    "docs": "operations.description:docs",
    "console": "operations.console:page",
    "console-file": "operations.console:file",
}
"""The module of each operation of the route table, below `bulkhead`."""


@cache
def operation(name: str) -> Operation:
    """The callable of an operation of the route table."""
    if name == "unmatched":
        return _unmatched
    module, _, function = _PLACES[name].partition(":")
    found: Operation = getattr(import_module(f"bulkhead.{module}"), function)
    return found


def answer(request: Request) -> Response:
    """The response to a request; every error is an OperationOutcome. Its reads and refusals are recorded first.

    No cache keeps it, unless it is public. A browser stores whatever has `Last-Modified`, and then gives one token's resource to the
    next who uses that browser, without asking: no fence would be looked at, and no read recorded.
    """
    answered = _answered(request)
    if not request.route.public:
        for headers in (answered.headers, answered.rendered[1] if answered.rendered else {}):
            headers.update({name: text for name, text in _PERSONAL.items() if name not in headers})
    return answered


def _answered(request: Request) -> Response:
    try:
        if not request.is_binary:
            _ = request.wanted
        if not request.route.public:
            _ = request.caller
            require_own_page(request)
        with one_request():
            answered = fitting.fitted(request, lambda: perform(request))
            trail.record_reads(request)
            return answered
    except BulkheadError as error:
        return _refused(request, error)
    except (ClientError, BotoCoreError) as error:
        log_failure(error)
        return failed(_failure_behind(error))
    except Exception as error:
        log_failure(error)
        return internal_error()


def perform(request: Request) -> Response:
    """The response of the route's operation. Its errors pass through, and nothing is recorded."""
    if request.method == "OPTIONS":
        return _options(request)
    require_operation(request)
    return operation(request.route.operation)(request)


def require_operation(request: Request) -> None:
    """NotFound for a `$name` that is no operation here, MethodNotAllowed where it, or what else has a path of its own, is of another method."""
    parts = matching.segments(request.path)
    if "/".join(parts).startswith(SERVICE) and not request.route.path.startswith(SERVICE):
        services = {route.method for route in matching.fitting(request.path) if route.path.startswith(SERVICE)}
        if services:
            raise MethodNotAllowed(f"this path is called by {' or '.join(sorted(services))}", sorted(services))
    name = next((part for part in parts if part.startswith("$")), None)
    if name is None:
        _require_other_path(request)
        return
    if name in request.route.path.split("/"):
        return
    methods = sorted({route.method for route in matching.fitting(request.path) if name in route.path.split("/")})
    if methods:
        raise MethodNotAllowed(f"{name} must be called by {' or '.join(methods)}", methods)
    levels = matching.levels(name)
    if levels:
        raise NotFound(f"this path has no operation {name}; it exists at {', '.join(levels)}", "operation")
    known = ", ".join(matching.operations())
    raise NotFound(f"this server has no operation {name[:64]}; it has {known}", "operation")


def _require_other_path(request: Request) -> None:
    """MethodNotAllowed for a path such as `metadata` or `Patient/_search`, whose method only `{type}` or `{type}/{id}` has.

    So a client learns that it cannot write a resource of the server itself, which no read would ever show.
    """
    if not matching.can_name(request.parameters) or (request.parameters and matching.is_literal(request.path)):
        _require_no_method(request)


def _require_no_method(request: Request) -> None:
    methods = matching.methods(request.path)
    if methods:
        raise MethodNotAllowed(f"this path does not take {request.method[:16]}; it takes {', '.join(methods)}", methods)


def _unmatched(request: Request) -> Response:
    """`$default`: 405 where the path has other methods, 404 where it has none."""
    from bulkhead.resources import ids

    _require_no_method(request)
    for found in matching.matches(request.path):
        if "type" in found.parameters:
            ids.known_type(found.parameters["type"])
    raise NotFound("this server does not have this path", "path")


def _options(request: Request) -> Response:
    """The methods of a path. API Gateway adds what CORS needs (infra/cors.py)."""
    methods = sorted({*matching.methods(request.path), "OPTIONS"})
    return Response(204, headers={"allow": ", ".join(methods)})


def _refused(request: Request, error: BulkheadError) -> Response:
    """The response to a failed request. The client learns of a refusal only if it could be recorded."""
    try:
        trail.record_refusal(request, error, request.resource)
    except (ClientError, BotoCoreError, BulkheadError) as failure:
        log_failure(failure)
        return failed(Unavailable("the server could not record its refusal of this request: send the request again"))
    return failed(error)


def failed(error: BulkheadError) -> Response:
    """The error as an OperationOutcome, with the headers of its status."""
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    if isinstance(error, Unavailable):
        headers["retry-after"] = RETRY_AFTER
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    return Response(error.status, outcome.from_error(error), headers)


def _failure_behind(error: ClientError | BotoCoreError) -> BulkheadError:
    """What a client is told of an AWS service that failed: to send the request again, where that may help."""
    if _code(error) in _DENIED:
        return BulkheadError("this server lacks a right to a service behind it: its operators must grant it")
    return Unavailable("a service behind this server did not answer: send the request again")


def internal_error() -> Response:
    return failed(BulkheadError("the server failed; its log names the cause"))


def log_failure(error: Exception) -> None:
    """Logs the place and class of an error, and never its text, which may quote a resource."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    logger.error("failure", error=type(error).__name__, code=_code(error), where=where)


def _code(error: Exception) -> str | None:
    """The code of an error that an AWS service has answered."""
    return error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
