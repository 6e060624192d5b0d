"""Visibility of a resource that a request names by its id, and the version that an update builds on. A hidden resource seems absent."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.compartments import membership
from bulkhead.errors import NotFound
from bulkhead.facts.security_context import BINARY, SECURITY_CONTEXT, context_of
from bulkhead.store import Head, ReadStore
from bulkhead.store.preconditions import Preconditions
from bulkhead.store.version import Fence, Version

_LISTED = 100
_MOST_LISTED = 1000
"""How many members are read to see whether an id is free; if there are more, it is not."""
# The server's own events: a caller who asks for an absent resource may be the subject of one.
_AUDIT = "AuditEvent/"


def not_known(store: ReadStore, caller: Caller, key: str) -> NotFound:
    """The error for an absent resource and, word for word and as late, for one that the caller may not see."""
    policy.pay_for_a_look(store, caller, key)
    return NotFound(f"{key} is not known", "id")


def require_visible(store: ReadStore, caller: Caller, head: Head, *, right: str) -> Head:
    """A live head on which the caller has `right`. NotFound if it may not see the resource, Forbidden if it may only see it."""
    candidate = store.version(head)
    found = policy.decide(store, caller, right).verdict(candidate)
    if not found.opens:
        if right != policy.READ and policy.fence(store, caller, policy.READ)(candidate):
            raise policy.forbidden(right, head.key, found.rule)
        raise not_known(store, caller, head.key)
    return head


def base_of_update(store: ReadStore, caller: Caller, base: Head | None) -> tuple[Head | None, bool]:
    """The version that an update builds on, where `base` is the current one; and whether the id belongs to a resource that is hidden.

    Such an id counts as free up to the commit, which then refuses it (see `write_policy`). All other checks come first, so that a
    request that fails anyway does not reveal which ids exist. Forbidden as in `require_visible`.
    """
    if base is None or not caller.restricted:
        return base, False
    if base.deleted:
        # A deletion keeps its accounts, and is as hidden as the deleted resource. The guard checks the caller's other bounds: they
        # cost reads, whose number would tell a deleted resource from an absent one.
        hidden = not policy.accounts_fence(caller)(store.version(base))
        return (None, True) if hidden else (base, False)
    try:
        return require_visible(store, caller, base, right=policy.UPDATE), False
    except NotFound:
        return None, True


def require_preconditions(
    store: ReadStore, caller: Caller, right: str, *, key: str, base: Head | None, wanted: Preconditions
) -> None:
    """Raises PreconditionFailed where the current version is not as `wanted`.

    NotFound under If-Match if the caller sees no resource: a fenced caller cannot tell an absent one from a hidden one.
    """
    gone = base is None or base.deleted
    if gone and wanted.if_match is not None and not policy.sees_all(caller, right, key.partition("/")[0]):
        raise not_known(store, caller, key)
    wanted.check(base)


def last_living(store: ReadStore, head: Head) -> Head | None:
    """The version itself; for a deletion, the one before it, which has the accounts that the deletion keeps, and the old targets."""
    if not head.deleted:
        return head
    last = store.read_version(head.key, head.version - 1)
    return last if last and not last.deleted else None


def was_visible(store: ReadStore, caller: Caller, deleted: Head) -> bool:
    """Whether the caller could have deleted the resource itself: the version before the deletion is one that it may change."""
    if policy.sees_all(caller, policy.UPDATE, deleted.type):
        return True
    last = last_living(store, deleted)
    return last is not None and policy.fence(store, caller, policy.UPDATE)(store.version(last))


def was_within(store: ReadStore, caller: Caller, head: Head) -> bool:
    """Whether a resource is, or was when it was deleted, within the caller's fence."""
    last = last_living(store, head)
    return last is not None and policy.claims_fence(store, caller)(store.version(last))


def is_named_by_others(store: ReadStore, caller: Caller, key: str) -> bool:
    """Whether hidden resources name a free id such that the caller would get a hold of them by making a resource there.

    Members of its compartment: whoever creates their Patient passes its own accounts to them, at once by `$set-accounts`, or at
    their next change. And Binaries that follow it, which a purge may have left: whoever sees the resource reads them.
    """
    if not caller.fenced:
        return False
    inside = policy.claims_fence(store, caller)
    return _has_hidden_members(store, inside, key) or _has_hidden_followers(store, inside, key)


def _has_hidden_members(store: ReadStore, inside: Fence, key: str) -> bool:
    its = membership.definition(store, key.partition("/")[0])
    if its is None:
        return False
    after: str | None = None
    for _ in range(_MOST_LISTED // _LISTED):
        listed = membership.members(store, key, after=after, limit=_LISTED)
        living = _living(store, (member.source for member in listed.members if not member.source.startswith(_AUDIT)))
        if any(
            not inside(one) and (one.head.type not in its.own or membership.is_member(its, key, one)) for one in living
        ):
            return True
        if listed.next is None:
            return False
        after = listed.next
    return True


def _has_hidden_followers(store: ReadStore, inside: Fence, key: str) -> bool:
    listed = store.pointing_at(key, BINARY, limit=_MOST_LISTED)
    binaries = _living(store, (pointer.source for pointer in listed if SECURITY_CONTEXT in pointer.via))
    hidden = any(not inside(one) and context_of(one.body) == key for one in binaries)
    return hidden or len(listed) == _MOST_LISTED


def _living(store: ReadStore, keys: Iterable[str]) -> list[Version]:
    """The resources among these that are there."""
    return [store.version(head) for head in store.read_many(keys).values() if not head.deleted]
