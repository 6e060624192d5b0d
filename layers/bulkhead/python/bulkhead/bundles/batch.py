"""A batch: independent entries, each with its own status, processed in request order wherever a client could see the order.

Neighbouring writes to different resources share commits, so thousands of entries take hundreds of round trips, not thousands.
Where a shared commit fails, the batch commits its entries one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bulkhead.bundles.changes import Change
from bulkhead.bundles.committing import Receipts, commit
from bulkhead.bundles.context import Context
from bulkhead.bundles.entries import WRITES, Entry, Interaction, at_entry
from bulkhead.bundles.identities import SameResource
from bulkhead.bundles.parse import Faults
from bulkhead.bundles.response import Content, note_found, of_change, of_fault
from bulkhead.bundles.starting import start
from bulkhead.bundles.transaction import answer
from bulkhead.errors import BulkheadError, JobMovedOn
from bulkhead.parallel import in_context

GROUP = 35
"""How many entries share a commit: with a claim each, and the items that the claims watch, they fit one TransactWriteItems."""
GROUP_WITH_RECEIPTS = 25
"""The same for entries with a receipt and an AuditEvent each."""
GROUPS_AT_ONCE = 4


def run(entries: Sequence[Entry], faults: Faults, context: Context) -> list[Content]:
    """The response's entries in request order; a failed entry has its own status and OperationOutcome.

    Entries that the context's journal lists as done are not repeated. JobMovedOn where the job is over: entries that are done stay.
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
            note_found(writing, context)
            reading = [entry for entry in neighbours if entry.index not in made]
            answers = in_context(pool, lambda entry: answer(entry, context), reading)
            contents |= {entry.index: content for entry, content in zip(reading, answers, strict=True)}
    if journal and any(isinstance(change.fault, JobMovedOn) for change in made.values()):
        # Another delivery of the job has done them meanwhile.
        contents |= journal.done()
    return [contents[index] for index in sorted(contents)]


def _runs(entries: Sequence[Entry], made: Mapping[int, Change]) -> Iterator[list[Entry]]:
    """Groups of neighbours that can be processed at once: writes to different resources, or reads. An operation may write, so it is alone."""
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
    """Makes a group's changes; a change that cannot share the commit is made alone."""
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
