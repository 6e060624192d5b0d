"""Accepts a bundle for processing in the background: checks it, stores it, and starts a job.

Order: body, job, state machine. If one of them fails, nothing is changed. A job whose state machine never
began has the status failed (`polling.status`).
"""

from __future__ import annotations

import gzip
import hashlib
import time
from dataclasses import replace
from typing import Any

from bulkhead import bundles
from bulkhead.errors import Conflict, NotFound
from bulkhead.fhir import json
from bulkhead.jobs import lifecycle
from bulkhead.jobs.bundles import orders, uploads
from bulkhead.jobs.bundles.orders import Order
from bulkhead.jobs.lifecycle import Background
from bulkhead.store import Store, files
from bulkhead.store.jobs import BUNDLE, Job


def submit(store: Store, order: Order, bundle: dict[str, Any], *, background: Background) -> str:
    """Accepts a Bundle, and returns the id of the job that processes it.

    BulkheadError for a fault that is visible at once (`bundles.check`), Unprocessable for an Idempotency-Key that another request
    used, Unavailable where the job cannot be started.
    """
    content = json.dumps(bundle)
    job = _job(store, order, background.identifier(order.caller.owner), content=hashlib.sha256(content).hexdigest())
    if not _is_known(store, job):
        job = replace(job, total=bundles.check(bundle, order.caller, order.base, limit=store.settings.entry_limit))
        files.put(store, orders.order(job.request).body, gzip.compress(content, 1))
    return lifecycle.submit(store, job, background, asked=_body)


def submit_upload(store: Store, order: Order, upload: str, *, background: Background) -> str:
    """Accepts an uploaded Bundle, and returns the id of its job. One upload is one job, however often the client sends it.

    The job reports faults in the content. NotFound, PayloadTooLarge for the upload; otherwise as `submit`.
    """
    owner = order.caller.owner
    named = background if background.idempotency_key is not None else replace(background, idempotency_key=upload)
    job = _job(store, order, named.identifier(owner), content=upload)
    if _is_known(store, job):
        return lifecycle.submit(store, job, background, asked=_body)
    try:
        uploads.take(store, owner, upload, name=orders.order(job.request).body)
    except (NotFound, Conflict):
        # Another submission of this upload was faster: its job has the content, and has removed the upload.
        if not _is_known(store, job):
            raise
    started = lifecycle.submit(store, job, background, asked=_body)
    uploads.remove(store, owner, upload)
    return started


def _job(store: Store, order: Order, identifier: str, *, content: str) -> Job:
    now = time.time()
    request = orders.text(replace(order, body=f"{files.REQUESTS}{identifier}/{content}"))
    expires = lifecycle.expiry(store.settings, now)
    return Job(identifier, order.caller.owner, "", (), now, expires, kind=BUNDLE, request=request)


def _is_known(store: Store, job: Job) -> bool:
    """Whether an earlier request made this job, so that its body is stored. Unprocessable where that request was a different one."""
    earlier = store.jobs.read(job.id)
    lifecycle.require_same(job, earlier, _body)
    return earlier is not None


def _body(job: Job) -> str:
    return orders.order(job.request).body
