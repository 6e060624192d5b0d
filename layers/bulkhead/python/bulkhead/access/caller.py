"""Who sent a request: what a verified token says of its bearer. What that allows is decided in `access`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bulkhead.access.scopes import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `accounts` and `patient` (an id) are None where they do not fence."""

    subject: str
    scopes: tuple[Scope, ...]
    sets_accounts: bool = False
    accounts: tuple[str, ...] | None = None
    patient: str | None = None
    address: str = ""
    """The IP address that the request came from, for the audit trail."""
    purges: bool = False
    """Whether a scope gives the right to purge."""

    @property
    def fenced(self) -> bool:
        """Whether a claim fences the caller, whatever its scopes give."""
        return self.accounts is not None or self.patient is not None

    @property
    def restricted(self) -> bool:
        """Whether there may be resources of a type that the caller sees, and others of the type that it does not."""
        return self.fenced or any(scope.query for scope in self.scopes)

    @property
    def bounds(self) -> str:
        """A name of all that restricts the caller: the same for callers that see the same; "" for who sees every resource of its types."""
        if not self.restricted:
            return ""
        queries = sorted(str(scope) for scope in self.scopes if scope.query)
        allowed = None if self.accounts is None else sorted(self.accounts)
        return _digest(repr((allowed, self.patient, queries)))

    @property
    def owner(self) -> str:
        """Whose jobs are the caller's: a job may know what another token of the same subject must not be told."""
        rights = sorted(map(str, self.scopes))
        known = (rights, self.sets_accounts, self.bounds, *(["purge"] if self.purges else []))
        return f"{self.subject}#{_digest(repr(known))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
