"""Who may do what, and see what: the one place that decides. Semantics, section 3.

A caller comes from the claims of a verified token. `scope` holds SMART scopes (see `scopes`) and `accounts.write`, the right to set
accounts. The claim `accounts` fences the caller to what carries one of these accounts, `patient` to that Patient's compartment; with
both, a resource must be within both. A scope with a query bounds its rights to what meets the query. What is outside answers as if it
did not exist. A claim that cannot be read fences to nothing.
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
    from bulkhead.store import Head, Store, Write
    from bulkhead.store.version import Fence, Version

CREATE, READ, UPDATE, DELETE, SEARCH = "c", "r", "u", "d", "s"
SET_ACCOUNTS = "accounts.write"
ANONYMOUS = "anonymous"
OF_THE_SERVER = frozenset({"CompartmentDefinition"})
"""Types that say how the server works: written by callers who are not fenced."""
CURRENT = "current"
"""The setting HISTORY_ACCESS that shows who may see a resource all its versions; with any other, a version must be within the fence itself."""

UNLISTED = frozenset({AUDIT_EVENT})
"""Types of which no listing holds all that a fenced caller may see: AuditEvents of the server are visible where what they speak of is."""

# Cognito puts the name of its resource server before every scope (docs/operations/identity.md).
_SETTING_ACCOUNTS = frozenset({SET_ACCOUNTS, f"bulkhead/{SET_ACCOUNTS}"})
# How a claim that holds nothing may reach us as text: API Gateway renders null in the way of its language, authorizers in that of theirs.
_NOTHING = frozenset({"", "null", "nil", "<nil>", "<null>", "none", "undefined", "nan", "true", "false"})
NOBODY = ""
"""As the Patient that a caller is fenced to: no resource has this id, so the caller sees nothing."""


EVERYBODY = Caller(ANONYMOUS, (Scope("system", "*", "cruds"),), sets_accounts=True)
"""The caller where `AUTH=off`: every right."""


def caller_of(claims: Mapping[str, str] | None, auth: str) -> Caller:
    """The caller with the verified `claims`, as API Gateway renders them: text, lists as `[a b]`. Unauthorized without."""
    if auth == "off":
        return EVERYBODY
    subject = _text(claims, "sub")
    if claims is None or not subject:
        raise Unauthorized("a bearer token is needed", "Authorization")
    words = _words(_text(claims, "scope") or _text(claims, "scp"))
    given = scopes.parse(words)
    patient = None
    if "patient" in claims or any(word.startswith("patient/") for word in words):
        # Without a launch patient, patient/ scopes open nothing.
        patient = _patient(_text(claims, "patient"))
    allowed = _accounts(_text(claims, "accounts")) if "accounts" in claims else None
    return Caller(subject, given, not _SETTING_ACCOUNTS.isdisjoint(words), allowed, patient)


def _text(claims: Mapping[str, str] | None, name: str) -> str:
    """A claim that is text and says something, "" else."""
    value = (claims or {}).get(name)
    return value if isinstance(value, str) and value.casefold() not in _NOTHING else ""


def _words(text: str) -> list[str]:
    """The words of a text, or of a list as API Gateway renders it."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return inner.split()


def _accounts(text: str) -> tuple[str, ...]:
    """One reference, or `[a b]`. () where there is anything else among them: such a token is not what its issuer meant."""
    is_list = text.startswith("[") and text.endswith("]")
    words = _words(text) if is_list else [text]
    return tuple(dict.fromkeys(words)) if all(references.local(word) == word for word in words) else ()


def _patient(text: str) -> str:
    return text if references.local(f"Patient/{text}") == f"Patient/{text}" else NOBODY


# What a caller may do


def may(caller: Caller, right: str, resource_type: str) -> bool:
    """Whether a scope of the caller gives `right` (`c`, `r`, `u`, `d`, `s`) on resources of the type, or on some of them."""
    return any(scope.gives(right, resource_type) for scope in caller.scopes)


def sees_all(caller: Caller, right: str, resource_type: str) -> bool:
    """Whether the caller has `right` on every resource of the type, whatever is in it: also on those that were deleted."""
    return not caller.fenced and any(scope.gives(right, resource_type) and not scope.query for scope in caller.scopes)


def may_set_accounts(caller: Caller) -> bool:
    """Whether the caller may set accounts. Who is fenced to a Patient has none to set, unless it is fenced to accounts as well."""
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
    """That no scope of the token gives a right on `what`: a type, `*` for resources of every type, or a resource."""
    named = "resources of every type" if what == "*" else what
    return Forbidden(f"the token may not {_VERBS[right]} {named}: none of its scopes allows it", "Authorization")


def require(caller: Caller, right: str, resource_type: str = "*") -> None:
    """Forbidden where the caller has no scope for it; for SET_ACCOUNTS the type does not matter."""
    allowed = may_set_accounts(caller) if right == SET_ACCOUNTS else may(caller, right, resource_type)
    if resource_type in OF_THE_SERVER and right in (CREATE, UPDATE, DELETE) and caller.fenced:
        raise Forbidden(
            f"a token that is fenced to accounts or a patient cannot change a {resource_type}, which is in force for everybody",
            "Authorization",
        )
    if not allowed:
        raise forbidden(right, resource_type)


def require_writing(caller: Caller) -> None:
    """Forbidden where no scope of the caller lets it write anything."""
    if not any(right in scope.rights for scope in caller.scopes for right in (CREATE, UPDATE, DELETE)):
        raise Forbidden("none of the token's scopes allows it to write anything", "Authorization")


# What a caller may see


def fence(store: Store, caller: Caller, right: str) -> Fence:
    """Whether the caller has `right` on a resource: asked for every resource that a request comes upon."""
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
    """True where the scopes give a right on all resources of a type, False where on none, else the scopes that give it on some."""
    found = [scope for scope in caller.scopes if scope.gives(right, resource_type)]
    return found if found and all(scope.query for scope in found) else bool(found)


def scoped(store: Store, caller: Caller, right: str) -> Fence:
    """Whether the caller's scopes give `right` on a resource, wherever it is."""
    return fence(store, replace(caller, accounts=None, patient=None), right)


def reach(store: Store, caller: Caller) -> Fence:
    """Whether a resource is within what the caller is fenced to, whatever its scopes give."""
    if not caller.fenced:
        return lambda candidate: True
    in_accounts, in_chart = accounts_fence(caller), chart_fence(store, caller)

    def inside(candidate: Version) -> bool:
        return in_accounts(candidate) and in_chart(candidate)

    spoken_of = audit_fence(store, inside)
    return lambda candidate: spoken_of(candidate) if is_trail(candidate.key) else inside(candidate)


def accounts_fence(caller: Caller) -> Fence:
    """Whether a resource carries one of the accounts that the caller is fenced to, if it is to any."""
    if caller.accounts is None:
        return lambda candidate: True
    allowed = frozenset(caller.accounts)
    return lambda candidate: not allowed.isdisjoint(candidate.head.accounts)


def chart_fence(store: Store, caller: Caller) -> Fence:
    """Whether a resource is in the compartment of the Patient that the caller is fenced to, if it is to one.

    Or in that of a Patient that this one replaces and that says so itself.
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
            # It points at nothing any more: see `visibility.was_within`.
            return False
        found = membership.memberships(candidate.targets, candidate.key, known)
        if patient in found:
            return True
        # Asked for only now: hardly any search comes upon what is another Patient's.
        return any(key.startswith("Patient/") and key in others() for key in found)

    return is_inside


def _replaced(store: Store, patient: str) -> frozenset[str]:
    from bulkhead.store import once_a_request

    return once_a_request(f"replaced by {patient}", lambda: patient_links.agreed(store, patient))


def charts(store: Store, caller: Caller) -> tuple[str, ...] | None:
    """The Patients whose compartments hold all that a caller fenced to a Patient sees; None where it is not fenced to one."""
    if caller.patient is None:
        return None
    patient = f"Patient/{caller.patient}"
    return () if caller.patient == NOBODY else (patient, *sorted(_replaced(store, patient)))


def pay_for_a_look(store: Store, caller: Caller) -> None:
    """Read what a look at a hidden resource may have to read: so that one that is not there takes as long."""
    if caller.patient:
        _replaced(store, f"Patient/{caller.patient}")


def listed_under(store: Store, caller: Caller, resource_type: str | None) -> tuple[tuple[str, str], ...] | None:
    """Listings that hold all that the caller may see of a type, as (`_account` or `_compartment`, its value); None where nobody knows.

    Without a type: of all types that have such listings. They lead a search that would read what others have otherwise.
    """
    if resource_type in UNLISTED:
        return None
    own = charts(store, caller)
    if own is not None:
        return tuple(("_compartment", chart) for chart in own)
    return None if caller.accounts is None else tuple(("_account", account) for account in caller.accounts)


def versions(store: Store, caller: Caller, right: str) -> Fence:
    """Which versions, deletions among them, are shown of a resource that the caller may see now: see the setting HISTORY_ACCESS.

    A deletion has nothing by which to know whether it was inside.
    """
    if shows_every_version(store, caller):
        return lambda candidate: True
    sees = fence(store, caller, right)
    return lambda candidate: not candidate.head.deleted and sees(candidate)


def shows_every_version(store: Store, caller: Caller) -> bool:
    """Whether who may see a resource now may see all its versions."""
    return store.settings.history_access == CURRENT or not caller.restricted


def settable(store: Store, caller: Caller) -> Fence:
    """On which resources a caller with the right to set accounts may do so: on those within its fence.

    The right needs no other scope. But who may read some resources of a type only sets accounts on no others.
    """
    inside, readable = reach(store, caller), fence(store, caller, READ)
    return lambda candidate: inside(candidate) and (not may(caller, READ, candidate.head.type) or readable(candidate))


# Accounts


def own_accounts(
    caller: Caller, asked: Sequence[str], standing: Sequence[str], places: Mapping[str, str]
) -> tuple[str, ...]:
    """The own accounts that a resource gets where a caller with the right asks for `asked`, and has `standing` now.

    A fenced caller sets and removes those that it is fenced to; the others stay in their places. Forbidden where it asks for any
    besides, whether they exist or not: `places` says where each of them stands in the request.
    """
    if caller.accounts is None:
        return tuple(dict.fromkeys(asked))
    outside = [account for account in asked if account not in caller.accounts]
    if outside:
        text = "the token's claim accounts does not name this account, so it cannot set it"
        raise Forbidden(text, issues=[Issue(Forbidden.code, text, places.get(account)) for account in outside])
    return accounts.replaced(standing, asked, caller.accounts)


def accounts_of_new(caller: Caller) -> tuple[str, ...]:
    """The own accounts of what the caller creates, and says nothing of accounts: those that it is fenced to."""
    return caller.accounts or ()


def may_seal(caller: Caller, head: Head) -> bool:
    """Whether the caller may decide whether a resource inherits: because that takes others' access away, or gives it.

    One who is fenced, only for what was made within its own fence.
    """
    if not may_set_accounts(caller):
        return False
    return not caller.fenced or (bool(head.maker) and set(head.maker) <= set(caller.accounts or ()))


def require_may_seal(caller: Caller, head: Head, place: str) -> None:
    """Forbidden where the caller may not decide whether a resource inherits."""
    if not may_seal(caller, head):
        raise Forbidden(
            "whether this resource inherits is decided by unfenced callers, and by those with accounts.write within whose own accounts "
            "it was created",
            place,
        )


def claim(caller: Caller, condition: str) -> str:
    """Under which text the caller claims the condition of a conditional create: callers who see different resources never meet."""
    return f"{caller.bounds}#{condition}" if caller.bounds else condition


def comes_unfenced(caller: Caller, write: Write) -> bool:
    """Whether the content that a write leaves behind comes from a caller whom no claim fences.

    A patch takes over the rest of what stands: it never puts in force what a fenced caller wrote. To write it anew does.
    """
    return not caller.fenced and (not write.partial or (write.base is not None and write.base.unfenced))
