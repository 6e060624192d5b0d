"""Preparing writes: one code path for single requests and for bundles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulkhead import access, accounts, compartment_definitions, compartments, settings
from bulkhead.access import Caller
from bulkhead.errors import BadRequest, InvalidResource, Issue, Unprocessable
from bulkhead.model import json, references, validation
from bulkhead.resources.representation import stored
from bulkhead.search import facts
from bulkhead.search.candidate import Candidate
from bulkhead.store import Head, Inherit, Store, Write
from bulkhead.store.heads import Read
from bulkhead.trail import is_trail

_PATIENT = f"{accounts.PATIENT}/"
_SUBSCRIPTION = "Subscription"
# The statuses of a Subscription that nobody waits for.
_DORMANT = ("off", "error")


def checked(
    resource: Any,
    resource_type: str,
    identifier: str | None = None,
    base: str | None = None,
    *,
    conditional_references: bool = False,
) -> dict[str, Any]:
    """A valid resource of the type, whose `id` (given with `identifier`) is that of the URL. InvalidResource, BadRequest.

    References by absolute URLs below `base`, this server's own, become relative: they are of the same compartments. References
    by criteria are refused, but where the caller resolves them (`conditional_references`).
    """
    validation.check(resource, resource_type, conditional_references=conditional_references)
    if identifier is not None and resource.get("id") != identifier:
        raise BadRequest("the resource's id must be the one of the URL", f"{resource_type}.id")
    valid: dict[str, Any] = resource
    for place, reference in references.walk(valid) if base else ():
        if "reference" in reference:
            reference["reference"] = references.relative(reference["reference"], f"{base}/")
            if not conditional_references and references.is_conditional(reference["reference"], f"{base}/"):
                message = validation.CONDITIONAL_MESSAGE
                raise InvalidResource(message, issues=[Issue("value", message, f"{place}.reference")])
    return valid


def _given_accounts(resource: dict[str, Any], who: Caller) -> dict[str, str] | None:
    """The accounts that the body asks for, each with its place, if it has any and the caller has the right; None otherwise. BadRequest."""
    listed = resource.get("meta", {}).get("accounts")
    if listed is None or not access.may_set_accounts(who):
        return None
    place, limit = f"{resource['resourceType']}.meta.accounts", settings.current().account_limit
    if len(listed) > limit:
        raise BadRequest(f"at most {limit} accounts may be given", place)
    found: dict[str, str] = {}
    for n, each in enumerate(listed):
        account = references.local(each.get("reference", ""))
        if account is None:
            raise BadRequest("an account is a reference Type/id", f"{place}[{n}].reference")
        found.setdefault(account, f"{place}[{n}].reference")
    return found


def _new_accounts(resource: dict[str, Any], who: Caller) -> tuple[str, ...]:
    """The own accounts of a resource that is made: those that the body asks for, or those that the caller is fenced to. Forbidden."""
    given = _given_accounts(resource, who)
    return access.accounts_of_new(who) if given is None else access.own_accounts(who, list(given), (), given)


def prepare_create(store: Store, resource: dict[str, Any], who: Caller, key: str, fresh: bool) -> Write:
    """The write that makes `resource` (checked) as `key`. `fresh`: the id was made by the server just now. Forbidden (accounts)."""
    resource = {**resource, "id": key.partition("/")[2]}
    _require_served(store, resource)
    explicit = _new_accounts(resource, who)
    body = store.encode(resource)
    method = "POST" if fresh else "PUT"
    return Write(key, None, body, None, facts.facts(resource), explicit, method=method, fresh=fresh)


def prepare_update(store: Store, resource: dict[str, Any], base: Head, who: Caller) -> Write | None:
    """The write that makes `resource` (checked) the next version of `base`. None where nothing would change. Forbidden (accounts).

    A deleted `base` is made anew. The explicit accounts stay, unless the caller may set them and the body names others.
    """
    resource = {**resource, "id": base.id}
    _require_served(store, resource)
    body = store.encode(resource)
    if base.deleted:
        return Write(base.key, base, body, None, facts.facts(resource), _new_accounts(resource, who), method="PUT")
    given = _given_accounts(resource, who)
    explicit = base.explicit
    if given is not None and not _echoes(store, who, resource, base, tuple(given)):
        asked = accounts.own(given, base, who.accounts)
        explicit = access.own_accounts(who, asked, base.explicit, given)
    former = store.decode(base)
    if explicit == base.explicit and (body == base.body or _same(former, resource)):
        return None
    return Write(
        base.key, base, body, facts.facts(former), facts.facts(resource), explicit, {}, base.propagate, method="PUT"
    )


def _require_served(store: Store, resource: dict[str, Any]) -> None:
    """Unprocessable for what this server would have to act upon and cannot: every write of a resource comes by here.

    A CompartmentDefinition that, under the id that it will have, defines what there is not; a Subscription that is to be served.
    """
    if resource["resourceType"] == compartment_definitions.TYPE:
        compartment_definitions.check(resource, store.settings.body_limit)
    if resource["resourceType"] == _SUBSCRIPTION and resource.get("status") not in _DORMANT:
        raise Unprocessable(
            "this server serves no subscriptions yet: it takes a Subscription with the status off or error only, and "
            "clients learn of changes by _history?_since=",
            f"{_SUBSCRIPTION}.status",
        )


def _echoes(store: Store, who: Caller, resource: dict[str, Any], base: Head, given: tuple[str, ...]) -> bool:
    """Whether the body's accounts are those of the version that it was made from: sent back, not asked for."""
    if given == base.accounts:
        return True
    version = resource["meta"].get("versionId", "")
    if not (version.isdigit() and int(version) < base.version):
        return False
    made_from = store.read_version(base.key, int(version))
    shown = access.versions(store, who, access.READ)
    return made_from is not None and given == made_from.accounts and shown(Candidate(made_from, store.decode))


def _same(former: dict[str, Any], resource: dict[str, Any]) -> bool:
    """Equal as JSON to the digit (1.10 is not 1.1), whatever the order of the members; `meta` as it is stored."""
    return json.canonical(former) == json.canonical(stored(resource))


def prepare_delete(store: Store, base: Head) -> Write:
    """The write that deletes `base`; of one of R4's own CompartmentDefinitions, that brings it back as it was."""
    original = store.built_in(base.key)
    if original:
        former, resource = store.decode(base), store.decode(original)
        return Write(
            base.key, base, original.body, facts.facts(former), facts.facts(resource), base.explicit, method="PUT"
        )
    return Write(base.key, base, None, facts.facts(store.decode(base)), None, method="DELETE")


def inherit(store: Store, who: Caller = access.EVERYBODY) -> Inherit:
    """What a commit calls between staging and committing: sets what each write inherits from its targets as they are then.

    From every Patient that the resource names through the Patient compartment's parameters, and from other targets while they
    propagate; for a fenced caller only from those of the others that it may see, or that gave something before. (Patients that
    it may not see, it may not name.) So nobody learns from the accounts of a resource of its own what else there is.
    """
    inside = access.reach(store, who)

    def gives(write: Write, root: str, target: Head | Write | None) -> bool:
        if not who.fenced or root.startswith(_PATIENT) or not isinstance(target, Head):
            return True
        gave = write.base is not None and root in write.base.inherited
        return gave or inside(Candidate(target, store.decode))

    def set_inherited(writes: Sequence[Write], read: Read) -> None:
        known = compartments.in_force(store)
        here: dict[str, Head | Write] = {write.key: write for write in writes}
        roots = {
            write.key: [
                root for root in compartments.memberships(write.new.targets, write.key, known) if root != write.key
            ]
            for write in writes
            # What the trail tells of is fenced by the data that it speaks of, as it is then: it carries no accounts of its own.
            if write.new is not None and write.body is not None and not is_trail(write.key)
        }
        elsewhere = {root for found in roots.values() for root in found if root not in here}
        targets = {**read(elsewhere), **here}
        for write in writes:
            if write.key not in roots:
                continue
            givers = [root for root in roots[write.key] if gives(write, root, targets.get(root))]
            given = {root: accounts.passed_on(targets.get(root)) for root in givers}
            write.inherited = {root: passed for root, passed in given.items() if passed}

    return set_inherited
