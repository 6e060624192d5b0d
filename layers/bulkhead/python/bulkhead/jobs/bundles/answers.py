"""The responses of a bundle's job: progress while it runs, then its result. Clients fetch large results from S3."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from bulkhead.errors import Issue
from bulkhead.fhir import json, outcome
from bulkhead.jobs.lifecycle import NOT_COUNTED, batch_response
from bulkhead.parallel import in_parallel
from bulkhead.store import Head, Store, files
from bulkhead.store.jobs import CANCELLED, COMMITTED, DONE, FAILED, Job

URL_SECONDS = 3600
"""How long the URL of a large result is valid; each request for the status makes a new one."""

_TYPE = "application/fhir+json"


def keep(store: Store, job: Job, answer: dict[str, Any], *, final: bool = False) -> tuple[str, int]:
    """Stores a result of this attempt of the job; returns its name and size. A `final` result is stored beside that of the commit."""
    name = f"{files.RESULTS}{job.id}/{job.attempt}{'-final' if final else ''}.json"
    return name, _put(store, name, answer)


def _put(store: Store, name: str, answer: dict[str, Any]) -> int:
    content = json.dumps(answer)
    files.put(store, name, content, content_type=_TYPE)
    return len(content)


def kept(store: Store, job: Job) -> dict[str, Any]:
    """The result that the job keeps."""
    content = files.get(store, job.result)
    assert content is not None
    return json.loads(content)


def of(store: Store, job: Job, *, dead: bool) -> tuple[str, dict[str, Any] | None]:
    """Progress, and the batch-response once the job is over. `dead`: no state machine works on the job, nor will one."""
    if job.state == DONE or (job.state == COMMITTED and dead):
        return "", _answer(store, job.result, job.size, status=HTTPStatus.OK)
    if job.state == CANCELLED:
        cancelled = outcome.outcome([Issue("incomplete", "the job was cancelled")])
        return "", _broken_off(store, job, HTTPStatus.CONFLICT, failure=cancelled)
    if job.state == FAILED:
        return "", _broken_off(store, job, HTTPStatus(job.status), failure=json.loads(job.error))
    return progress(job), None


def progress(job: Job) -> str:
    """How far a bundle is, in words."""
    return NOT_COUNTED if job.total is None else f"{job.done} of {job.total} entries"


def unrecorded(store: Store, job: Job, *, dead: bool) -> list[Head]:
    """The versions that `of` shows without an AuditEvent: those of a worker that died after its commit."""
    if job.state != COMMITTED or not dead:
        return []
    locations = [
        content["response"].get("location", "").partition("/_history/")
        for content in kept(store, job).get("entry", ())
        if "resource" in content
    ]
    wanted = [(key, int(version)) for key, _, version in locations if version]
    found = in_parallel(lambda one: store.read_version(*one), wanted, store.settings.threads)
    return [head for head in found if head]


def _answer(
    store: Store, name: str, size: int, *, status: HTTPStatus, failure: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The result itself, or the place to fetch it: the response of a Lambda function has a size limit."""
    if size <= store.settings.answer_limit:
        content = files.get(store, name)
        assert content is not None
        return batch_response(status, json.loads(content), failure)
    told = (
        f"the response has {size} bytes: GET it at the location; when that URL has expired, this status gives a new one"
    )
    return batch_response(status, None, _also(told, failure), location=files.url_to_get(store, name, URL_SECONDS))


def _also(told: str, failure: dict[str, Any] | None) -> dict[str, Any]:
    """The outcome `failure` with one more issue."""
    more = outcome.outcome([Issue("informational", told, severity="information")])
    return more | {"issue": [*failure["issue"], *more["issue"]]} if failure else more


def _broken_off(store: Store, job: Job, status: HTTPStatus, *, failure: dict[str, Any]) -> dict[str, Any]:
    """The response of a broken-off job: a transaction did nothing; a batch shows the entries that have a receipt at their places."""
    done = store.receipts(job.id)
    if not done:
        return batch_response(status, None, _also("nothing was changed", failure))
    undone = {"response": {"status": f"{status.value} {status.phrase}"}}
    entries = [json.loads(done[n]) if n in done else undone for n in range(job.total or 0)]
    answer = {"resourceType": "Bundle", "type": "batch-response", "entry": entries}
    told = f"{len(done)} of {job.total} entries made the changes that their responses show; no other entry changed anything"
    failure = _also(told, failure)
    if len(json.dumps(answer)) <= store.settings.answer_limit:
        return batch_response(status, answer, failure)
    name = f"{files.RESULTS}{job.id}/broken-off.json"
    return _answer(store, name, _put(store, name, answer), status=status, failure=failure)
