"""A batch: independent entries, each with its own status, done in the order of the request as far as that can be seen.

Writes that stand next to each other and name different resources share commits: thousands of entries take hundreds of
round trips, not thousands. Where a shared commit fails, its entries are made one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bulkhead.bundles.changes import Change, start
from bulkhead.bundles.committing import Receipts, commit
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import WRITES, Entry, Interaction, at_entry
from bulkhead.bundles.identities import SameResource
from bulkhead.bundles.parse import Faults
from bulkhead.bundles.response import Content, of_change, of_fault
from bulkhead.bundles.transaction import answer
from bulkhead.errors import BulkheadError, JobMovedOn
from bulkhead.parallel import in_context

GROUP = 35
"""Entries of a shared commit: with a claim each, and what those have to watch, no more than one TransactWriteItems takes."""
GROUP_WITH_RECEIPTS = 25
"""The same with a receipt each, and an AuditEvent."""
GROUPS_AT_ONCE = 4


def run(entries: Sequence[Entry], faults: Faults, context: Context) -> list[Content]:
    """The response's entries in the order of the request, those that failed with their own status and outcome.

    What the context's journal has as done is not done again. JobMovedOn where the job is over: what is done stays done.
    """
    contents: dict[int, Content] = {index: of_fault(error) for index, error in faults.items()}
    journal = context.journal
    if journal:
        contents |= journal.done()
        journal.finished(len(contents))
    left = [entry for entry in entries if entry.index not in contents]
    made = {
        change.entry.index: change
        for change in start((entry for entry in left if entry.interaction in WRITES), context)
    }
    size = GROUP_WITH_RECEIPTS if journal else GROUP
    with ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
        for neighbours in _runs(left, made):
            writing = [made[entry.index] for entry in neighbours if entry.index in made]
            groups = [writing[start : start + size] for start in range(0, len(writing), size)]
            in_context(pool, lambda group: _commit(group, context), groups)
            contents |= {change.entry.index: of_change(change, context) for change in writing}
            reading = [entry for entry in neighbours if entry.index not in made]
            answers = in_context(pool, lambda entry: answer(entry, context), reading)
            contents |= {entry.index: content for entry, content in zip(reading, answers, strict=True)}
    if journal and any(isinstance(change.fault, JobMovedOn) for change in made.values()):
        # Another delivery of the job has done them in the meantime.
        contents |= journal.done()
    return [contents[index] for index in sorted(contents)]


def _runs(entries: Sequence[Entry], made: Mapping[int, Change]) -> Iterator[list[Entry]]:
    """Neighbours that can be done at once: writes to resources of different names, or reads. An operation may write, and is alone."""
    run: list[Entry] = []
    names: set[object] = set()
    for entry in entries:
        change = made.get(entry.index)
        name = (entry.key or change.condition or entry.index) if change else None
        alone = Interaction.OPERATION in (entry.interaction, run[-1].interaction if run else None)
        if run and (alone or name in names or (change is None) != (run[-1].index not in made)):
            yield run
            run, names = [], set()
        run.append(entry)
        names |= {name} if change else set()
    if run:
        yield run


def _commit(group: Sequence[Change], context: Context) -> None:
    """Make a group's changes, those alone that cannot be made together with the others."""
    journal = context.journal
    if journal:
        journal.go_on()
    try:
        commit(group, context, together=False, receipts=_receipts(context))
    except BulkheadError:
        alone: Sequence[Change] = group
    else:
        alone = [change for change in group if isinstance(change.fault, SameResource)]
        for change in alone:
            change.fault = None
    for change in alone:
        _commit_alone(change, context)
    if journal:
        journal.finished(len(group))


def _receipts(context: Context) -> Receipts | None:
    journal = context.journal
    return (lambda changes: journal.of_entries(changes, context)) if journal else None


def _commit_alone(change: Change, context: Context) -> None:
    if change.fault is None:
        try:
            commit([change], context, together=False, receipts=_receipts(context))
        except BulkheadError as error:
            change.fault = at_entry(error, change.entry)
