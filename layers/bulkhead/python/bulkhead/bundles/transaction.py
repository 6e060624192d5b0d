"""A transaction: all entries or none, in the order DELETE, POST, PUT, GET, whatever their order in the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.access import policy
from bulkhead.bundles.changes import Change
from bulkhead.bundles.committing import commit
from bulkhead.bundles.context import REPRESENTATION, Context
from bulkhead.bundles.entries import WRITES, Entry, Interaction, at_entry
from bulkhead.bundles.full_urls import FullUrls
from bulkhead.bundles.parse import Faults
from bulkhead.bundles.placeholders import KeyOf, resolve
from bulkhead.bundles.response import Content, note_found, of_change, of_fault
from bulkhead.bundles.starting import start
from bulkhead.errors import BulkheadError, NotFound, Unavailable, raise_together

if TYPE_CHECKING:
    from bulkhead.store import Receipt

_READ = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")

_UNANSWERED = "the transaction is committed, but this read failed: send the read again by itself"


def run(entries: Sequence[Entry], faults: Faults, context: Context) -> list[Content]:
    """The response's entries in request order. BulkheadError, naming the entries at fault; then nothing is written.

    Reads are checked before the commit, so that a read that cannot succeed fails the whole; they are answered after it.
    """
    raise_together(faults[index] for index in sorted(faults))
    made = start((entry for entry in entries if entry.interaction in WRITES), context)
    reads = [entry for entry in entries if entry.interaction not in WRITES]
    raise_together(change.fault for change in made)
    raise_together(_check(entry, context) for entry in reads)
    _check_reads(reads, made, context)

    def answers(of_reads: dict[int, Content]) -> list[Content]:
        contents = {change.entry.index: of_change(change, context) for change in made} | of_reads
        return [contents[entry.index] for entry in entries]

    def receipt(changes: Sequence[Change]) -> Receipt:
        unanswered = {entry.index: of_fault(at_entry(Unavailable(_UNANSWERED), entry)) for entry in reads}
        assert context.journal is not None
        return context.journal.of_all(
            changes, lambda: answers(unanswered), complete=not reads and context.returns != REPRESENTATION
        )

    commit(
        made,
        context,
        together=True,
        receipts=receipt if context.journal else None,
        check=lambda: _check_deleted(reads, made),
    )
    note_found(made, context)
    return answers(read(entries, context, FullUrls((change for change in made if change.key), context.base).key))


def read(entries: Sequence[Entry], context: Context, key_of: KeyOf) -> dict[int, Content]:
    """The responses of the entries that write nothing, by entry. `key_of`: their criteria may name written resources by fullUrl."""
    reads = [entry for entry in entries if entry.interaction not in WRITES]
    return {entry.index: answer(_resolved(entry, key_of), context) for entry in reads}


def _resolved(entry: Entry, key_of: KeyOf) -> Entry:
    path, question_mark, query = entry.url.partition("?")
    return replace(entry, url=path + question_mark + resolve(query, entry.type, key_of)) if query else entry


def answer(entry: Entry, context: Context) -> Content:
    """The response of an entry that writes nothing; an error becomes its status and OperationOutcome."""
    try:
        return context.reader.answer(entry)
    except BulkheadError as error:
        return of_fault(at_entry(error, entry))


def _check(entry: Entry, context: Context) -> BulkheadError | None:
    try:
        context.reader.check(entry, atomic=True)
    except BulkheadError as error:
        return at_entry(error, entry)
    return None


def _check_reads(reads: Sequence[Entry], made: Sequence[Change], context: Context) -> None:
    """Checks that resources that are read by id will exist after the commit, and that the caller may see them."""
    wanted = {key: entry for entry in reads if (key := _read_key(entry))}
    if not wanted:
        return
    raise_together(_may_read(entry, context) for entry in wanted.values())
    sees = policy.fence(context.store, context.caller, policy.READ)
    heads = context.store.read_many(wanted).items()
    there = {key for key, head in heads if not head.deleted and sees(context.store.version(head))}
    there -= {
        change.entry.key for change in made if change.entry.interaction is Interaction.DELETE and change.entry.key
    }
    there |= {key for change in made if change.entry.interaction is Interaction.UPDATE and (key := _updated(change))}
    missing = [key for key in wanted if key not in there]
    for key in missing:
        policy.pay_for_a_look(context.store, context.caller, key)
    raise_together(_missing(wanted[key]) for key in missing)


def _check_deleted(reads: Sequence[Entry], made: Sequence[Change]) -> None:
    """Checks, once criteria are resolved, that nothing is read by id that a conditional DELETE of the same transaction removes."""
    deleted = {change.key for change in made if change.entry.interaction is Interaction.DELETE}
    raise_together(_missing(entry) for entry in reads if _read_key(entry) in deleted)


def _read_key(entry: Entry) -> str | None:
    """The key of the resource whose current version an entry reads; parameters such as `_elements` may follow it."""
    path = entry.url.partition("?")[0]
    return path if _READ.fullmatch(path) else None


def _missing(entry: Entry) -> NotFound:
    return NotFound("this resource does not exist", expression=f"{entry.place}.request.url")


def _updated(change: Change) -> str | None:
    """The key that an update writes, as far as its entry tells; for a conditional update, from the id in its resource."""
    given = (change.entry.resource or {}).get("id")
    return change.entry.key or (f"{change.entry.type}/{given}" if given else None)


def _may_read(entry: Entry, context: Context) -> BulkheadError | None:
    try:
        policy.require(context.caller, policy.READ, entry.type)
    except BulkheadError as error:
        return at_entry(error, entry)
    return None
