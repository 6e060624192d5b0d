"""Single resources: read, create, update, delete, and their versions (R4 http.html). Bundles prepare their writes here, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from bulkhead import access, accounts, compartments, definitions
from bulkhead.access import Caller
from bulkhead.errors import (
    BadRequest,
    ClaimTaken,
    Conflict,
    Gone,
    MultipleMatches,
    NotFound,
    PreconditionFailed,
    VersionConflict,
)
from bulkhead.model import json, references, validation
from bulkhead.search import facts
from bulkhead.search.candidate import Candidate
from bulkhead.store import Claim, Head, Inherit, Store, Write, one_request

if TYPE_CHECKING:
    from bulkhead.bundles.conditions import Condition

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ETAG = re.compile(r'(?:W/)?"(\d+)"')
_ATTEMPTS = 6
T = TypeVar("T")


def new_id() -> str:
    return str(uuid4())


def known_type(resource_type: str) -> str:
    """`resource_type`, if it is one of R4's; NotFound otherwise."""
    if resource_type not in definitions.RESOURCE_TYPES:
        raise NotFound(f"{resource_type[:64]} is not a resource type of R4", "type")
    return resource_type


def key_of(resource_type: str, identifier: str) -> str:
    """`Type/id`; NotFound for an unknown type or what cannot be an id."""
    if not ID.fullmatch(identifier):
        raise NotFound("an id is 1 to 64 letters, digits, - and .", "id")
    return f"{known_type(resource_type)}/{identifier}"


# What a client sees


def represent(head: Head, body: dict[str, Any], extended: bool = True) -> dict[str, Any]:
    """A version as a client sees it: `body` (which stays as it is) with what the head says in `meta`.

    `extended` adds `meta.accounts` and `meta.compartment`; both are derived now, so never stale.
    """
    meta: dict[str, Any] = {"versionId": str(head.version), "lastUpdated": head.updated, **body.get("meta", {})}
    if extended:
        carried = head.accounts
        if carried:
            meta["accounts"] = [{"reference": account} for account in carried]
        inside = dict.fromkeys(compartments.memberships(facts.targets(body), head.key))
        inside.update(dict.fromkeys(carried))
        if inside:
            meta["compartment"] = [{"reference": compartment} for compartment in inside]
    shown = {"resourceType": head.type, "id": head.id, "meta": meta}
    shown.update((name, value) for name, value in body.items() if name not in shown)
    return shown


def read(store: Store, who: Caller, key: str) -> Head:
    """The current version. NotFound where there is none or the caller may not see it, Gone where it was deleted."""
    access.require(who, access.READ, key.partition("/")[0])
    head = store.read(key)
    if head is None:
        raise NotFound(f"{key} is not known", "id")
    return _shown(store, who, head)


def _shown(store: Store, who: Caller, head: Head) -> Head:
    if head.deleted:
        # Nobody who is fenced can know whether a deleted resource was inside: for them it never was.
        raise NotFound(f"{head.key} is not known", "id") if who.fenced else Gone(f"{head.key} was deleted", "id")
    if not access.fence(who)(Candidate(head, store.decode)):
        raise NotFound(f"{head.key} is not known", "id")
    return head


def read_version(store: Store, who: Caller, key: str, version: str) -> Head:
    """One version, of a resource that the caller may see now. NotFound; Gone for the version that is a deletion."""
    _visible_history(store, who, key)
    found = store.read_version(key, int(version)) if re.fullmatch(r"[1-9]\d{0,9}", version) else None
    if found is None:
        raise NotFound(f"{key} has no such version", "versionId")
    if found.deleted:
        raise Gone(f"{key} was deleted in this version", "versionId")
    return found


def history(store: Store, who: Caller, key: str, before: int | None, count: int) -> list[Head]:
    """Up to `count` versions below `before`, newest first, deletions included. NotFound where there is none to see."""
    _visible_history(store, who, key)
    return store.versions(key, before, count)


def _visible_history(store: Store, who: Caller, key: str) -> None:
    try:
        read(store, who, key)
    except Gone:
        return


# Preparing writes: one code path for single requests and for bundles


def checked(resource: Any, resource_type: str, identifier: str | None = None) -> dict[str, Any]:
    """A valid resource of the type, whose `id` (given with `identifier`) is that of the URL. InvalidResource, BadRequest."""
    validation.check(resource, resource_type)
    if identifier is not None and resource.get("id") != identifier:
        raise BadRequest("the resource's id must be the one of the URL", f"{resource_type}.id")
    valid: dict[str, Any] = resource
    return valid


def _given_accounts(resource: dict[str, Any], who: Caller) -> tuple[str, ...] | None:
    """The accounts that the body asks for, if it has any and the caller has the right; None otherwise. BadRequest."""
    listed = resource.get("meta", {}).get("accounts")
    if listed is None or not who.sets_accounts:
        return None
    found = [references.local(account.get("reference", "")) for account in listed]
    for n, account in enumerate(found):
        if account is None:
            raise BadRequest(
                "an account is a reference Type/id", f"{resource['resourceType']}.meta.accounts[{n}].reference"
            )
    return tuple(account for account in found if account)


def prepare_create(store: Store, resource: dict[str, Any], who: Caller, key: str, fresh: bool) -> Write:
    """The write that makes `resource` (checked) as `key`. `fresh`: the id was made by the server just now."""
    resource = {**resource, "id": key.partition("/")[2]}
    given = _given_accounts(resource, who) or ()
    explicit = access.explicit_on_create(who, accounts.own(given, None))
    body = store.encode(resource)
    method = "POST" if fresh else "PUT"
    return Write(key, None, body, None, facts.facts(resource), explicit, method=method, fresh=fresh)


def prepare_update(store: Store, resource: dict[str, Any], base: Head, who: Caller) -> Write | None:
    """The write that makes `resource` (checked) the next version of `base`. None where nothing would change.

    A deleted `base` is made anew. The explicit accounts stay, unless the caller may set them and the body names others.
    """
    resource = {**resource, "id": base.id}
    body = store.encode(resource)
    given = _given_accounts(resource, who)
    if base.deleted:
        explicit = access.explicit_on_create(who, accounts.own(given or (), None))
        return Write(base.key, base, body, None, facts.facts(resource), explicit, method="PUT")
    explicit = base.explicit if given is None or _echoes(store, resource, base, given) else accounts.own(given, base)
    former = store.decode(base)
    if explicit == base.explicit and (body == base.body or _same(former, resource)):
        return None
    return Write(
        base.key, base, body, facts.facts(former), facts.facts(resource), explicit, {}, base.propagate, method="PUT"
    )


def _echoes(store: Store, resource: dict[str, Any], base: Head, given: tuple[str, ...]) -> bool:
    """Whether the body's accounts are those of the version that it was made from: sent back, not asked for."""
    if given == base.accounts:
        return True
    version = resource["meta"].get("versionId", "")
    if not (version.isdigit() and int(version) < base.version):
        return False
    made_from = store.read_version(base.key, int(version))
    return made_from is not None and given == made_from.accounts


def _same(former: dict[str, Any], resource: dict[str, Any]) -> bool:
    """Equal as JSON to the digit (1.10 is not 1.1), whatever the order of the members; `meta` as it is stored."""
    return json.canonical(former) == json.canonical(stored(resource))


def stored(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without the parts of `meta` that the server derives."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated", "accounts", "compartment")
    }
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return rest | {"meta": meta} if meta else rest


def prepare_delete(store: Store, base: Head) -> Write:
    """The write that deletes `base`."""
    return Write(base.key, base, None, facts.facts(store.decode(base)), None, method="DELETE")


def inherit(store: Store) -> Inherit:
    """What a commit calls between staging and committing: sets what each write inherits from its targets as they are then.

    From every Patient that the resource names through the Patient compartment's parameters, and from other targets while they propagate.
    """

    def set_inherited(writes: Sequence[Write]) -> None:
        known = compartments.in_force(store)
        here: dict[str, Head | Write] = {write.key: write for write in writes}
        roots = {
            write.key: [
                root for root in compartments.memberships(write.new.targets, write.key, known) if root != write.key
            ]
            for write in writes
            if write.new is not None and write.body is not None
        }
        elsewhere = {root for found in roots.values() for root in found if root not in here}
        targets = here | store.read_many(elsewhere)
        for write in writes:
            given = {root: accounts.passed_on(targets.get(root)) for root in roots.get(write.key, ())}
            write.inherited = {root: passed for root, passed in given.items() if passed}

    return set_inherited


# The interactions


def create(
    store: Store, who: Caller, resource: dict[str, Any], condition: Condition | None = None
) -> tuple[Head, bool]:
    """Create a checked resource under a new id; with a `condition`, only if nothing meets it. Returns its head, and whether it is new.

    MultipleMatches where several resources meet the condition. Two requests at once under one condition make one resource.
    """
    resource_type = resource["resourceType"]
    access.require(who, access.CREATE, resource_type)
    if condition is None:
        write = prepare_create(store, resource, who, f"{resource_type}/{new_id()}", True)
        return store.commit([write], (), inherit(store))[0], True
    # Who may not search would find nothing, and make a second resource.
    access.require(who, access.SEARCH, resource_type)
    return _retried(lambda: _create_if_none(store, who, resource, condition))


def _create_if_none(store: Store, who: Caller, resource: dict[str, Any], condition: Condition) -> tuple[Head, bool]:
    from bulkhead.bundles import conditions

    fence = access.fence(who, access.SEARCH)
    found = conditions.find(store, [condition], fence)[condition]
    if len(found) > 1:
        raise MultipleMatches("several resources meet the condition", "If-None-Exist")
    if found:
        return found[0], False
    key = f"{resource['resourceType']}/{new_id()}"
    owner = store.claim_owner(condition.text)
    if owner is not None:
        # The index may lag behind the resource that the claim names.
        head = store.read(owner)
        if head and not head.deleted and conditions.meets(store, head, condition, fence):
            return head, False
    write = prepare_create(store, resource, who, key, True)
    claim = Claim(condition.text, key, owner)
    return store.commit([write], [claim], inherit(store))[0], True


def update(store: Store, who: Caller, resource: dict[str, Any], key: str, if_match: str | None) -> tuple[Head, bool]:
    """Make a checked resource the next version of `key`, or its first. Returns its head, and whether it is new.

    PreconditionFailed where `if_match` (an `If-Match` header) is not the current version.
    """
    access.require(who, access.UPDATE, key.partition("/")[0])
    expected = version_of(if_match)

    def attempt() -> tuple[Head, bool]:
        base = store.read(key)
        if base is not None and not (base.deleted or access.fence(who)(Candidate(base, store.decode))):
            raise NotFound(f"{key} is not known", "id")
        _match(base, expected)
        if base is None:
            access.require(who, access.CREATE, key.partition("/")[0])
            write: Write | None = prepare_create(store, resource, who, key, False)
        else:
            write = prepare_update(store, resource, base, who)
        if write is None and base is not None:
            return base, False
        assert write is not None
        return store.commit([write], (), inherit(store))[0], base is None or base.deleted

    return _retried(attempt)


def delete(store: Store, who: Caller, key: str, if_match: str | None) -> Head | None:
    """Delete `key`. Returns the deletion's head; None where there was nothing to delete."""
    access.require(who, access.DELETE, key.partition("/")[0])
    expected = version_of(if_match)

    def attempt() -> Head | None:
        base = store.read(key)
        if base is not None and not base.deleted and not access.fence(who)(Candidate(base, store.decode)):
            raise NotFound(f"{key} is not known", "id")
        _match(base, expected)
        if base is None or base.deleted:
            return None
        return store.commit([prepare_delete(store, base)])[0]

    return _retried(attempt)


def version_of(if_match: str | None) -> int | None:
    """The version that an `If-Match` header asks for; None without one, or for `*`. BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if not match:
        raise BadRequest('If-Match must be a version such as W/"3"', "If-Match")
    return int(match[1])


def _match(base: Head | None, expected: int | None) -> None:
    if expected is not None and (base is None or base.version != expected):
        raise PreconditionFailed("the resource is not at this version", "If-Match")


def _retried(attempt: Callable[[], T]) -> T:
    """`attempt`, again where another writer was faster: it reads anew, and an `If-Match` fails by itself then."""
    for _ in range(_ATTEMPTS):
        try:
            # A large transaction of someone else may have been decided since the last attempt.
            with one_request():
                return attempt()
        except (VersionConflict, ClaimTaken):
            continue
    raise Conflict("too many writers on this resource at once; try again", "id")
