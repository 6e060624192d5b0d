"""Converts a stored version to the form that a client sees, and a client's resource to the form that is stored."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from bulkhead.compartments import accounts, membership
from bulkhead.compartments.membership import Definitions
from bulkhead.fhir import json
from bulkhead.store import Head
from bulkhead.store.heads import NEVER
from bulkhead.store.version import Version


def represent(version: Version, known: Definitions, *, extended: bool = True) -> dict[str, Any]:
    """A version in the form that a client sees: its body (which is not changed) with the head's facts in `meta`.

    `known` are the compartment definitions in force. `extended` adds `meta.accounts` and `meta.compartment`, both derived now and never stale.
    """
    head, body = version.head, version.body
    shown = {
        "resourceType": head.type,
        "id": head.id,
        "meta": _meta(version, body.get("meta", {}), known, extended=extended),
    }
    shown.update((name, value) for name, value in body.items() if name not in shown)
    return shown


def splice(version: Version, known: Definitions, *, extended: bool = True) -> Raw | None:
    """The JSON of `represent`, to the byte, without parsing the body; None where that takes parsing it."""
    content = version.content
    if content is None or content.meta is None:
        return None
    own = json.stored(content.meta) if content.meta else {}
    return content.splice(version.key, _meta(version, own, known, extended=extended))


def _meta(version: Version, own: dict[str, Any], known: Definitions, *, extended: bool) -> dict[str, Any]:
    """The `meta` that a client sees; `own` is the resource's."""
    head = version.head
    meta: dict[str, Any] = {"versionId": str(head.version), "lastUpdated": head.updated, **own}
    if extended:
        carried = head.accounts
        if carried:
            meta["accounts"] = [_account(head, account) for account in carried]
        inside = dict.fromkeys(membership.memberships(version, known))
        inside.update(dict.fromkeys(carried))
        if inside:
            meta["compartment"] = [{"reference": compartment} for compartment in inside]
    return meta


def _account(head: Head, account: str) -> dict[str, Any]:
    """An account as `meta.accounts` shows it: with its end, where it has one."""
    end = head.until(account)
    extension = {} if end == NEVER else {"extension": [{"url": accounts.UNTIL, "valueInstant": end}]}
    return {**extension, "reference": account}


def stored(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without the parts of `meta` that the server derives."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated", "accounts", "compartment")
    }
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return rest | {"meta": meta} if meta else rest
