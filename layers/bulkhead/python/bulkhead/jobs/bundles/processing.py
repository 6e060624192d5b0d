"""Processing a bundle that was taken in: what the task of the state machine (infra/bundle.asl.json) does. It may be delivered twice.

Whoever takes the job up makes all earlier attempts unable to commit, ends the large transaction that one may have left, and goes on
from the receipts. What fails for reasons that may pass is raised, for the state machine to deliver the task again.
"""

from __future__ import annotations

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
    """What processing needs of the edge, where the same things happen for an answer that is waited for."""

    def represent(self, head: Head) -> dict[str, Any]:
        """A version as the client of the request sees it, noted in the read log."""

    def context(self, order: Order, journal: Journal | None) -> Context:
        """The context of a job's order."""

    def answered(self, bundle: dict[str, Any], answer: dict[str, Any]) -> None:
        """Put on the audit trail what the answer shows and refuses. The job has no answer where this raises."""

    def refused(self, error: BulkheadError) -> None:
        """Put on the audit trail that the bundle was refused, if it was."""


def process(store: Store, job_id: str, edge: Edge) -> None:
    """Process the bundle of a job, if that is not over.

    Unavailable, and whatever S3 and DynamoDB raise, where another delivery may do better.
    """
    job = store.jobs.take(job_id)
    if job is None:
        _read_again(store, job_id, edge)
        return
    store.abandon(job)
    try:
        _process(store, job, edge)
    except JobMovedOn:
        known = store.jobs.read(job_id)
        if known and known.attempt != job.attempt:
            return
    except Unavailable:
        raise
    except BulkheadError as error:
        edge.refused(error)
        lifecycle.give_up(store, job_id, error, job.attempt)
    _forget_body(store, job)


def fail(store: Store, job_id: str, error: str) -> None:
    """Close a job as failed, because the state machine gives up. What is committed stays, and the job says so."""
    lifecycle.give_up(store, job_id, Unavailable(f"the run broke off ({error}); send the request again"))


def _process(store: Store, job: Job, edge: Edge) -> None:
    order = orders.order(job.request)
    journal = JobJournal(store, job, edge.represent, order.returns)
    context = edge.context(order, journal)
    bundle = _bundle(store, order)
    if isinstance(bundle.get("entry"), list):
        journal.expect(len(bundle["entry"]))
    answer = bundles.process(bundle, context)
    edge.answered(bundle, answer)
    finish(store, job, answer)


def _read_again(store: Store, job_id: str, edge: Edge) -> None:
    """Answer the reads of a transaction that an earlier delivery committed before it died."""
    job = store.jobs.read(job_id)
    if job is None or job.state != COMMITTED:
        return
    order = orders.order(job.request)
    bundle, context = _bundle(store, order), edge.context(order, None)
    answer = bundles.read_again(bundle, answers.kept(store, job), context)
    edge.answered(bundle, answer)
    finish(store, job, answer)
    _forget_body(store, job)


def _bundle(store: Store, order: Order) -> dict[str, Any]:
    """The bundle that waits in S3: JSON or XML, gzipped or not. BadRequest, PayloadTooLarge."""
    data = files.get(store, order.body)
    if data is None:
        raise Unavailable("the bundle is not there")
    limit = store.settings.upload_limit
    if compression.is_gzip(data):
        data = compression.inflate(data, limit, json.BODY)
    compression.within(data, limit)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        from bulkhead.fhir import xml

        return xml.loads(data)
    return json.loads(data)


def _forget_body(store: Store, job: Job) -> None:
    files.remove(store, orders.order(job.request).body)
