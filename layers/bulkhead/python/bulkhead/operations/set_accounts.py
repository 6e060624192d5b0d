"""`POST {Type}/{id}/$set-accounts`."""

from __future__ import annotations

from functools import partial

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.api.request import Request
from bulkhead.api.response import Response, accepted
from bulkhead.jobs import executions, lifecycle
from bulkhead.jobs.lifecycle import Background
from bulkhead.operations import set_accounts_preview, set_accounts_request, set_accounts_run


def set_accounts_of(request: Request) -> Response:
    """200 with the number of resources that stand as asked; 202 with a job under `Prefer: respond-async` with propagate.

    With `preview` 200 with what would change, whatever `Prefer` says.
    """
    # Before the body is looked at: who has no right learns nothing else.
    policy.require(request.caller, policy.SET_ACCOUNTS)
    key = resources.key_of(request.parameters["type"], request.parameters["id"])
    store = request.store
    asked = set_accounts_request.parse(request.resource(), store.settings.account_limit)
    if_match = request.headers.get("if-match")
    if asked.preview:
        return Response(
            200,
            set_accounts_preview.answer(set_accounts_preview.preview(request.session, key, asked, if_match=if_match)),
        )
    background = None
    if request.prefer.respond_async:
        background = Background(partial(executions.start, store), request.headers.get("idempotency-key"))
    done = set_accounts_run.run(request.session, key, asked, if_match=if_match, background=background)
    if isinstance(done, int):
        return Response(200, lifecycle.resources_updated(done))
    return accepted(request, done, lifecycle.NOT_BEGUN)
