"""What of a resource that is named by its id a caller gets to see, and what it may build on. What is hidden is as if it were not there."""

from __future__ import annotations

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.compartments import membership
from bulkhead.errors import NotFound
from bulkhead.store import Head, Store
from bulkhead.store.preconditions import Preconditions

_LISTED = 100
_MOST_LISTED = 1000
"""The most members that are looked at to see whether an id is free; where there are more, it is not."""
# The server's own: whoever asks for a resource that is not there may be the subject of one.
_AUDIT = "AuditEvent/"


def not_known(store: Store, caller: Caller, key: str) -> NotFound:
    """What a caller is told of a resource that is not there, and, word for word, of one that it may not see; as late, too."""
    policy.pay_for_a_look(store, caller, key)
    return NotFound(f"{key} is not known", "id")


def require_visible(store: Store, caller: Caller, head: Head, right: str) -> Head:
    """A live head on which the caller has `right`. NotFound where it may not see it, Forbidden where it may only see it."""
    candidate = store.version(head)
    found = policy.decide(store, caller, right).verdict(candidate)
    if not found.opens:
        if right != policy.READ and policy.fence(store, caller, policy.READ)(candidate):
            raise policy.forbidden(right, head.key, found.rule)
        raise not_known(store, caller, head.key)
    return head


def base_of_update(store: Store, caller: Caller, base: Head | None) -> tuple[Head | None, bool]:
    """What an update builds on, where `base` stands now; and whether it would take an id from what the caller may not see.

    Such an id is treated as a free one up to the commit, which refuses it then (see `guard`): all other checks come first,
    so that nobody learns by a request that fails anyway which ids there are. Forbidden as in `require_visible`.
    """
    if base is None or not caller.restricted:
        return base, False
    if base.deleted:
        # A deletion keeps its accounts, and is as hidden as what was deleted. What else bounds the caller is asked in the guard: it
        # takes reads, by whose number one could tell a deleted resource from none.
        hidden = not policy.accounts_fence(caller)(store.version(base))
        return (None, True) if hidden else (base, False)
    try:
        return require_visible(store, caller, base, policy.UPDATE), False
    except NotFound:
        return None, True


def require_preconditions(
    store: Store, caller: Caller, right: str, key: str, base: Head | None, wanted: Preconditions
) -> None:
    """PreconditionFailed where what stands is not as `wanted`.

    NotFound under If-Match where there is nothing that the caller may see: whoever is fenced cannot tell one from the other.
    """
    gone = base is None or base.deleted
    if gone and wanted.if_match is not None and not policy.sees_all(caller, right, key.partition("/")[0]):
        raise not_known(store, caller, key)
    wanted.check(base)


def last_living(store: Store, head: Head) -> Head | None:
    """The version itself, or of a deletion the one before it: it has the accounts that the deletion keeps, and points at what it did."""
    if not head.deleted:
        return head
    last = store.read_version(head.key, head.version - 1)
    return last if last and not last.deleted else None


def was_visible(store: Store, caller: Caller, deleted: Head) -> bool:
    """Whether the caller might have deleted the resource itself: what was there before is what it may change."""
    if policy.sees_all(caller, policy.UPDATE, deleted.type):
        return True
    last = last_living(store, deleted)
    return last is not None and policy.fence(store, caller, policy.UPDATE)(store.version(last))


def was_within(store: Store, caller: Caller, head: Head) -> bool:
    """Whether a resource is, or was when it was deleted, within what the caller is fenced to."""
    last = last_living(store, head)
    return last is not None and policy.reach(store, caller)(store.version(last))


def is_named_by_others(store: Store, caller: Caller, key: str) -> bool:
    """Whether a free id is that of a compartment with members which the caller may not see.

    Who could make their Patient, say, would hand them its own accounts: at once by `$set-accounts`, or when they next change.
    """
    if not caller.fenced or membership.definition(store, key.partition("/")[0]) is None:
        return False
    inside = policy.reach(store, caller)
    after: str | None = None
    for _ in range(_MOST_LISTED // _LISTED):
        listed = membership.members(store, key, after=after, limit=_LISTED)
        heads = store.read_many(member.source for member in listed.members if not member.source.startswith(_AUDIT))
        if any(not head.deleted and not inside(store.version(head)) for head in heads.values()):
            return True
        if listed.next is None:
            return False
        after = listed.next
    return True
