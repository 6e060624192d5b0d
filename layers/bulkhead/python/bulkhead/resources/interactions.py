"""read, vread, create, update, patch and delete of one resource that is named by its id (R4 http.html)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.access import policy
from bulkhead.access.visibility import base_of_update, not_known, require_preconditions, require_visible
from bulkhead.errors import ClaimTaken, Conflict, Gone, NotFound, VersionConflict
from bulkhead.resources.commit import commit
from bulkhead.resources.names import new_id
from bulkhead.resources.preparation import prepare_create, prepare_delete, prepare_update
from bulkhead.store import Head, one_request
from bulkhead.store.preconditions import Preconditions
from bulkhead.store.throttling import pause

if TYPE_CHECKING:
    from bulkhead.resources.conditions import Condition
    from bulkhead.resources.patches import Patch
    from bulkhead.session import Session

_ATTEMPTS = 12
T = TypeVar("T")


def read(session: Session, key: str) -> Head:
    """The current version. NotFound where there is none or the caller may not see it, Gone where it was deleted."""
    resource_type = key.partition("/")[0]
    policy.require(session.caller, policy.READ, resource_type)
    head = session.store.read(key)
    if head is None:
        raise not_known(session.store, session.caller, key)
    if head.deleted:
        # A deletion has nothing by which to know whether it was inside: for who is fenced it never was.
        raise (
            Gone(f"{key} was deleted", "id")
            if policy.sees_all(session.caller, policy.READ, resource_type)
            else not_known(session.store, session.caller, key)
        )
    return require_visible(session.store, session.caller, head, policy.READ)


def read_version(session: Session, key: str, version: str) -> Head:
    """One version, of a resource that the caller may see now. NotFound; Gone for the version that is a deletion."""
    require_visible_history(session, key)
    found = session.store.read_version(key, int(version)) if re.fullmatch(r"[1-9]\d{0,9}", version) else None
    shown = policy.versions(session.store, session.caller, policy.READ)
    if found is None or not shown(session.store.version(found)):
        raise NotFound(f"{key} has no such version", "versionId")
    if found.deleted:
        raise Gone(f"{key} was deleted in this version", "versionId")
    return found


def require_visible_history(session: Session, key: str) -> None:
    """NotFound where the caller may not see the versions of `key`: those of a deleted one are there for who is not fenced."""
    try:
        read(session, key)
    except Gone:
        return


def create(session: Session, resource: dict[str, Any], condition: Condition | None = None) -> tuple[Head, bool]:
    """Create a checked resource under a new id; with a `condition`, only if nothing meets it. Returns its head, and whether it is new.

    MultipleMatches where several resources meet the condition. Two requests at once under one condition make one resource.
    """
    resource_type = resource["resourceType"]
    if condition is not None:
        from bulkhead.resources import conditional

        return conditional.create(session, resource, condition)
    policy.require(session.caller, policy.CREATE, resource_type)
    write = prepare_create(session, resource, f"{resource_type}/{new_id()}", True)
    return commit(session, [write])[0], True


def update(
    session: Session,
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
    policy.require(session.caller, policy.UPDATE, resource_type)
    wanted = Preconditions(if_match, if_none_match)

    def attempt() -> tuple[Head, bool]:
        base, taken = base_of_update(session.store, session.caller, session.store.read(key))
        require_preconditions(session.store, session.caller, policy.UPDATE, key, base, wanted)
        if base is None or base.deleted:
            policy.require(session.caller, policy.CREATE, resource_type)
        if base is None:
            write = prepare_create(session, resource, key, False)
            return commit(session, [write], taken=[key] if taken else ())[0], True
        return commit_update(session, resource, base, partial=partial), base.deleted

    return retried(attempt)


def commit_update(session: Session, resource: dict[str, Any], base: Head, *, partial: bool) -> Head:
    """Make a checked resource the next version of `base`, which stays where nothing would change."""
    write = prepare_update(session, resource, base, partial=partial)
    return commit(session, [write])[0] if write else base


def patch(session: Session, key: str, change: Patch, if_match: str | None = None, url: str | None = None) -> Head:
    """Make what `change` makes of the current version the next one. Returns its head.

    NotFound, Gone; PreconditionFailed where `if_match` is not the current version; what `change` raises where it does not
    fit; InvalidResource where its result is not valid. Another writer in between: the patch is applied to what that one made.
    """
    resource_type = key.partition("/")[0]
    # What a patch tests for, and what it leaves as it is, tells of the resource.
    for right in (policy.UPDATE, policy.READ):
        policy.require(session.caller, right, resource_type)
    wanted = Preconditions(if_match)

    def attempt() -> Head:
        base = session.store.read(key)
        gone = base is None or base.deleted
        if base is None or (gone and not policy.sees_all(session.caller, policy.READ, resource_type)):
            raise not_known(session.store, session.caller, key)
        if not gone:
            require_visible(
                session.store,
                session.caller,
                require_visible(session.store, session.caller, base, policy.READ),
                policy.UPDATE,
            )
        wanted.check(base)
        if gone:
            raise Gone(f"{key} was deleted", "id")
        return commit_patch(session, change, base, url)

    return retried(attempt)


def commit_patch(session: Session, change: Patch, base: Head, url: str | None) -> Head:
    """The patched resource as the next version of `base`; `url` is that of this server."""
    from bulkhead.resources.patches import patched

    after = patched(session.store, base, change, url=url, conditional_references=False)
    return commit_update(session, after, base, partial=True)


def delete(session: Session, key: str, if_match: str | None = None) -> Head | None:
    """Delete `key`. Returns the deletion's head; None where there was nothing to delete.

    NotFound where there is nothing that the caller may see: whoever is fenced cannot tell one from the other.
    """
    resource_type = key.partition("/")[0]
    policy.require(session.caller, policy.DELETE, resource_type)
    wanted = Preconditions(if_match)

    def attempt() -> Head | None:
        base = session.store.read(key)
        there = base is not None and not base.deleted
        if not there and not policy.sees_all(session.caller, policy.DELETE, resource_type):
            raise not_known(session.store, session.caller, key)
        if base is not None and there:
            require_visible(session.store, session.caller, base, policy.DELETE)
        wanted.check(base)
        return commit(session, [prepare_delete(session.store, base)])[0] if base is not None and there else None

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
