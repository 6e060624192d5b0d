"""Batch and transaction: `POST [base]` with a Bundle (R4 http.html 3.1.0.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.bundles import batch, parse, transaction
from bulkhead.bundles.context import Context, Reader
from bulkhead.bundles.entries import Entry, Interaction, at_entry
from bulkhead.bundles.preparation import RIGHTS
from bulkhead.bundles.response import response_bundle
from bulkhead.errors import BulkheadError, Forbidden, raise_together

__all__ = ["Context", "Entry", "Interaction", "Reader", "check", "process", "read_again"]


def process(bundle: dict[str, Any], context: Context) -> dict[str, Any]:
    """The response Bundle of a batch or transaction of any number of entries.

    Resolves references in the resources of `bundle` in place. BulkheadError for an invalid Bundle (400, with the place of
    every fault), and for a transaction that fails: then nothing of it is written.
    """
    limit = context.session.settings.entry_limit
    kind = parse.bundle_type(bundle, limit)
    entries, faults = parse.entries(bundle, context.base, limit)
    run = transaction.run if kind == parse.TRANSACTION else batch.run
    return response_bundle(kind, run(entries, faults, context))


def check(bundle: dict[str, Any], caller: Caller, base: str, *, limit: int) -> int:
    """Raises the errors of `process` that need no read of the store; returns the number of entries, `limit` at most.

    For a transaction: every fault of form, and every right that `caller` lacks. Entries of a batch get these errors in their responses.
    """
    kind = parse.bundle_type(bundle, limit)
    parse.check_bundle(bundle)
    if kind == parse.TRANSACTION:
        entries, faults = parse.entries(bundle, base, limit)
        raise_together(faults[index] for index in sorted(faults))
        raise_together(_forbidden(entry, caller) for entry in entries)
    return len(bundle.get("entry", []))


def _forbidden(entry: Entry, caller: Caller) -> BulkheadError | None:
    if entry.interaction in RIGHTS:
        try:
            policy.require(caller, RIGHTS[entry.interaction], entry.type)
        except Forbidden as error:
            return at_entry(error, entry)
    return None


def read_again(bundle: dict[str, Any], answer: dict[str, Any], context: Context) -> dict[str, Any]:
    """The `answer` to a committed transaction, with the responses of its reads made anew."""
    entries, _ = parse.entries(bundle, context.base, context.session.settings.entry_limit)
    contents = dict(enumerate(answer.get("entry", []))) | transaction.read(
        entries, context, _written(entries, answer).get
    )
    return response_bundle(parse.TRANSACTION, [contents[index] for index in sorted(contents)])


def _written(entries: Sequence[Entry], answer: dict[str, Any]) -> dict[str, str]:
    """`Type/id` by fullUrl for the resources that a committed transaction wrote, taken from its answer."""
    contents = answer.get("entry", [])
    locations = {
        entry.full_url: contents[entry.index].get("response", {}).get("location", "")
        for entry in entries
        if entry.full_url and entry.index < len(contents)
    }
    return {url: location.partition("/_history/")[0] for url, location in locations.items() if location}
