"""What processing a bundle needs to know and to reach, beside the bundle."""

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
    """Answers the entries that write nothing: what a client would get for the same request by itself."""

    def check(self, entry: Entry, *, atomic: bool) -> None:
        """A BulkheadError where the request can be known to fail before it is made; `atomic`: as part of a transaction."""

    def answer(self, entry: Entry) -> dict[str, Any]:
        """The content of the entry of the response: `response`, and `resource` where there is one. BulkheadError where it fails."""


class Represent(Protocol):
    """A resource as a client sees it."""

    def __call__(self, head: Head) -> dict[str, Any]: ...


class Journal(Protocol):
    """What a job writes down while it processes a bundle, so that one who takes it up again repeats nothing."""

    def done(self) -> Mapping[int, dict[str, Any]]:
        """The answers of a batch's entries that are done already, by entry."""

    def go_on(self) -> None:
        """Called before each commit of a batch. JobMovedOn where the job is over, or another has taken it up."""

    def finished(self, entries: int) -> None:
        """So many entries more are dealt with."""

    def of_entries(self, changes: Sequence[Change], context: Context) -> Receipt:
        """The receipt that makes entries of a batch `done`, in one fact with their commit."""

    def of_all(
        self, changes: Sequence[Change], answer: Callable[[], Sequence[dict[str, Any]]], complete: bool
    ) -> Receipt:
        """The receipt of a transaction: `answer` makes its answer, of what will have been committed; `complete` where that is all of it."""


@dataclass(frozen=True, slots=True)
class Context:
    """One request: for whom, on which store, and what the client wants back."""

    session: Session
    base: str
    """URL of this server, such as `http://127.0.0.1:8000/fhir/R4`."""
    reader: Reader
    represent: Represent
    returns: str = MINIMAL
    """`Prefer: return=`."""
    journal: Journal | None = None
    """None where the answer is waited for: nobody takes such a request up again."""

    @property
    def store(self) -> Store:
        return self.session.store

    @property
    def caller(self) -> Caller:
        return self.session.caller

    def condition(self, resource_type: str, criteria: str, place: str) -> Condition:
        """What criteria ask for, as this caller means it; BadRequest at `place`."""
        return condition_for(self.session, resource_type, criteria, place, self.base)

    @property
    def found_by(self) -> Fence:
        """What the caller's conditions may find."""
        return policy.fence(self.store, self.caller, policy.SEARCH)
