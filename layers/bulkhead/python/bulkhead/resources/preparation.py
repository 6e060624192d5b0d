"""Prepares writes: one code path for single requests and for bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.audit import events
from bulkhead.compartments import accounts, compartment_definitions, governing, membership, private
from bulkhead.errors import BadRequest, Issue, Unprocessable
from bulkhead.facts import index_facts
from bulkhead.facts.audit_names import AUDIT_EVENT, is_trail
from bulkhead.facts.security_context import BINARY, context_of
from bulkhead.fhir import dates, json, references, validation
from bulkhead.resources.representation import stored
from bulkhead.session import Session
from bulkhead.store import Head, Inherit, Store, Write
from bulkhead.store.heads import NEVER, OWN, Read

SEARCH_PARAMETER = "SearchParameter"
OPERATION_DEFINITION, OWN_OPERATION = "OperationDefinition", "bulkhead-"
"""The ids of the server's own OperationDefinitions begin so; a read of one shows the server's, whatever is stored."""
_SUBSCRIPTION = "Subscription"
# The statuses of a Subscription that sends nothing.
_DORMANT = ("off", "error")


def checked(
    resource: Any,
    resource_type: str,
    identifier: str | None = None,
    *,
    base: str | None = None,
    conditional_references: bool = False,
) -> dict[str, Any]:
    """A valid resource of the type; with `identifier`, the id of the URL, its `id` must agree. InvalidResource, BadRequest.

    Absolute references below `base`, this server's own URL, become relative, so that they count for the same compartments.
    Conditional references are refused unless the caller resolves them (`conditional_references`).
    """
    validation.check(resource, resource_type, conditional_references=conditional_references, base=base)
    if identifier is not None and resource.get("id") != identifier:
        raise BadRequest("the resource's id must be the one of the URL", f"{resource_type}.id")
    valid: dict[str, Any] = resource
    for _, reference in references.walk(valid) if base else ():
        if "reference" in reference:
            reference["reference"] = references.relative(reference["reference"], f"{base}/")
    return valid


@dataclass(frozen=True, slots=True)
class _Given:
    """The accounts that a body asks for: the place of each, and the ends of those that have one."""

    places: dict[str, str]
    ends: dict[str, str]


def _given_accounts(resource: dict[str, Any], session: Session) -> _Given | None:
    """The accounts that the body asks for, if it has any and the caller has the right; None otherwise. BadRequest."""
    listed = resource.get("meta", {}).get("accounts")
    if listed is None or not policy.may_set_accounts(session.caller):
        return None
    place, limit = f"{resource['resourceType']}.meta.accounts", session.settings.account_limit
    if len(listed) > limit:
        raise BadRequest(f"a resource may have at most {limit} accounts", place)
    found = _Given({}, {})
    for n, reference in enumerate(listed):
        account = references.local(reference.get("reference", ""))
        if account is None:
            raise BadRequest("an account must be a reference Type/id", f"{place}[{n}].reference")
        if account not in found.places:
            found.places[account] = f"{place}[{n}].reference"
            if end := _end_of(reference, f"{place}[{n}]"):
                found.ends[account] = end
    return found


def _end_of(reference: dict[str, Any], place: str) -> str | None:
    """The instant at which an account of `meta.accounts` ends, as its extension says; None without one. BadRequest."""
    given = [extension for extension in reference.get("extension", ()) if extension.get("url") == accounts.UNTIL]
    if not given:
        return None
    if len(given) > 1 or not isinstance(given[0].get("valueInstant"), str):
        raise BadRequest(f"the extension {accounts.UNTIL} must stand once, with a valueInstant", f"{place}.extension")
    return dates.bounds(given[0]["valueInstant"])[0]


def prepare_create(session: Session, resource: dict[str, Any], key: str, *, fresh: bool) -> Write:
    """The write that makes `resource` (checked) as `key`. `fresh`: the id was made by the server just now. Forbidden (accounts).

    Unprocessable where an account would have ended before.
    """
    resource = _signed({**resource, "id": key.partition("/")[2]}, session.caller)
    _require_served(session.store, resource)
    _require_context(resource, None)
    given = _given_accounts(resource, session)
    explicit, ends = policy.accounts_of_new(session.caller), {}
    if given is not None:
        explicit, ends = policy.own_accounts(session.caller, list(given.places), (), places=given.places), given.ends
        for account in _ended(given):
            raise Unprocessable("the account's end is in the past", given.places[account])
    new = index_facts.facts(resource)
    body = session.store.encode(resource, new.targets)
    method = "POST" if fresh else "PUT"
    return Write(key, None, body, None, new, explicit, method=method, fresh=fresh, ends={OWN: ends})


def _ended(given: _Given) -> list[str]:
    now = dates.now()
    return [account for account, end in given.ends.items() if end <= now]


def prepare_update(session: Session, resource: dict[str, Any], base: Head, *, partial: bool) -> Write | None:
    """The write that makes `resource` (checked) the next version of `base`. None if nothing would change. Forbidden (accounts).

    `partial`: the caller gave only a part of the resource (a patch). When a caller without a fence writes a definition unchanged that a
    fenced caller wrote, one thing changes: the definition comes into force.

    The write of a deleted `base` makes it anew. A deletion keeps the explicit accounts, and they stay unless the caller may set accounts
    and the body names others.
    """
    resource = _signed({**resource, "id": base.id}, session.caller)
    _require_served(session.store, resource)
    body = session.store.encode(resource)
    given = _given_accounts(resource, session)
    explicit, ends = base.explicit, dict(base.ends.get(OWN, {}))
    if given is not None and not _echoes(session, resource, base, given=given):
        # An account that has ended since the body was read is an echo, and would have no effect.
        ended = _ended(given)
        asked = [account for account in given.places if account not in ended]
        asked = list(accounts.own(asked, base, session.caller.accounts))
        explicit = policy.own_accounts(session.caller, asked, base.explicit, places=given.places)
        ends = accounts.ends_of_own(base, explicit, asked, ends=_meant(given, base))
    former = None if base.deleted else session.store.decode(base)
    _require_context(resource, former)
    adopted = base.type in governing.TYPES and not base.unfenced and not partial and not session.caller.fenced
    same_accounts = explicit == base.explicit and ends == base.ends.get(OWN, {})
    if former and same_accounts and not adopted and (body == base.body or _same(former, resource)):
        return None
    flag = accounts.flagged(base, explicit, fence=session.caller.accounts, propagate=None)
    return Write(
        base.key,
        base,
        body,
        index_facts.facts(former) if former else None,
        index_facts.facts(resource),
        explicit,
        propagate=flag.propagate,
        within=flag.within,
        method="PUT",
        partial=partial,
        ends={OWN: ends},
    )


def _meant(given: _Given, base: Head) -> dict[str, str]:
    """The ends that a body means its accounts to have.

    One that it does not give, or gives as `base` shows it, stays: a client that leaves out extensions makes nothing endless, and one
    that sends back the end of an account that the resource inherits as well does not make its own last as long.
    """
    own = base.granted_by(OWN)
    meant = {}
    for account in given.places:
        end = given.ends.get(account)
        stays = account in own and end in (None, base.until(account))
        meant[account] = own[account] if stays else end or NEVER
    return meant


def _signed(resource: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """The resource; an AuditEvent with its sender. The server's own events are made in `audit` and do not come here."""
    return events.sent_by(caller, resource) if resource["resourceType"] == AUDIT_EVENT else resource


def _require_served(store: Store, resource: dict[str, Any]) -> None:
    """Raises Unprocessable for a resource that this server would have to act upon and cannot. Every write passes here.

    A CompartmentDefinition that, under the id that it will have, defines no possible compartment, and what is `unserved`.
    """
    if resource["resourceType"] == compartment_definitions.TYPE:
        compartment_definitions.check(resource, store.settings.body_limit)
    elif issues := unserved(resource):
        raise Unprocessable(issues[0].diagnostics, issues=issues)


def unserved(resource: dict[str, Any]) -> list[Issue]:
    """Why this server could not act upon a valid resource, so that no write of it is accepted.

    A costly SearchParameter; an active Subscription; an OperationDefinition under an id of the server's own.
    """
    if resource["resourceType"] == SEARCH_PARAMETER:
        from bulkhead.search import custom

        return custom.too_costly(resource)
    if resource["resourceType"] == _SUBSCRIPTION and resource.get("status") not in _DORMANT:
        text = (
            "this server sends no notifications yet: it accepts a Subscription only with the status off or error, and "
            "clients learn of changes by _history?_since="
        )
        return [Issue(Unprocessable.code, text, f"{_SUBSCRIPTION}.status")]
    if resource["resourceType"] == OPERATION_DEFINITION and resource.get("id", "").startswith(OWN_OPERATION):
        text = f"the server's own OperationDefinitions have ids that begin with {OWN_OPERATION}: use another id"
        return [Issue(Unprocessable.code, text, f"{OPERATION_DEFINITION}.id")]
    return []


def _require_context(resource: dict[str, Any], former: dict[str, Any] | None) -> None:
    """Unprocessable for a Binary that newly names as its `securityContext` what is no resource of this server.

    Whether the caller may read what it names is asked at the commit (`write_policy`).
    """
    context = resource.get("securityContext") if resource["resourceType"] == BINARY else None
    if context is None or context_of(resource) or (former and former.get("securityContext") == context):
        return
    raise Unprocessable(
        "securityContext must be a literal reference, Type/id, to a resource of this server, without a version",
        f"{BINARY}.securityContext",
    )


def _echoes(session: Session, resource: dict[str, Any], base: Head, *, given: _Given) -> bool:
    """Whether the body's accounts are those of the version that it is based on: the client sends them back and asks for no change."""
    if _shows(base, given):
        return True
    version = resource["meta"].get("versionId", "")
    if not (version.isdigit() and int(version) < base.version):
        return False
    made_from = session.store.read_version(base.key, int(version))
    shown = policy.versions(session.store, session.caller, policy.READ)
    return made_from is not None and _shows(made_from, given) and shown(session.store.version(made_from))


def _shows(head: Head, given: _Given) -> bool:
    """Whether `meta.accounts` of a version are those that are given, with their ends or without."""
    if tuple(given.places) != head.accounts:
        return False
    return all(head.until(account) == end for account, end in given.ends.items())


def _same(former: dict[str, Any], resource: dict[str, Any]) -> bool:
    """Whether two resources are equal as JSON to the digit (1.10 is not 1.1), in any order of members; `meta` as it is stored."""
    return json.canonical(former) == json.canonical(stored(resource))


def prepare_delete(store: Store, base: Head) -> Write:
    """The write that deletes `base`. For one of R4's own CompartmentDefinitions, the write that restores it.

    A deletion keeps the facts that say whose the resource was: a writer who reuses the id finds them, and members of its compartment
    keep what they have from it.
    """
    original = store.built_in(base.key)
    if original:
        former, resource = store.decode(base), store.decode(original)
        return Write(
            base.key,
            base,
            original.body,
            index_facts.facts(former),
            index_facts.facts(resource),
            explicit=base.explicit,
            propagate=base.propagate,
            within=base.within,
            method="PUT",
        )
    return Write(
        base.key,
        base,
        None,
        index_facts.facts(store.decode(base)),
        None,
        explicit=base.explicit,
        inherited=dict(base.inherited),
        propagate=base.propagate,
        within=base.within,
        method="DELETE",
    )


def inherit(session: Session) -> Inherit:
    """The function that a commit calls between staging and committing. It sets what each write inherits from its targets at that time.

    A write inherits from every Patient that the resource names through the Patient compartment's parameters, and from other targets while
    they propagate, within their bounds (`accounts.passed_on`). A fenced caller's write inherits from other targets only if the caller may
    see them, or if they gave something before. (It may not name Patients that it cannot see.) So the accounts of a caller's own resource
    tell nothing about resources that it cannot see. A write of accounts alone keeps what it has from Patients: only what they bound may change.
    """
    inside = policy.claims_fence(session.store, session.caller)

    def gives(write: Write, root: str, target: Head | Write | None) -> bool:
        if not session.caller.fenced or accounts.is_patient(root) or not isinstance(target, Head):
            return True
        gave = write.base is not None and root in write.base.inherited
        return gave or inside(session.store.version(target))

    def set_inherited(writes: Sequence[Write], read: Read) -> None:
        known = membership.in_force(session.store)
        closed = {write.key for write in writes if is_closed(session.store, write)}
        here: dict[str, Head | Write] = {write.key: write for write in writes}
        roots = {write.key: [] if write.key in closed else roots_of(session.store, write, known) for write in writes}
        elsewhere = {root for found in roots.values() for root in found if root not in here}
        targets = {**read(elsewhere), **here}
        for write in writes:
            found = roots[write.key]
            if write.key in closed:
                write.inherit({})
                continue
            if write.new is None and not found:
                continue
            kept = write.inherited_grants if write.new is None else {}
            given = {root: passed for root, passed in kept.items() if accounts.is_patient(root)}
            givers = [root for root in found if gives(write, root, targets.get(root))]
            for root in filter(accounts.is_patient, givers):
                given[root] = accounts.passed_on(targets.get(root), {})
            carries = accounts.carried(write.granted_by(OWN), given)
            for root in givers:
                if not accounts.is_patient(root):
                    given[root] = accounts.passed_on(targets.get(root), carries)
            write.inherit(given)

    return set_inherited


def is_closed(store: Store, write: Write) -> bool:
    """Whether what a write leaves behind inherits nothing: it is sealed, or private by a label. A deletion keeps what it has."""
    if write.body is None:
        return False
    return write.is_sealed or (write.new is not None and _is_private(store, write))


def _is_private(store: Store, write: Write) -> bool:
    setting, resource_type = store.settings.private, write.key.partition("/")[0]
    return write.new is not None and private.is_private_by_facts(setting, resource_type, write.new)


def roots_of(store: Store, write: Write, known: membership.Definitions) -> list[str]:
    """The targets from which a write may inherit: of one that changes accounts only, those that are no Patients; all, if it opens
    what was sealed.

    None for deletions and for AuditEvents of the server: the data that an event tells of decides who sees it.
    """
    if write.body is None or is_trail(write.key):
        return []
    if write.new is not None:
        found = membership.memberships(membership.of_write(store, write), known)
        return [root for root in found if root != write.key]
    if write.base is not None and write.base.sealed:
        sealed = store.version(write.base)
        if private.is_private(store.settings.private, sealed.body):
            return []
        found = membership.memberships(sealed, known)
        return [root for root in found if root != write.key]
    # If the resource loses an account, a target that passes on this very account must not keep it there.
    return [root for root in write.inherited if root != write.key and not accounts.is_patient(root)]
