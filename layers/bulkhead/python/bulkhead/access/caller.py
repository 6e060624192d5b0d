"""The sender of a request, as a verified token describes it. `access.policy` decides what the sender may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bulkhead.access.scopes import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `accounts` and `patient` (an id) are None where they do not fence."""

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
        """Whether the caller may see some resources of a type and not others."""
        return self.fenced or any(scope.query for scope in self.scopes)

    @property
    def bounds(self) -> str:
        """A name for the caller's restrictions, equal for callers who see the same; "" for one who sees every resource of its types."""
        if not self.restricted:
            return ""
        queries = sorted(str(scope) for scope in self.scopes if scope.query)
        allowed = None if self.accounts is None else sorted(self.accounts)
        return _digest(repr((allowed, self.patient, queries)))

    @property
    def owner(self) -> str:
        """The owner of the caller's jobs. It includes the restrictions, because a job may hold facts that another token of the subject must not see."""
        rights = sorted(map(str, self.scopes))
        known = (rights, self.sets_accounts, self.bounds, *(["purge"] if self.purges else []))
        return f"{self.subject}#{_digest(repr(known))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
