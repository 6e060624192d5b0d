"""Decides what a caller may do and see: the only place that does. Semantics, section 3.

A caller comes from the claims of a verified token. `scope` holds SMART scopes (see `scopes`) and `accounts.write`, the right to set
accounts. The claim `accounts` fences the caller to resources that carry one of these accounts; `patient` to that Patient's compartment;
with both, a resource must be within both. A scope with a query bounds its rights to the resources that meet it. A resource outside
these bounds is answered as if it did not exist. A claim that cannot be read fences to nothing. Claims are read in `claims`; `decision` decides about one resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.access import rules
from bulkhead.access.caller import Caller as Caller
from bulkhead.access.claims import ANONYMOUS as ANONYMOUS
from bulkhead.access.claims import EVERYBODY as EVERYBODY
from bulkhead.access.claims import NOBODY as NOBODY
from bulkhead.access.claims import SET_ACCOUNTS as SET_ACCOUNTS
from bulkhead.access.claims import caller_of as caller_of
from bulkhead.access.decision import accounts_fence as accounts_fence
from bulkhead.access.decision import chart_fence as chart_fence
from bulkhead.access.decision import charts as charts
from bulkhead.access.decision import claims_fence as claims_fence
from bulkhead.access.decision import decide as decide
from bulkhead.access.decision import fence as fence
from bulkhead.access.decision import is_open_otherwise as is_open_otherwise
from bulkhead.access.decision import listed_under as listed_under
from bulkhead.access.decision import of_type
from bulkhead.access.decision import pay_for_a_look as pay_for_a_look
from bulkhead.access.decision import scoped as scoped
from bulkhead.access.rules import CREATE as CREATE
from bulkhead.access.rules import DELETE as DELETE
from bulkhead.access.rules import READ as READ
from bulkhead.access.rules import SEARCH as SEARCH
from bulkhead.access.rules import UPDATE as UPDATE
from bulkhead.access.rules import Rule
from bulkhead.access.scopes import Scope as Scope
from bulkhead.compartments import accounts
from bulkhead.errors import Forbidden, Issue
from bulkhead.store.version import Fence, ListedFence, Version

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore, Write

CURRENT = "current"
"""The value of HISTORY_ACCESS that shows every version of a visible resource; otherwise a version must be within the fence itself."""


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


def forbidden(right: str, what: str, rule: Rule = Rule.NO_SCOPE) -> Forbidden:
    """That a `rule` closes what the caller may read: `what` is a type, `*` for resources of every type, or a resource."""
    named = "resources of every type" if what == "*" else what
    reasons = {
        Rule.SHARED_READ_ONLY: "it is shared, and only a token without a fence may",
        Rule.NO_ACCOUNT: "it carries none of the token's accounts, and is only readable",
        Rule.OUTSIDE_COMPARTMENT: "it is not in the compartment of the token's patient, and is only readable",
        Rule.SCOPE_QUERY: "it does not meet the query of any scope that would allow it",
    }
    reason = reasons.get(rule, "none of its scopes allows it")
    return Forbidden(f"the token may not {_VERBS[right]} {named}: {reason}", "Authorization")


def require(caller: Caller, right: str, resource_type: str = "*") -> None:
    """Raises Forbidden if the caller has no scope for it; for SET_ACCOUNTS the type does not matter."""
    if right == SET_ACCOUNTS:
        if not caller.sets_accounts:
            raise Forbidden("the token may not set accounts: it has no scope accounts.write", "Authorization")
        if not may_set_accounts(caller):
            raise Forbidden(
                "a token that is fenced to a patient, and not to accounts, cannot set accounts", "Authorization"
            )
        return
    if resource_type == "*":
        if not may(caller, right, resource_type):
            raise forbidden(right, resource_type)
        return
    closed = of_type(caller, right, resource_type)
    if closed == rules.GOVERNS_THE_SERVER:
        raise Forbidden(
            f"a token that is fenced to accounts or a patient cannot change a {resource_type}, which is in force for everybody",
            "Authorization",
        )
    if closed == rules.NO_SCOPE:
        raise forbidden(right, resource_type)


def require_purge(caller: Caller) -> None:
    """Forbidden where the caller may not purge: it takes the scope `purge`, and a token that sees everything."""
    if caller.restricted:
        raise Forbidden("a token that is fenced, or has a scope with a query, cannot purge", "Authorization")
    if not caller.purges:
        raise Forbidden("the token may not purge: it has no scope purge", "Authorization")


def require_writing(caller: Caller) -> None:
    """Raises Forbidden if no scope lets the caller write anything."""
    if not any(right in scope.rights for scope in caller.scopes for right in (CREATE, UPDATE, DELETE)):
        raise Forbidden("none of the token's scopes allows it to write anything", "Authorization")


# What a caller may see


def versions(store: ReadStore, caller: Caller, right: str) -> Fence:
    """The versions, including deletions, that are shown of a visible resource: see the setting HISTORY_ACCESS.

    A deletion does not say whether it was inside.
    """
    if shows_every_version(store, caller):
        return lambda candidate: True
    sees = fence(store, caller, right)

    def is_shown(candidate: Version) -> bool:
        return not candidate.head.deleted and sees(candidate)

    return replace(sees, sees=is_shown) if isinstance(sees, ListedFence) else is_shown


def shows_every_version(store: ReadStore, caller: Caller) -> bool:
    """Whether a caller who may see a resource now may see all its versions."""
    return store.settings.history_access == CURRENT or not caller.restricted


def settable(store: ReadStore, caller: Caller) -> Fence:
    """Whether a caller with the right to set accounts may set those of a resource: only within its fence.

    The right needs no other scope. But a caller who may read only some resources of a type may set only their accounts.
    """
    inside, readable = claims_fence(store, caller), fence(store, caller, READ)
    return lambda candidate: inside(candidate) and (not may(caller, READ, candidate.head.type) or readable(candidate))


# Accounts


def own_accounts(
    caller: Caller, asked: Sequence[str], standing: Sequence[str], *, places: Mapping[str, str]
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
    """The text under which the caller claims a condition: claims of callers who see different resources never collide."""
    return f"{caller.bounds}#{condition}" if caller.bounds else condition


def comes_unfenced(caller: Caller, write: Write) -> bool:
    """Whether the content that a write leaves comes from a caller without a fence.

    A patch keeps the rest of the current content, so it never puts a fenced caller's content in force. A complete update does.
    """
    return not caller.fenced and (not write.partial or (write.base is not None and write.base.unfenced))
