"""Who may do what, and see what: the one place that decides. Semantics, section 3.

A caller comes from the claims of a verified token. `scope` holds SMART scopes (`system/*.cruds`, v1's `.read` and `.write` understood)
and `accounts.write`, the right to set accounts. The claim `accounts` fences the caller to what carries one of these accounts,
`patient` with `patient/` scopes to that Patient's compartment. What is outside answers as if it did not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bulkhead import compartments, replaced
from bulkhead.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from bulkhead.search.candidate import Candidate, Fence
    from bulkhead.store import Store

CREATE, READ, UPDATE, DELETE, SEARCH = "c", "r", "u", "d", "s"
SET_ACCOUNTS = "accounts.write"
ANONYMOUS = "anonymous"
OF_THE_SERVER = frozenset({"CompartmentDefinition"})
"""Types that say how the server works: written by callers who are not fenced."""

_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One SMART scope: what it gives on which type (`*` for all)."""

    context: str
    resource_type: str
    rights: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `accounts` and `patient` are None where they do not fence."""

    subject: str
    scopes: tuple[Scope, ...]
    sets_accounts: bool = False
    accounts: tuple[str, ...] | None = None
    patient: str | None = None
    address: str = ""
    """The IP address that the request came from, for the audit trail."""

    @property
    def fenced(self) -> bool:
        return self.accounts is not None or self.patient is not None


EVERYBODY = Caller(ANONYMOUS, (Scope("system", "*", "cruds"),), sets_accounts=True)
"""The caller where `AUTH=off`: every right."""


def caller(claims: Mapping[str, str] | None, auth: str) -> Caller:
    """The caller with the verified `claims`, as API Gateway renders them: text, lists as `[a b]`. Unauthorized without."""
    if auth == "off":
        return EVERYBODY
    if not claims or "sub" not in claims:
        raise Unauthorized("a bearer token is needed", "Authorization")
    words = claims.get("scope", claims.get("scp", "")).strip("[]").split()
    scopes = tuple(scope for word in words if (scope := _scope(word)))
    accounts = tuple(claims["accounts"].strip("[]").split()) if "accounts" in claims else None
    patient = claims.get("patient")
    if any(scope.context == "patient" for scope in scopes):
        # Without a launch patient such scopes open nothing: the fence is a Patient that nobody has.
        patient = patient or "none"
    return Caller(claims["sub"], scopes, SET_ACCOUNTS in words, accounts, patient)


def _scope(word: str) -> Scope | None:
    match = _SCOPE.fullmatch(word)
    return Scope(match[1], match[2], _V1.get(match[3], match[3])) if match else None


def may(who: Caller, right: str, resource_type: str) -> bool:
    """Whether a scope of the caller gives `right` (`c`, `r`, `u`, `d`, `s`) on resources of the type."""
    return any(right in scope.rights and scope.resource_type in ("*", resource_type) for scope in who.scopes)


def require(who: Caller, right: str, resource_type: str = "*") -> None:
    """Forbidden where the caller has no scope for it."""
    allowed = who.sets_accounts if right == SET_ACCOUNTS else may(who, right, resource_type)
    if resource_type in OF_THE_SERVER and right in (CREATE, UPDATE, DELETE) and who.fenced:
        raise Forbidden(
            f"a token that is fenced cannot change {resource_type}: it is in force for all", "Authorization"
        )
    if not allowed:
        raise Forbidden(f"the token's scopes do not give this right ({right}) on {resource_type}", "Authorization")


def require_writing(who: Caller) -> None:
    """Forbidden where no scope of the caller lets it write anything."""
    if not any(right in scope.rights for scope in who.scopes for right in (CREATE, UPDATE, DELETE)):
        raise Forbidden("the token's scopes give no right to write", "Authorization")


def fence(store: Store, who: Caller, right: str = READ) -> Fence:
    """Whether the caller may see a resource: asked for every resource that a request comes upon."""
    if not who.fenced:
        return lambda candidate: may(who, right, candidate.head.type)
    inside = _inside(store, f"Patient/{who.patient}") if who.patient else None
    accounts = frozenset(who.accounts) if who.accounts is not None else None

    def sees(candidate: Candidate) -> bool:
        if not may(who, right, candidate.head.type):
            return False
        if accounts is not None and accounts.isdisjoint(candidate.head.accounts):
            return False
        return inside is None or inside(candidate)

    return sees


def _inside(store: Store, patient: str) -> Fence:
    """Whether a resource is in the compartment of `patient`, or of a Patient that this one replaces and that says so itself."""
    known = compartments.in_force(store)

    @cache
    def others() -> frozenset[str]:
        return replaced.agreed(store, patient)

    def is_inside(candidate: Candidate) -> bool:
        if candidate.key == patient:
            return True
        found = compartments.memberships(candidate.targets, candidate.key, known)
        if patient in found:
            return True
        # Asked for only now: hardly any search comes upon what is another Patient's.
        return any(key.startswith("Patient/") and key in others() for key in found)

    return is_inside


def explicit_on_create(who: Caller, given: tuple[str, ...]) -> tuple[str, ...]:
    """The own accounts of what the caller creates: the given ones, and those that it is fenced to."""
    return tuple(dict.fromkeys((*given, *(who.accounts or ()))))
