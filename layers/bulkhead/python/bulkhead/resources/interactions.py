"""read, vread, create, update, patch and delete of one resource by its id (R4 http.html)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bulkhead.access import policy
from bulkhead.access.visibility import base_of_update, not_known, require_preconditions, require_visible
from bulkhead.errors import Gone, NotFound
from bulkhead.resources.attempts import commit_patch, commit_update, retried
from bulkhead.resources.commit import commit
from bulkhead.resources.ids import new_id
from bulkhead.resources.preparation import prepare_create, prepare_delete
from bulkhead.store import Head
from bulkhead.store.preconditions import Preconditions

if TYPE_CHECKING:
    from bulkhead.resources.conditions import Condition
    from bulkhead.resources.patches import Patch
    from bulkhead.session import Session


def read(session: Session, key: str) -> Head:
    """The current version. NotFound if there is none or the caller may not see it, Gone if it was deleted."""
    resource_type = key.partition("/")[0]
    policy.require(session.caller, policy.READ, resource_type)
    head = session.store.read(key)
    if head is None:
        raise not_known(session.store, session.caller, key)
    if head.deleted:
        # A deletion does not say who could see the resource, so a fenced caller gets the same answer as for one that never existed.
        raise (
            Gone(f"{key} was deleted", "id")
            if policy.sees_all(session.caller, policy.READ, resource_type)
            else not_known(session.store, session.caller, key)
        )
    return require_visible(session.store, session.caller, head, right=policy.READ)


def read_version(session: Session, key: str, version: str) -> Head:
    """One version of a resource that the caller may see now. NotFound; Gone for a version that is a deletion."""
    require_visible_history(session, key)
    found = session.store.read_version(key, int(version)) if re.fullmatch(r"[1-9]\d{0,9}", version) else None
    shown = policy.versions(session.store, session.caller, policy.READ)
    if found is None or not shown(session.store.version(found)):
        raise NotFound(f"{key} has no version with this id", "versionId")
    if found.deleted:
        raise Gone(f"{key} was deleted in this version", "versionId")
    return found


def require_visible_history(session: Session, key: str) -> None:
    """Raises NotFound where the caller may not see the versions of `key`. Only a caller without a fence sees those of a deleted resource."""
    try:
        read(session, key)
    except Gone:
        return


def create(session: Session, resource: dict[str, Any], condition: Condition | None = None) -> tuple[Head, bool]:
    """Creates a checked resource under a new id; with a `condition`, only if nothing meets it. Returns its head, and whether it is new.

    MultipleMatches where several resources meet the condition. Two simultaneous requests under one condition make one resource.
    """
    resource_type = resource["resourceType"]
    if condition is not None:
        from bulkhead.resources import conditional

        return conditional.create(session, resource, condition)
    policy.require(session.caller, policy.CREATE, resource_type)
    write = prepare_create(session, resource, f"{resource_type}/{new_id()}", fresh=True)
    return commit(session, [write])[0], True


def update(
    session: Session,
    resource: dict[str, Any],
    key: str,
    *,
    if_match: str | None = None,
    if_none_match: str | None = None,
    partial: bool = False,
) -> tuple[Head, bool]:
    """Makes a checked resource the next version of `key`, or its first. Returns its head, and whether it is new.

    `partial`: the caller gave only a part of the resource, and the rest is unchanged (`governing`). PreconditionFailed where the
    headers `If-Match` or `If-None-Match` exclude the current version.
    """
    resource_type = key.partition("/")[0]
    policy.require(session.caller, policy.UPDATE, resource_type)
    wanted = Preconditions(if_match, if_none_match)

    def attempt() -> tuple[Head, bool]:
        base, taken = base_of_update(session.store, session.caller, session.store.read(key))
        require_preconditions(session.store, session.caller, policy.UPDATE, key=key, base=base, wanted=wanted)
        if base is None or base.deleted:
            policy.require(session.caller, policy.CREATE, resource_type)
        if base is None:
            write = prepare_create(session, resource, key, fresh=False)
            return commit(session, [write], taken=[key] if taken else ())[0], True
        return commit_update(session, resource, base, partial=partial), base.deleted

    return retried(attempt)


def patch(session: Session, key: str, change: Patch, *, if_match: str | None = None, url: str | None = None) -> Head:
    """Applies `change` to the current version and commits the result as the next version. Returns its head.

    NotFound, Gone; PreconditionFailed where `if_match` is not the current version; the errors of `change` where it does not
    fit; InvalidResource where its result is invalid. After another writer's commit, the patch applies to the new version.
    """
    resource_type = key.partition("/")[0]
    # The tests in a patch, and the parts that it leaves unchanged, reveal the resource to the caller.
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
                require_visible(session.store, session.caller, base, right=policy.READ),
                right=policy.UPDATE,
            )
        wanted.check(base)
        if gone:
            raise Gone(f"{key} was deleted", "id")
        return commit_patch(session, change, base, url=url)

    return retried(attempt)


def delete(session: Session, key: str, if_match: str | None = None) -> Head | None:
    """Deletes `key`. Returns the deletion's head; None if there was nothing to delete.

    NotFound where the caller sees no resource: a fenced caller cannot tell a deleted resource from an invisible one.
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
            require_visible(session.store, session.caller, base, right=policy.DELETE)
        wanted.check(base)
        return commit(session, [prepare_delete(session.store, base)])[0] if base is not None and there else None

    return retried(attempt)
