"""Conditional create, update, patch and delete, by search criteria (R4 http.html#ccreate, #cond-update, #cdelete, #patch).

A conditional create claims its condition in the same commit, so that two simultaneous requests make one resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.access.visibility import base_of_update, require_visible
from bulkhead.errors import BadRequest, Conflict, MultipleMatches, NotFound, TooCostly
from bulkhead.resources import conditions
from bulkhead.resources.attempts import commit_patch, commit_update, retried
from bulkhead.resources.commit import commit
from bulkhead.resources.conditions import Condition
from bulkhead.resources.ids import new_id
from bulkhead.resources.preparation import prepare_create, prepare_delete, prepare_update
from bulkhead.store import Head, Write
from bulkhead.store.preconditions import Preconditions

if TYPE_CHECKING:
    from bulkhead.resources.patches import Patch
    from bulkhead.session import Session

MULTIPLE = "multiple"
"""The value of CONDITIONAL_DELETE that deletes all matches; any other value refuses several."""
_MOST_DELETED = 10_000
_CRITERIA = "request.url"


def create(session: Session, resource: dict[str, Any], condition: Condition) -> tuple[Head, bool]:
    """Creates a checked resource if nothing meets the condition. Returns the head of the match, and whether it is new."""
    policy.require(session.caller, policy.CREATE, condition.type)
    _may_search(session.caller, condition)

    def attempt() -> tuple[Head, bool]:
        found, owner = _the_one(session, condition, "If-None-Exist")
        if found:
            return found, False
        key = f"{condition.type}/{new_id()}"
        write = prepare_create(session, resource, key, fresh=True)
        return _claimed(session, write, taken=False, condition=condition, stale=owner), True

    return retried(attempt)


def update(
    session: Session,
    resource: dict[str, Any],
    condition: Condition,
    *,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> tuple[Head, bool]:
    """Updates the one resource that meets the condition, or creates it. Returns its head, and whether it is new.

    MultipleMatches; BadRequest where the resource's id is not that of the match; Conflict where nothing matches and the
    id belongs to another resource; PreconditionFailed.
    """
    policy.require(session.caller, policy.UPDATE, condition.type)
    _may_search(session.caller, condition)
    wanted = Preconditions(if_match, if_none_match)
    given = resource.get("id")

    def attempt() -> tuple[Head, bool]:
        found, owner = _the_one(session, condition, _CRITERIA)
        wanted.check(found)
        if found is None:
            policy.require(session.caller, policy.CREATE, condition.type)
            write, taken = _prepare_new(session, resource, condition)
            return _claimed(session, write, taken=taken, condition=condition, stale=owner), True
        if given not in (None, found.id):
            raise BadRequest("the id is not that of the resource that matches the criteria", f"{condition.type}.id")
        return commit_update(
            session, resource, require_visible(session.store, session.caller, found, right=policy.UPDATE), partial=False
        ), False

    return retried(attempt)


def _prepare_new(session: Session, resource: dict[str, Any], condition: Condition) -> tuple[Write, bool]:
    """The write that creates a resource whose criteria nothing met: under its own id, if it has one and the id is free.

    Also whether the id belongs to a resource that the caller may not see: see `visibility.base_of_update`.
    """
    given = resource.get("id")
    if given is None:
        return prepare_create(session, resource, f"{condition.type}/{new_id()}", fresh=True), False
    key = f"{condition.type}/{given}"
    base, taken = base_of_update(session.store, session.caller, session.store.read(key))
    if base is None:
        return prepare_create(session, resource, key, fresh=False), taken
    write = prepare_update(session, resource, base, partial=False) if base.deleted else None
    if write is None:
        raise Conflict("the id belongs to a resource that does not match the criteria", f"{condition.type}.id")
    return write, False


def patch(
    session: Session,
    condition: Condition,
    change: Patch,
    *,
    if_match: str | None = None,
    url: str | None = None,
) -> Head:
    """Patches the one resource that meets the condition. NotFound if none does, MultipleMatches, PreconditionFailed."""
    for right in (policy.UPDATE, policy.READ):
        policy.require(session.caller, right, condition.type)
    _may_search(session.caller, condition)
    wanted = Preconditions(if_match)

    def attempt() -> Head:
        found, _ = _the_one(session, condition, _CRITERIA)
        if found is None:
            raise NotFound("no resource matches the criteria", _CRITERIA)
        wanted.check(found)
        return commit_patch(
            session,
            change,
            require_visible(
                session.store,
                session.caller,
                require_visible(session.store, session.caller, found, right=policy.READ),
                right=policy.UPDATE,
            ),
            url=url,
        )

    return retried(attempt)


def delete(session: Session, condition: Condition, if_match: str | None = None) -> list[Head]:
    """Deletes the resources that meet the condition, in one commit. Returns the heads of the deletions.

    The setting CONDITIONAL_DELETE=multiple deletes several matches; otherwise they are MultipleMatches.
    TooCostly above 10,000.
    """
    policy.require(session.caller, policy.DELETE, condition.type)
    _may_search(session.caller, condition)
    wanted = Preconditions(if_match)
    multiple = session.store.settings.conditional_delete == MULTIPLE
    limit = _MOST_DELETED + 1 if multiple else 2

    def attempt() -> list[Head]:
        fence = policy.fence(session.store, session.caller, policy.SEARCH)
        found = conditions.find(session.store, [condition], fence, limit=limit)[condition]
        if len(found) > 1 and not multiple:
            raise _several(_CRITERIA)
        if len(found) > _MOST_DELETED:
            raise TooCostly(f"more than {_MOST_DELETED} resources match the criteria; narrow them", _CRITERIA)
        for head in found:
            wanted.check(require_visible(session.store, session.caller, head, right=policy.DELETE))
        return commit(session, [prepare_delete(session.store, head) for head in found]) if found else []

    return retried(attempt)


def _may_search(caller: Caller, condition: Condition) -> None:
    """Requires the right to search: without it, the condition would find nothing, and the request would make a second resource."""
    policy.require(caller, policy.SEARCH, condition.type)


def _the_one(session: Session, condition: Condition, place: str) -> tuple[Head | None, str | None]:
    """The one resource that meets the condition, if any; and the owner of the condition's claim, if that resource is gone."""
    fence = policy.fence(session.store, session.caller, policy.SEARCH)
    found = conditions.find(session.store, [condition], fence)[condition]
    if len(found) > 1:
        raise _several(place)
    if found:
        return found[0], None
    if conditions.identifiers(condition):
        # A match is one from any source; if there is none, the commit looks again.
        return None, None
    owner = conditions.claimant(session, condition)
    # The index may not have the owner of the claim yet.
    head = session.store.read(owner) if owner else None
    if head and conditions.meets(session.store, head, condition, fence=fence):
        return head, None
    return None, owner


def _claimed(session: Session, write: Write, *, taken: bool, condition: Condition, stale: str | None) -> Head:
    claim = conditions.claim(session, condition, write.key, stale=stale)
    return commit(session, [write], [claim], taken=[write.key] if taken else ())[0]


def _several(place: str) -> MultipleMatches:
    return MultipleMatches("several resources match the criteria: make them select one", place)
