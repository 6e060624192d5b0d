"""The record of a job while its bundle is processed: progress, receipts of commits, and the response."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from bulkhead.bundles.changes import Change
from bulkhead.bundles.context import MINIMAL, REPRESENTATION, Context, Represent
from bulkhead.bundles.response import Content, of_change, response_bundle
from bulkhead.errors import JobMovedOn
from bulkhead.fhir import json
from bulkhead.jobs.bundles import answers
from bulkhead.parallel import in_parallel
from bulkhead.store import Head, Lineage, Receipt, Store, receipts
from bulkhead.store.jobs import COMMITTED, DONE, RUNNING, Job


class JobJournal:
    """The `Journal` of the attempt that has taken up `job`."""

    def __init__(self, store: Store, job: Job, represent: Represent, *, returns: str) -> None:
        self._store, self._job, self._represent, self._returns = store, job, represent, returns
        self._lock = threading.Lock()
        self._finished = 0
        self._lineage: Lineage | None = None

    def done(self) -> Mapping[int, Content]:
        found = self._store.receipts(self._job.id) if self._job.attempt > 1 else {}
        contents: list[Content] = [json.loads(content) for content in found.values()]
        if self._returns == REPRESENTATION:
            in_parallel(self._add_resource, contents, self._store.settings.threads)
        return dict(zip(found, contents, strict=True))

    def _add_resource(self, content: Content) -> None:
        """Adds the resource to the response: receipts hold none, so the version that the entry made is read again."""
        key, _, version = content["response"].get("location", "").partition("/_history/")
        head = self._store.read_version(key, int(version)) if version else None
        if head:
            content["resource"] = self._represent(head)

    def begin(self) -> str:
        former = None if self._lineage else self._store.lineage(self._job)
        if former is None:
            self._store.abandon(self._job)
        self._lineage = former or Lineage(str(uuid4()))
        return self._lineage.seed

    def go_on(self) -> None:
        with self._lock:
            if not self._note(done=self._finished):
                raise JobMovedOn(self._job.id)

    def finished(self, entries: int) -> None:
        with self._lock:
            self._finished += entries

    def expect(self, entries: int) -> None:
        """Records the number of entries. JobMovedOn."""
        if not self._note(total=entries):
            raise JobMovedOn(self._job.id)

    def _note(self, **values: int) -> bool:
        return self._store.jobs.change(self._job.id, [RUNNING], self._job.attempt, beat=time.time(), **values)

    def of_entries(self, changes: Sequence[Change], context: Context) -> Receipt:
        # Without the resources: they can be read again.
        brief = replace(context, returns=MINIMAL) if context.returns == REPRESENTATION else context

        def contents(new: Sequence[Head]) -> dict[int, str]:
            _set_heads(changes, new)
            return {change.entry.index: json.dumps(of_change(change, brief)).decode() for change in changes}

        return receipts.Entries(self._job, len(changes), contents)

    def of_all(self, changes: Sequence[Change], answer: Callable[[], Sequence[Content]], *, complete: bool) -> Receipt:
        def keep(new: Sequence[Head]) -> tuple[str, int]:
            _set_heads(changes, new)
            return answers.keep(self._store, self._job, response_bundle("transaction", answer()))

        assert self._lineage is not None
        return receipts.Completion(self._job, DONE if complete else COMMITTED, keep, self._lineage)


def _set_heads(changes: Sequence[Change], new: Sequence[Head]) -> None:
    """Sets the heads of the changes: they come first in their commit, AuditEvents follow."""
    for change, head in zip(changes, new[: len(changes)], strict=True):
        change.head = head


def finish(store: Store, job: Job, answer: dict[str, Any]) -> None:
    """Closes the job with its response. No effect if it is over: a transaction without reads closes its job in its commit."""
    known = store.jobs.read(job.id)
    if known and known.state in (RUNNING, COMMITTED):
        result, size = answers.keep(store, job, answer, final=True)
        total = len(answer.get("entry", []))
        store.jobs.change(job.id, [RUNNING, COMMITTED], job.attempt, state=DONE, result=result, size=size, done=total)
