"""create, update, patch and delete of what meets search criteria (R4 http.html#ccreate, #cond-update, #cdelete, #patch).

Who creates under a condition claims it in the same commit, so that two requests at once make one resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.access.visibility import seen, standing
from bulkhead.errors import BadRequest, Conflict, MultipleMatches, NotFound, TooCostly
from bulkhead.resources import conditions
from bulkhead.resources.commit import commit
from bulkhead.resources.conditions import Condition
from bulkhead.resources.interactions import commit_patch, commit_update, retried
from bulkhead.resources.names import new_id
from bulkhead.resources.preparation import prepare_create, prepare_delete, prepare_update
from bulkhead.store import Head, Store, Write
from bulkhead.store.preconditions import Preconditions

if TYPE_CHECKING:
    from bulkhead.resources.patches import Patch

MULTIPLE = "multiple"
"""The setting CONDITIONAL_DELETE that deletes all matches; any other refuses several."""
_MOST_DELETED = 10_000
_CRITERIA = "request.url"


def create(store: Store, who: Caller, resource: dict[str, Any], condition: Condition) -> tuple[Head, bool]:
    """Create a checked resource if nothing meets the condition. Returns the head of what meets it now, and whether that is new."""
    policy.require(who, policy.CREATE, condition.type)
    _may_search(who, condition)

    def attempt() -> tuple[Head, bool]:
        found, owner = _the_one(store, who, condition, "If-None-Exist")
        if found:
            return found, False
        key = f"{condition.type}/{new_id()}"
        write = prepare_create(store, resource, who, key, True)
        return _claimed(store, who, write, False, condition, owner), True

    return retried(attempt)


def update(
    store: Store,
    who: Caller,
    resource: dict[str, Any],
    condition: Condition,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> tuple[Head, bool]:
    """Update the one resource that meets the condition, or create it. Returns its head, and whether it is new.

    MultipleMatches; BadRequest where the resource's id is not that of the match; Conflict where nothing matches and the
    id is that of another resource; PreconditionFailed.
    """
    policy.require(who, policy.UPDATE, condition.type)
    _may_search(who, condition)
    wanted = Preconditions(if_match, if_none_match)
    given = resource.get("id")

    def attempt() -> tuple[Head, bool]:
        found, owner = _the_one(store, who, condition, _CRITERIA)
        wanted.check(found)
        if found is None:
            policy.require(who, policy.CREATE, condition.type)
            write, taken = _prepare_new(store, who, resource, condition)
            return _claimed(store, who, write, taken, condition, owner), True
        if given not in (None, found.id):
            raise BadRequest("the id is not that of the resource that meets the criteria", f"{condition.type}.id")
        return commit_update(store, who, resource, seen(store, who, found, policy.UPDATE), partial=False), False

    return retried(attempt)


def _prepare_new(store: Store, who: Caller, resource: dict[str, Any], condition: Condition) -> tuple[Write, bool]:
    """The write that makes a resource which nothing met the criteria of: under its own id, if it has one that is free.

    And whether the id is taken by what the caller may not see: see `visibility.standing`.
    """
    given = resource.get("id")
    if given is None:
        return prepare_create(store, resource, who, f"{condition.type}/{new_id()}", True), False
    key = f"{condition.type}/{given}"
    base, taken = standing(store, who, store.read(key))
    if base is None:
        return prepare_create(store, resource, who, key, False), taken
    write = prepare_update(store, resource, base, who, partial=False) if base.deleted else None
    if write is None:
        raise Conflict("the id belongs to a resource that does not meet the criteria", f"{condition.type}.id")
    return write, False


def patch(
    store: Store,
    who: Caller,
    condition: Condition,
    change: Patch,
    if_match: str | None = None,
    url: str | None = None,
) -> Head:
    """Patch the one resource that meets the condition. NotFound where none does, MultipleMatches, PreconditionFailed."""
    for right in (policy.UPDATE, policy.READ):
        policy.require(who, right, condition.type)
    _may_search(who, condition)
    wanted = Preconditions(if_match)

    def attempt() -> Head:
        found, _ = _the_one(store, who, condition, _CRITERIA)
        if found is None:
            raise NotFound("no resource meets the criteria", _CRITERIA)
        wanted.check(found)
        return commit_patch(
            store, who, change, seen(store, who, seen(store, who, found, policy.READ), policy.UPDATE), url
        )

    return retried(attempt)


def delete(store: Store, who: Caller, condition: Condition, if_match: str | None = None) -> list[Head]:
    """Delete what meets the condition, in one commit. Returns the deletions' heads.

    Several matches are all deleted where the setting CONDITIONAL_DELETE is `multiple`, and MultipleMatches otherwise.
    TooCostly above 10,000.
    """
    policy.require(who, policy.DELETE, condition.type)
    _may_search(who, condition)
    wanted = Preconditions(if_match)
    multiple = store.settings.conditional_delete == MULTIPLE
    limit = _MOST_DELETED + 1 if multiple else 2

    def attempt() -> list[Head]:
        fence = policy.fence(store, who, policy.SEARCH)
        found = conditions.find(store, [condition], fence, limit)[condition]
        if len(found) > 1 and not multiple:
            raise _several(_CRITERIA)
        if len(found) > _MOST_DELETED:
            raise TooCostly(f"more than {_MOST_DELETED} resources meet the criteria; narrow them", _CRITERIA)
        for head in found:
            wanted.check(seen(store, who, head, policy.DELETE))
        return commit(store, who, [prepare_delete(store, head) for head in found]) if found else []

    return retried(attempt)


def _may_search(who: Caller, condition: Condition) -> None:
    """Who may not search would find nothing, and make a second resource."""
    policy.require(who, policy.SEARCH, condition.type)


def _the_one(store: Store, who: Caller, condition: Condition, place: str) -> tuple[Head | None, str | None]:
    """The one resource that meets the condition, if there is one; and who owns the condition's claim, where that is gone."""
    fence = policy.fence(store, who, policy.SEARCH)
    found = conditions.find(store, [condition], fence)[condition]
    if len(found) > 1:
        raise _several(place)
    if found:
        return found[0], None
    if conditions.identifiers(condition):
        # Found wherever it came from, and if not, the commit looks again.
        return None, None
    owner = conditions.claimant(store, who, condition)
    # The index may lag behind the resource that the claim names.
    head = store.read(owner) if owner else None
    if head and conditions.meets(store, head, condition, fence):
        return head, None
    return None, owner


def _claimed(store: Store, who: Caller, write: Write, taken: bool, condition: Condition, stale: str | None) -> Head:
    claim = conditions.claim(store, who, condition, write.key, stale)
    return commit(store, who, [write], [claim], taken=[write.key] if taken else ())[0]


def _several(place: str) -> MultipleMatches:
    return MultipleMatches("several resources meet the criteria", place)
