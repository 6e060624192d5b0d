"""The context of processing a bundle: the caller, the store, and the functions that the layers above provide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.bundles.entries import Entry
from bulkhead.resources.conditions import Condition, condition_for
from bulkhead.store.version import Fence

if TYPE_CHECKING:
    from bulkhead.bundles.changes import Change
    from bulkhead.session import Session
    from bulkhead.store import Head, Receipt, Store

MINIMAL, REPRESENTATION, OPERATION_OUTCOME = "minimal", "representation", "OperationOutcome"


class Reader(Protocol):
    """Answers the entries that write nothing, exactly as a client's separate request would be answered."""

    def check(self, entry: Entry, *, atomic: bool) -> None:
        """Raises a BulkheadError where the request is certain to fail; `atomic`: as part of a transaction."""

    def answer(self, entry: Entry) -> dict[str, Any]:
        """The content of the response's entry: `response`, and `resource` if there is one. BulkheadError where the request fails."""


class Represent(Protocol):
    """Gives a resource in the form that a client sees."""

    def __call__(self, head: Head) -> dict[str, Any]: ...


class Journal(Protocol):
    """The record of a job while it processes a bundle, so that the next attempt repeats nothing."""

    def done(self) -> Mapping[int, dict[str, Any]]:
        """The responses of the batch entries that are done already, by entry."""

    def begin(self) -> str:
        """Called before each attempt to commit a transaction. The seed of its fresh ids: that of an earlier delivery, if it goes on with one."""

    def go_on(self) -> None:
        """Called before each commit of a batch. JobMovedOn where the job is over, or another attempt has taken it up."""

    def finished(self, entries: int) -> None:
        """Adds `entries` to the number of processed entries."""

    def of_entries(self, changes: Sequence[Change], context: Context) -> Receipt:
        """The receipt that marks entries of a batch as done, in the same commit as their changes."""

    def of_all(
        self, changes: Sequence[Change], answer: Callable[[], Sequence[dict[str, Any]]], *, complete: bool
    ) -> Receipt:
        """The receipt of a transaction: `answer` makes its response from the committed changes; `complete` if that is all of it."""


@dataclass(frozen=True, slots=True)
class Context:
    """One request: its caller, its store, and the form of response that the client wants."""

    session: Session
    base: str
    """URL of this server, such as `http://127.0.0.1:8000/fhir/R4`."""
    reader: Reader
    represent: Represent
    note_told: Callable[[Head], None]
    """Puts a version that the answer names, and does not show, into the read log, unless the request has made it."""
    returns: str = MINIMAL
    """`Prefer: return=`."""
    journal: Journal | None = None
    """None for a synchronous request: nobody resumes it."""

    @property
    def store(self) -> Store:
        return self.session.store

    @property
    def caller(self) -> Caller:
        return self.session.caller

    def condition(self, resource_type: str, criteria: str, place: str) -> Condition:
        """The condition that criteria express for this caller; BadRequest at `place`."""
        return condition_for(self.session, resource_type, criteria, expression=place, base=self.base)

    @property
    def found_by(self) -> Fence:
        """The fence on what the caller's conditions may find."""
        return policy.fence(self.store, self.caller, policy.SEARCH)
