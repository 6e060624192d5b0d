"""Decides what a caller may do and see: the only place that does. Semantics, section 3.

A caller comes from the claims of a verified token. `scope` holds SMART scopes (see `scopes`) and `accounts.write`, the right to set
accounts. The claim `accounts` fences the caller to resources that carry one of these accounts; `patient` to that Patient's compartment;
with both, a resource must be within both. A scope with a query bounds its rights to the resources that meet it. A resource outside
seems absent. A claim that cannot be read fences the caller from everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from bulkhead.access import scopes
from bulkhead.access.audit_fence import audit_fence
from bulkhead.access.caller import Caller as Caller
from bulkhead.access.scopes import Scope
from bulkhead.compartments import accounts, membership, patient_links
from bulkhead.errors import Forbidden, Issue, Unauthorized
from bulkhead.facts.audit_names import AUDIT_EVENT, is_trail
from bulkhead.fhir import references

if TYPE_CHECKING:
    from bulkhead.store import Store, Write
    from bulkhead.store.version import Fence, Version

CREATE, READ, UPDATE, DELETE, SEARCH = "c", "r", "u", "d", "s"
SET_ACCOUNTS = "accounts.write"
ANONYMOUS = "anonymous"
OF_THE_SERVER = frozenset({"CompartmentDefinition"})
"""Types that control how the server works: only callers without a fence may write them."""
CURRENT = "current"
"""The value of HISTORY_ACCESS that shows every version of a visible resource; otherwise a version must be within the fence itself."""

UNLISTED = frozenset({AUDIT_EVENT})
"""Types without a listing of all that a fenced caller may see: the server's AuditEvents are visible if all their entities are."""

# Cognito puts the name of its resource server before every scope (docs/operations/identity.md).
_SETTING_ACCOUNTS = frozenset({SET_ACCOUNTS, f"bulkhead/{SET_ACCOUNTS}"})
# Texts of a claim without content: API Gateway renders null in the way of its language, authorizers in theirs.
_NOTHING = frozenset({"", "null", "nil", "<nil>", "<null>", "none", "undefined", "nan", "true", "false"})
NOBODY = ""
"""The patient of a caller who is fenced from everything: no resource has this id."""


EVERYBODY = Caller(ANONYMOUS, (Scope("system", "*", "cruds"),), sets_accounts=True)
"""The caller under `AUTH=off`: every right."""


def caller_of(claims: Mapping[str, str] | None, auth: str) -> Caller:
    """The caller with the verified `claims`, as API Gateway renders them: text, lists as `[a b]`. Unauthorized without."""
    if auth == "off":
        return EVERYBODY
    subject = _text(claims, "sub")
    if claims is None or not subject:
        raise Unauthorized("the request needs a bearer token", "Authorization")
    words = _words(_text(claims, "scope") or _text(claims, "scp"))
    given = scopes.parse(words)
    patient = None
    if "patient" in claims or any(word.startswith("patient/") for word in words):
        # Without a launch patient, patient/ scopes open nothing.
        patient = _patient(_text(claims, "patient"))
    allowed = _accounts(_text(claims, "accounts")) if "accounts" in claims else None
    return Caller(subject, given, not _SETTING_ACCOUNTS.isdisjoint(words), allowed, patient)


def _text(claims: Mapping[str, str] | None, name: str) -> str:
    """The text of a claim; "" if it has no content."""
    value = (claims or {}).get(name)
    return value if isinstance(value, str) and value.casefold() not in _NOTHING else ""


def _words(text: str) -> list[str]:
    """The words of a text, or of a list as API Gateway renders it."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return inner.split()


def _accounts(text: str) -> tuple[str, ...]:
    """One reference, or `[a b]`. () if any item is not a reference: its issuer did not mean such a token."""
    is_list = text.startswith("[") and text.endswith("]")
    words = _words(text) if is_list else [text]
    return tuple(dict.fromkeys(words)) if all(references.local(word) == word for word in words) else ()


def _patient(text: str) -> str:
    return text if references.local(f"Patient/{text}") == f"Patient/{text}" else NOBODY


# What a caller may do


def may(caller: Caller, right: str, resource_type: str) -> bool:
    """Whether a scope of the caller gives `right` (`c`, `r`, `u`, `d`, `s`) on all or some resources of the type."""
    return any(scope.gives(right, resource_type) for scope in caller.scopes)


def sees_all(caller: Caller, right: str, resource_type: str) -> bool:
    """Whether the caller has `right` on every resource of the type, whatever its content, deleted ones included."""
    return not caller.fenced and any(scope.gives(right, resource_type) and not scope.query for scope in caller.scopes)


def may_set_accounts(caller: Caller) -> bool:
    """Whether the caller may set accounts. A caller who is fenced to a Patient may not, unless it is fenced to accounts too."""
    return caller.sets_accounts and (caller.patient is None or caller.accounts is not None)


_VERBS = {
    CREATE: "create",
    READ: "read",
    UPDATE: "update",
    DELETE: "delete",
    SEARCH: "search",
    SET_ACCOUNTS: "set accounts of",
}


def forbidden(right: str, what: str) -> Forbidden:
    """The error that no scope gives a right on `what`: a type, `*` for resources of every type, or a resource."""
    named = "resources of every type" if what == "*" else what
    return Forbidden(f"the token may not {_VERBS[right]} {named}: none of its scopes allows it", "Authorization")


def require(caller: Caller, right: str, resource_type: str = "*") -> None:
    """Raises Forbidden if the caller has no scope for it; for SET_ACCOUNTS the type does not matter."""
    allowed = may_set_accounts(caller) if right == SET_ACCOUNTS else may(caller, right, resource_type)
    if resource_type in OF_THE_SERVER and right in (CREATE, UPDATE, DELETE) and caller.fenced:
        raise Forbidden(
            f"a token that is fenced to accounts or a patient cannot change a {resource_type}, which is in force for everybody",
            "Authorization",
        )
    if not allowed:
        raise forbidden(right, resource_type)


def require_writing(caller: Caller) -> None:
    """Raises Forbidden if no scope lets the caller write anything."""
    if not any(right in scope.rights for scope in caller.scopes for right in (CREATE, UPDATE, DELETE)):
        raise Forbidden("none of the token's scopes allows it to write anything", "Authorization")


# What a caller may see


def fence(store: Store, caller: Caller, right: str) -> Fence:
    """Whether the caller has `right` on a resource: called for every resource that a request reads."""
    from bulkhead.store.version import ListedFence

    inside = reach(store, caller)
    known: dict[str, bool | list[Scope]] = {}

    def sees(candidate: Version) -> bool:
        resource_type = candidate.head.type
        given = known.get(resource_type)
        if given is None:
            given = known[resource_type] = _given(caller, right, resource_type)
        if given is False or not inside(candidate):
            return False
        return given is True or any(scope.covers(candidate) for scope in given)

    return (
        ListedFence(sees, lambda resource_type: listed_under(store, caller, resource_type)) if caller.fenced else sees
    )


def _given(caller: Caller, right: str, resource_type: str) -> bool | list[Scope]:
    """True if the scopes give a right on all resources of a type, False if on none; otherwise the scopes that give it on some."""
    found = [scope for scope in caller.scopes if scope.gives(right, resource_type)]
    return found if found and all(scope.query for scope in found) else bool(found)


def scoped(store: Store, caller: Caller, right: str) -> Fence:
    """Whether the caller's scopes give `right` on a resource, inside or outside its fence."""
    return fence(store, replace(caller, accounts=None, patient=None), right)


def reach(store: Store, caller: Caller) -> Fence:
    """Whether a resource is within the caller's fence, whatever its scopes give."""
    if not caller.fenced:
        return lambda candidate: True
    in_accounts, in_chart = accounts_fence(caller), chart_fence(store, caller)

    def inside(candidate: Version) -> bool:
        return in_accounts(candidate) and in_chart(candidate)

    spoken_of = audit_fence(store, inside)
    return lambda candidate: spoken_of(candidate) if is_trail(candidate.key) else inside(candidate)


def accounts_fence(caller: Caller) -> Fence:
    """Whether a resource carries one of the accounts that fence the caller; True without such a fence."""
    if caller.accounts is None:
        return lambda candidate: True
    allowed = frozenset(caller.accounts)
    return lambda candidate: not allowed.isdisjoint(candidate.head.accounts)


def chart_fence(store: Store, caller: Caller) -> Fence:
    """Whether a resource is in the compartment of the Patient that fences the caller; True without such a fence.

    The compartments of Patients that this one replaces count too, if they say so themselves.
    """
    if caller.patient is None:
        return lambda candidate: True
    if caller.patient == NOBODY:
        return lambda candidate: False
    patient, known = f"Patient/{caller.patient}", membership.in_force(store)

    @cache
    def others() -> frozenset[str]:
        return _replaced(store, patient)

    def is_inside(candidate: Version) -> bool:
        if candidate.key == patient:
            return True
        if candidate.head.deleted:
            # A deletion points at nothing: see `visibility.was_within`.
            return False
        found = membership.memberships(candidate.targets, candidate.key, known)
        if patient in found:
            return True
        # Read only now: hardly any search meets another Patient's resources.
        return any(key.startswith("Patient/") and key in others() for key in found)

    return is_inside


def _replaced(store: Store, patient: str) -> frozenset[str]:
    from bulkhead.store import once_a_request

    return once_a_request(f"replaced by {patient}", lambda: patient_links.agreed(store, patient))


def charts(store: Store, caller: Caller) -> tuple[str, ...] | None:
    """The Patients whose compartments hold all that a caller fenced to a Patient sees; None without such a fence."""
    if caller.patient is None:
        return None
    patient = f"Patient/{caller.patient}"
    return () if caller.patient == NOBODY else (patient, *sorted(_replaced(store, patient)))


def pay_for_a_look(store: Store, caller: Caller) -> None:
    """Does the reads that the check of a hidden resource may need, so that an absent one takes as long."""
    if caller.patient:
        _replaced(store, f"Patient/{caller.patient}")


def listed_under(store: Store, caller: Caller, resource_type: str | None) -> tuple[tuple[str, str], ...] | None:
    """Listings of all that the caller may see of a type, as (`_account` or `_compartment`, its value); None if there are none.

    Without a type: for all types with such listings. They lead a search that would otherwise read other tenants' resources.
    """
    if resource_type in UNLISTED:
        return None
    own = charts(store, caller)
    if own is not None:
        return tuple(("_compartment", chart) for chart in own)
    return None if caller.accounts is None else tuple(("_account", account) for account in caller.accounts)


def versions(store: Store, caller: Caller, right: str) -> Fence:
    """The versions, including deletions, that are shown of a visible resource: see the setting HISTORY_ACCESS.

    A deletion does not say whether it was inside.
    """
    if shows_every_version(store, caller):
        return lambda candidate: True
    sees = fence(store, caller, right)
    return lambda candidate: not candidate.head.deleted and sees(candidate)


def shows_every_version(store: Store, caller: Caller) -> bool:
    """Whether a caller who may see a resource now may see all its versions."""
    return store.settings.history_access == CURRENT or not caller.restricted


def settable(store: Store, caller: Caller) -> Fence:
    """Whether a caller with the right to set accounts may set those of a resource: only within its fence.

    The right needs no other scope. But a caller who may read only some resources of a type may set only their accounts.
    """
    inside, readable = reach(store, caller), fence(store, caller, READ)
    return lambda candidate: inside(candidate) and (not may(caller, READ, candidate.head.type) or readable(candidate))


# Accounts


def own_accounts(
    caller: Caller, asked: Sequence[str], standing: Sequence[str], places: Mapping[str, str]
) -> tuple[str, ...]:
    """The new own accounts of a resource where a caller with the right asks for `asked`, and `standing` are the current ones.

    A fenced caller sets and removes its own accounts; the others stay in their places. Forbidden if it asks for another account,
    whether that exists or not; `places` says where the request has each account.
    """
    if caller.accounts is None:
        return tuple(dict.fromkeys(asked))
    outside = [account for account in asked if account not in caller.accounts]
    if outside:
        text = "the token's claim accounts does not name this account, so it cannot set it"
        raise Forbidden(text, issues=[Issue(Forbidden.code, text, places.get(account)) for account in outside])
    return accounts.replaced(standing, asked, caller.accounts)


def accounts_of_new(caller: Caller) -> tuple[str, ...]:
    """The own accounts of a resource that the caller creates without `meta.accounts`: those that fence the caller."""
    return caller.accounts or ()


def claim(caller: Caller, condition: str) -> str:
    """The text under which the caller claims a condition: claims of callers who see different resources never collide."""
    return f"{caller.bounds}#{condition}" if caller.bounds else condition


def comes_unfenced(caller: Caller, write: Write) -> bool:
    """Whether the content that a write leaves comes from a caller without a fence.

    A patch keeps the rest of the current content, so it never puts a fenced caller's content in force. A complete update does.
    """
    return not caller.fenced and (not write.partial or (write.base is not None and write.base.unfenced))
