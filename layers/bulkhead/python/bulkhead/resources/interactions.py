"""read, vread, create, update, patch and delete of one resource that is named by its id (R4 http.html)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.access.visibility import met, seen, standing, unknown
from bulkhead.errors import ClaimTaken, Conflict, Gone, NotFound, VersionConflict
from bulkhead.resources.commit import commit
from bulkhead.resources.names import new_id
from bulkhead.resources.preparation import prepare_create, prepare_delete, prepare_update
from bulkhead.store import Head, Store, one_request
from bulkhead.store.preconditions import Preconditions
from bulkhead.store.table import pause

if TYPE_CHECKING:
    from bulkhead.resources.conditions import Condition
    from bulkhead.resources.patches import Patch

_ATTEMPTS = 12
T = TypeVar("T")


def read(store: Store, who: Caller, key: str) -> Head:
    """The current version. NotFound where there is none or the caller may not see it, Gone where it was deleted."""
    resource_type = key.partition("/")[0]
    policy.require(who, policy.READ, resource_type)
    head = store.read(key)
    if head is None:
        raise unknown(store, who, key)
    if head.deleted:
        # A deletion has nothing by which to know whether it was inside: for who is fenced it never was.
        raise (
            Gone(f"{key} was deleted", "id")
            if policy.sees_all(who, policy.READ, resource_type)
            else unknown(store, who, key)
        )
    return seen(store, who, head, policy.READ)


def read_version(store: Store, who: Caller, key: str, version: str) -> Head:
    """One version, of a resource that the caller may see now. NotFound; Gone for the version that is a deletion."""
    visible_history(store, who, key)
    found = store.read_version(key, int(version)) if re.fullmatch(r"[1-9]\d{0,9}", version) else None
    shown = policy.versions(store, who, policy.READ)
    if found is None or not shown(store.version(found)):
        raise NotFound(f"{key} has no such version", "versionId")
    if found.deleted:
        raise Gone(f"{key} was deleted in this version", "versionId")
    return found


def visible_history(store: Store, who: Caller, key: str) -> None:
    """NotFound where the caller may not see the versions of `key`: those of a deleted one are there for who is not fenced."""
    try:
        read(store, who, key)
    except Gone:
        return


def create(
    store: Store, who: Caller, resource: dict[str, Any], condition: Condition | None = None
) -> tuple[Head, bool]:
    """Create a checked resource under a new id; with a `condition`, only if nothing meets it. Returns its head, and whether it is new.

    MultipleMatches where several resources meet the condition. Two requests at once under one condition make one resource.
    """
    resource_type = resource["resourceType"]
    if condition is not None:
        from bulkhead.resources import conditional

        return conditional.create(store, who, resource, condition)
    policy.require(who, policy.CREATE, resource_type)
    write = prepare_create(store, resource, who, f"{resource_type}/{new_id()}", True)
    return commit(store, who, [write])[0], True


def update(
    store: Store,
    who: Caller,
    resource: dict[str, Any],
    key: str,
    if_match: str | None = None,
    if_none_match: str | None = None,
    *,
    partial: bool = False,
) -> tuple[Head, bool]:
    """Make a checked resource the next version of `key`, or its first. Returns its head, and whether it is new.

    `partial`: the caller gave a part of it only, and the rest is what stood (`governing`). PreconditionFailed where the headers `If-Match` and `If-None-Match` ask for another current version, or for none.
    """
    resource_type = key.partition("/")[0]
    policy.require(who, policy.UPDATE, resource_type)
    wanted = Preconditions(if_match, if_none_match)

    def attempt() -> tuple[Head, bool]:
        base, taken = standing(store, who, store.read(key))
        met(store, who, policy.UPDATE, key, base, wanted)
        if base is None or base.deleted:
            policy.require(who, policy.CREATE, resource_type)
        if base is None:
            write = prepare_create(store, resource, who, key, False)
            return commit(store, who, [write], taken=[key] if taken else ())[0], True
        return commit_update(store, who, resource, base, partial=partial), base.deleted

    return retried(attempt)


def commit_update(store: Store, who: Caller, resource: dict[str, Any], base: Head, *, partial: bool) -> Head:
    """Make a checked resource the next version of `base`, which stays where nothing would change."""
    write = prepare_update(store, resource, base, who, partial=partial)
    return commit(store, who, [write])[0] if write else base


def patch(
    store: Store, who: Caller, key: str, change: Patch, if_match: str | None = None, url: str | None = None
) -> Head:
    """Make what `change` makes of the current version the next one. Returns its head.

    NotFound, Gone; PreconditionFailed where `if_match` is not the current version; what `change` raises where it does not
    fit; InvalidResource where its result is not valid. Another writer in between: the patch is applied to what that one made.
    """
    resource_type = key.partition("/")[0]
    # What a patch tests for, and what it leaves as it is, tells of the resource.
    for right in (policy.UPDATE, policy.READ):
        policy.require(who, right, resource_type)
    wanted = Preconditions(if_match)

    def attempt() -> Head:
        base = store.read(key)
        gone = base is None or base.deleted
        if base is None or (gone and not policy.sees_all(who, policy.READ, resource_type)):
            raise unknown(store, who, key)
        if not gone:
            seen(store, who, seen(store, who, base, policy.READ), policy.UPDATE)
        wanted.check(base)
        if gone:
            raise Gone(f"{key} was deleted", "id")
        return commit_patch(store, who, change, base, url)

    return retried(attempt)


def commit_patch(store: Store, who: Caller, change: Patch, base: Head, url: str | None) -> Head:
    """The patched resource as the next version of `base`; `url` is that of this server."""
    from bulkhead.resources.patches import patched

    after = patched(store, base, change, url=url, conditional_references=False)
    return commit_update(store, who, after, base, partial=True)


def delete(store: Store, who: Caller, key: str, if_match: str | None = None) -> Head | None:
    """Delete `key`. Returns the deletion's head; None where there was nothing to delete.

    NotFound where there is nothing that the caller may see: whoever is fenced cannot tell one from the other.
    """
    resource_type = key.partition("/")[0]
    policy.require(who, policy.DELETE, resource_type)
    wanted = Preconditions(if_match)

    def attempt() -> Head | None:
        base = store.read(key)
        there = base is not None and not base.deleted
        if not there and not policy.sees_all(who, policy.DELETE, resource_type):
            raise unknown(store, who, key)
        if base is not None and there:
            seen(store, who, base, policy.DELETE)
        wanted.check(base)
        return commit(store, who, [prepare_delete(store, base)])[0] if base is not None and there else None

    return retried(attempt)


def retried(attempt: Callable[[], T]) -> T:
    """`attempt`, again where another writer was faster: it reads anew, and an `If-Match` fails by itself then."""
    for number in range(_ATTEMPTS):
        try:
            # A large transaction of someone else may have been decided since the last attempt.
            with one_request():
                return attempt()
        except (VersionConflict, ClaimTaken):
            pause(number)
    raise Conflict("too many writers on this resource at once; try again", "id")
