"""Processes an accepted bundle: the task of the state machine (infra/bundle.asl.json). It may be delivered twice.

An attempt that takes the job up prevents all earlier ones from committing, takes over the large transaction that one may have left
(`store.takeover`), and continues from the receipts. It raises failures that may pass, so that the state machine delivers the task again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bulkhead import bundles
from bulkhead.bundles.context import Context, Journal
from bulkhead.errors import BulkheadError, JobMovedOn, Unavailable
from bulkhead.fhir import compression, json
from bulkhead.jobs import lifecycle
from bulkhead.jobs.bundles import answers, orders
from bulkhead.jobs.bundles.journal import JobJournal, finish
from bulkhead.jobs.bundles.orders import Order
from bulkhead.store import Head, Store, files
from bulkhead.store.jobs import COMMITTED, Job


class Edge(Protocol):
    """The functions of the API layer that processing needs, the same as for a synchronous response."""

    def represent(self, head: Head) -> dict[str, Any]:
        """A version in the form that the request's client sees; the read log notes it."""

    def context(self, order: Order, journal: Journal | None) -> Context:
        """The context of a job's order."""

    def answered(self, bundle: dict[str, Any], answer: dict[str, Any]) -> None:
        """Records in the audit trail what the response shows and refuses. If this raises, the job gets no response."""

    def refused(self, error: BulkheadError, sent: Callable[[], dict[str, Any]]) -> None:
        """Records in the audit trail that the bundle was refused, if it was; `sent` reads it again."""


def process(store: Store, job_id: str, edge: Edge) -> None:
    """Processes the bundle of a job, unless the job is over.

    Unavailable, and any error of S3 or DynamoDB, where another delivery may succeed.
    """
    job = store.jobs.take(job_id)
    if job is None:
        _read_again(store, job_id, edge)
        return
    try:
        with store.renewed(job):
            _process(store, job, edge)
    except JobMovedOn:
        known = store.jobs.read(job_id)
        if known and known.attempt != job.attempt:
            return
    except Unavailable:
        raise
    except BulkheadError as error:
        edge.refused(error, lambda: _bundle(store, orders.order(job.request)))
        lifecycle.give_up(store, job_id, error, attempt=job.attempt)
    store.abandon(job)
    _close(store, job)


def fail(store: Store, job_id: str, error: str) -> None:
    """Closes a job as failed, because the state machine gave up. Committed changes stay, and the job reports them."""
    lifecycle.give_up(store, job_id, Unavailable(f"the run broke off ({error}); send the request again"))
    store.jobs.leave(job_id)


def _process(store: Store, job: Job, edge: Edge) -> None:
    order = orders.order(job.request)
    journal = JobJournal(store, job, edge.represent, returns=order.returns)
    context = edge.context(order, journal)
    bundle = _bundle(store, order)
    if isinstance(bundle.get("entry"), list):
        journal.expect(len(bundle["entry"]))
    answer = bundles.process(bundle, context)
    edge.answered(bundle, answer)
    finish(store, job, answer)


def _read_again(store: Store, job_id: str, edge: Edge) -> None:
    """Answers the reads of a transaction that an earlier delivery committed before it died."""
    job = store.jobs.read(job_id)
    if job is None or job.state != COMMITTED:
        return
    order = orders.order(job.request)
    bundle, context = _bundle(store, order), edge.context(order, None)
    answer = bundles.read_again(bundle, answers.kept(store, job), context)
    edge.answered(bundle, answer)
    finish(store, job, answer)
    _close(store, job)


def _bundle(store: Store, order: Order) -> dict[str, Any]:
    """The bundle in S3: JSON or XML, gzipped or not. BadRequest, PayloadTooLarge."""
    data = files.get(store, order.body)
    if data is None:
        raise Unavailable("the stored bundle cannot be found")
    limit = store.settings.upload_limit
    if compression.is_gzip(data):
        data = compression.inflate(data, limit, json.BODY)
    compression.within(data, limit)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        from bulkhead.fhir import xml

        return xml.loads(data)
    return json.loads(data)


def _close(store: Store, job: Job) -> None:
    """Removes what a job that is over needs no more."""
    files.remove(store, orders.order(job.request).body)
    store.jobs.leave(job.id)
