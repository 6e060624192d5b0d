"""`$meta`, `$meta-add` and `$meta-delete` (R4 resource-operations.html): profiles, tags and security labels of one resource.

R4 asks for changes without a new version. Here each change makes one: a history feed, an `If-None-Match` and an
`If-Match` would all miss it otherwise, and security labels are too important for unseen changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.errors import BadRequest, Conflict, PreconditionFailed
from bulkhead.fhir import validation
from bulkhead.session import Session
from bulkhead.store import Head

Meta = dict[str, Any]
Change = Callable[[Meta, Meta], Meta]

_LISTS = ("profile", "security", "tag")
_ATTEMPTS = 6


def parse(body: dict[str, Any]) -> Meta:
    """The Meta in the operation's Parameters. BadRequest, InvalidResource."""
    validation.check(body, "Parameters")
    listed = body.get("parameter", [])
    for n, item in enumerate(listed):
        if item["name"] != "meta" or "valueMeta" not in item:
            raise BadRequest(
                "the operation takes exactly one parameter: meta, with valueMeta", f"Parameters.parameter[{n}]"
            )
    if len(listed) != 1:
        raise BadRequest("the operation takes exactly one parameter: meta, with valueMeta", "Parameters.parameter")
    found: Meta = listed[0]["valueMeta"]
    return found


def added(meta: Meta, more: Meta) -> Meta:
    """`meta` with the profiles, security labels and tags of `more` that it does not have."""
    result = dict(meta)
    for name in _LISTS:
        known = {_identity(item) for item in meta.get(name, ())}
        new = {_identity(item): item for item in more.get(name, ())}.values()
        found = [*meta.get(name, ()), *(item for item in new if _identity(item) not in known)]
        if found:
            result[name] = found
    return result


def removed(meta: Meta, less: Meta) -> Meta:
    """`meta` without the profiles, security labels and tags of `less`."""
    result = dict(meta)
    for name in _LISTS:
        unwanted = {_identity(item) for item in less.get(name, ())}
        left = [item for item in meta.get(name, ()) if _identity(item) not in unwanted]
        if left:
            result[name] = left
        else:
            result.pop(name, None)
    return result


def _identity(item: Any) -> tuple[str | None, str | None] | str:
    """The identity of a tag or label: system and code, without version and display. For a profile, its URL."""
    return (item.get("system"), item.get("code")) if isinstance(item, Mapping) else str(item)


def change(session: Session, key: str, given: Meta, *, how: Change, if_match: str | None) -> Head:
    """Applies `how` (`added` or `removed`) to the meta of `key` and `given`, and commits the result. Returns the head.

    NotFound, Gone, Forbidden; PreconditionFailed where `if_match` is not the current version.
    """
    policy.require(session.caller, policy.UPDATE, key.partition("/")[0])
    for _ in range(_ATTEMPTS):
        head = resources.read(session, key)
        expected = resources.version_of(if_match)
        if expected is not None and expected != head.version:
            raise PreconditionFailed(
                "the current version of the resource is a different one: read it again", "If-Match"
            )
        resource = session.store.decode(head)
        meta = how(resource.get("meta", {}), given)
        changed = {name: value for name, value in resource.items() if name != "meta"} | ({"meta": meta} if meta else {})
        if changed == resource or not (meta or "meta" in resource):
            return head
        try:
            whole = {**changed, "id": head.id}
            return resources.update(session, whole, key, if_match=f'W/"{head.version}"', partial=True)[0]
        except PreconditionFailed:
            continue
    raise Conflict("other requests keep changing this resource: send the request again")


def answer(meta: Meta) -> dict[str, Any]:
    """The Parameters that all three operations return."""
    return {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": meta}]}
