"""The errors of requests, each class with its HTTP status and OperationOutcome code.

BulkheadError
├── BadRequest                 400  invalid
│   ├── InvalidResource        400  structure (carries every fault found)
│   ├── NotSupported           400  not-supported
│   └── TooCostly              400  too-costly
├── Unauthorized               401  login
├── Forbidden                  403  forbidden
├── NotFound                   404  not-found
├── MethodNotAllowed           405  not-supported
├── NotAcceptable              406  not-supported
├── Conflict                   409  conflict
│   ├── VersionConflict        409  conflict (a base version is no longer current; callers may read again and retry)
│   ├── ClaimTaken             409  duplicate (another resource owns the condition of a conditional create)
│   ├── Purged                 409  conflict (what had the id was erased, and the id is not free yet)
│   └── JobMovedOn             409  conflict (a job is over, or another delivery of it was faster)
├── Gone                       410  deleted
├── PreconditionFailed         412  conflict
│   └── MultipleMatches        412  multiple-matches
├── PayloadTooLarge            413  too-long
│   └── DoesNotFit             413  too-long (a resource cannot be stored with all the accounts that it would have)
├── AnswerTooLarge             413  too-costly
├── UnsupportedMediaType       415  not-supported
├── Unprocessable              422  processing
└── Unavailable                503  transient
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One OperationOutcome.issue. `expression` is a FHIRPath, or the name of a parameter or header."""

    code: str
    diagnostics: str
    expression: str | None = None
    severity: str = "error"


class BulkheadError(Exception):
    """A failure that the client is told about. `message` has only ids, codes and paths, never patient data."""

    status = 500
    code = "exception"

    def __init__(self, message: str, expression: str | None = None, issues: Sequence[Issue] | None = None) -> None:
        super().__init__(message)
        self.issues: tuple[Issue, ...] = tuple(issues) if issues else (Issue(self.code, message, expression),)


class BadRequest(BulkheadError):
    status, code = 400, "invalid"


class InvalidResource(BadRequest):
    code = "structure"


class NotSupported(BadRequest):
    code = "not-supported"


class TooCostly(BadRequest):
    code = "too-costly"


class Unauthorized(BulkheadError):
    status, code = 401, "login"


class Forbidden(BulkheadError):
    status, code = 403, "forbidden"


class NotFound(BulkheadError):
    status, code = 404, "not-found"


class MethodNotAllowed(BulkheadError):
    """`allowed`: the methods that the path accepts."""

    status, code = 405, "not-supported"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message, "method")
        self.allowed = tuple(allowed)


class NotAcceptable(BulkheadError):
    status, code = 406, "not-supported"


class Conflict(BulkheadError):
    status, code = 409, "conflict"


class VersionConflict(Conflict):
    """The head of `key` has changed since it was read."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another request changed {key} at the same time", expression=key)
        self.key = key


class ClaimTaken(Conflict):
    """Another resource already owns the condition of a conditional create."""

    code = "duplicate"

    def __init__(self, condition: str, owner: str | None) -> None:
        super().__init__("another request is creating a resource under the same condition", expression="ifNoneExist")
        self.condition = condition
        self.owner = owner


class Purged(Conflict):
    """What had the id was erased a moment ago. Writers that began before must have ended before the id is free again."""

    def __init__(self, key: str, until: str | None) -> None:
        """`until` the id rests; None where the purge of `key` has not come to its end."""
        text = f"what {key} was has been erased; the id can be used again after {until}"
        if until is None:
            text = (
                f"{key} is being purged; the id can be used again when that is done: send $purge again if it broke off"
            )
        super().__init__(text, expression=key)
        self.key = key


class JobMovedOn(Conflict):
    """A job must not commit any more: it is over, or another delivery of it has committed."""

    def __init__(self, job: str) -> None:
        super().__init__(f"the job {job} is over, or another delivery has taken it up")


class Gone(BulkheadError):
    status, code = 410, "deleted"


class PreconditionFailed(BulkheadError):
    status, code = 412, "conflict"


class MultipleMatches(PreconditionFailed):
    code = "multiple-matches"


class PayloadTooLarge(BulkheadError):
    status, code = 413, "too-long"


class DoesNotFit(PayloadTooLarge):
    """A resource that names so many others with accounts that it cannot be stored with what it inherits from them."""

    def __init__(self, key: str) -> None:
        super().__init__(
            "the resource cannot be stored with its accounts: it names too many others that pass theirs on to it; "
            "make several resources of it",
            expression=key.partition("/")[0],
        )
        self.key = key


class AnswerTooLarge(BulkheadError):
    """What was asked for does not fit into one answer."""

    status, code = 413, "too-costly"


class UnsupportedMediaType(BulkheadError):
    status, code = 415, "not-supported"


class Unprocessable(BulkheadError):
    status, code = 422, "processing"


class Unavailable(BulkheadError):
    status, code = 503, "transient"


def raise_together(errors: Iterable[BulkheadError | None]) -> None:
    """Raises one error if there is any: with the first one's status, and the issues of every error of that status."""
    raised = [error for error in errors if error is not None]
    if raised:
        first = raised[0]
        first.issues = tuple(issue for error in raised if error.status == first.status for issue in error.issues)
        raise first
