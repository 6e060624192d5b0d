"""Who can see a resource, and why: told from what decides (`decision`), and from what the resource itself says. Semantics, section 3.

Whoever asks learns nothing that it may not know: what it may read, and who has what it may set accounts on (`knows`). The accounts of a resource are in its `meta`; which target gave one of them is told
only where the target may be read. What a Binary follows decides for others only where the one who asks may read it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.access import policy, rules
from bulkhead.access.audit_fence import audit_fence
from bulkhead.access.caller import Caller
from bulkhead.access.decision import of_type
from bulkhead.access.rules import DELETE, READ, SEARCH, UPDATE, Rule, Verdict
from bulkhead.access.shared_types import is_shared, shared_types
from bulkhead.compartments import membership, patient_links
from bulkhead.compartments.private import is_private
from bulkhead.facts.audit_names import is_trail
from bulkhead.facts.security_context import BINARY, context_of
from bulkhead.store.heads import OWN

if TYPE_CHECKING:
    from bulkhead.store import Head, ReadStore
    from bulkhead.store.version import Fence, Version

RIGHTS: Mapping[str, str] = {"read": READ, "search": SEARCH, "update": UPDATE, "delete": DELETE}
"""By interaction, the right that it needs."""

REASONS: Mapping[Rule, str] = {
    Rule.UNFENCED: "The token has no claim that fences it, and a scope allows this.",
    Rule.ACCOUNT: "The resource carries one of the token's accounts.",
    Rule.PATIENT_COMPARTMENT: "The resource is in the compartment of the token's patient.",
    Rule.ACCOUNT_AND_COMPARTMENT: "The resource carries one of the token's accounts, and is in the compartment of the token's patient.",
    Rule.AUDIT_ENTITIES: "The token may see everything that this AuditEvent speaks of.",
    Rule.SHARED_TYPE: "The type is shared, and the resource carries no account: every token whose scopes allow the type reads it.",
    Rule.SECURITY_CONTEXT: "The token may read what the Binary's securityContext names.",
    Rule.NO_SCOPE: "No scope of the token allows this for the type.",
    Rule.SCOPE_QUERY: "The resource does not meet the query of any scope that would allow this.",
    Rule.GOVERNS_THE_SERVER: "Resources of this type govern the server: only a token without a fence writes them.",
    Rule.NO_ACCOUNT: "The resource carries none of the token's accounts.",
    Rule.OUTSIDE_COMPARTMENT: "The resource is not in the compartment of the token's patient.",
    Rule.HIDDEN_ENTITIES: "The token may not see all that this AuditEvent speaks of.",
    Rule.SHARED_READ_ONLY: "The resource is shared: only a token without a fence writes it.",
    Rule.NEVER_CHANGED: "An AuditEvent is never changed or deleted.",
    Rule.HIDDEN_FROM_ASKER: "This depends on a resource that you may not read.",
}
"""Each rule in a sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """From where a resource has an account: its own (`root` None), or inherited from `root` through search parameters.

    `hidden`: inherited from a target that the one who asks may not read. `until` is an instant, "" where it has no end.
    """

    root: str | None
    through: tuple[str, ...] = ()
    until: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a resource is seen by those who see it."""

    accounts: Mapping[str, tuple[Source, ...]]
    sealed: bool
    """Whether somebody sealed the resource, so that it inherits nothing."""
    private: bool
    """Whether a label makes it private, so that it inherits nothing: the setting PRIVATE."""
    compartments: Mapping[str, tuple[str, ...]]
    """By target, the search parameters through which the resource is in its compartment; `{def}`: it is the target."""
    shared: bool
    context: str | None
    """What a Binary follows, if it follows anything of this server."""


def knows(store: ReadStore, asker: Caller) -> Fence:
    """Whether `asker` may be told of a resource: where it may read it, or set its accounts."""
    reads, settable, may_set = (
        policy.fence(store, asker, READ),
        policy.settable(store, asker),
        policy.may_set_accounts(asker),
    )
    return lambda version: reads(version) or (may_set and settable(version))


def explain(store: ReadStore, asker: Caller, version: Version) -> Explanation:
    """What opens a resource that `asker` knows. Reads the targets that it inherits from, in one request."""
    head, known = version.head, membership.in_force(store)
    sees = knows(store, asker)
    roots = store.read_many(sorted(head.inherited)) if head.inherited else {}
    visible = {
        key
        for key, root in roots.items()
        # A deleted target still hands on what its tombstone has.
        if (policy.sees_all(asker, READ, root.type) if root.deleted else sees(store.version(root)))
    }
    sources = {account: [Source(None, until=_end(head, OWN, account))] for account in head.explicit}
    for root in sorted(head.inherited):
        hidden = root not in visible
        through = () if hidden else _through(version, root, known)
        for account in head.inherited[root]:
            source = Source(None if hidden else root, through, _end(head, root, account), hidden)
            sources.setdefault(account, []).append(source)
    inside = membership.memberships(version, known)
    return Explanation(
        accounts={account: tuple(found) for account, found in sources.items()},
        sealed=head.sealed,
        private=is_private(store.settings.private, version.body),
        compartments={target: _through(version, target, known) for target in inside},
        shared=is_shared(head, shared_types(store.settings.shared_types)),
        context=context_of(version.body) if head.type == BINARY else None,
    )


def _end(head: Head, giver: str, account: str) -> str:
    return head.ends.get(giver, {}).get(account, "")


def _through(version: Version, target: str, known: membership.Definitions) -> tuple[str, ...]:
    """The search parameters through which a resource is in the compartment of `target`."""
    if version.key == target:
        return (membership.ITSELF,)
    its = known.get(target.partition("/")[0])
    return tuple(sorted(membership.through(its, target, version))) if its else ()


def decide_for(store: ReadStore, asker: Caller, caller: Caller, *, version: Version) -> dict[str, Verdict]:
    """By interaction (RIGHTS), what `caller` may do with a resource that `asker` knows: the verdict that its requests would get."""
    found = {name: policy.decide(store, caller, right).verdict(version) for name, right in RIGHTS.items()}
    if _depends_on_hidden_context(store, asker, caller, version=version):
        found |= {
            name: _veiled(found[name], Rule.SECURITY_CONTEXT, Rule.NO_ACCOUNT, Rule.OUTSIDE_COMPARTMENT, _OPENED)
            for name in ("read", "search")
        }
    if not policy.fence(store, asker, READ)(version):
        # The asker may set the resource's accounts, and not read it: a query would tell what is in it, guess by guess.
        bounded = {name for name, right in RIGHTS.items() if _is_asked_by_query(caller, right, version)}
        found |= {
            name: rules.HIDDEN_FROM_ASKER
            for name in bounded
            if found[name].opens or found[name].rule == Rule.SCOPE_QUERY
        }
    if _depends_on_hidden_links(store, asker, caller, version=version):
        chart = (Rule.PATIENT_COMPARTMENT, Rule.ACCOUNT_AND_COMPARTMENT, Rule.OUTSIDE_COMPARTMENT, _OPENED)
        found = {name: _veiled(verdict, *chart) for name, verdict in found.items()}
    if _depends_on_hidden_entities(store, asker, caller, version=version):
        trail = (Rule.AUDIT_ENTITIES, Rule.HIDDEN_ENTITIES, _OPENED)
        found = {name: _veiled(verdict, *trail) for name, verdict in found.items()}
    return found


def _veiled(verdict: Verdict, *telling: Rule) -> Verdict:
    return rules.HIDDEN_FROM_ASKER if verdict.rule in telling else verdict


_OPENED = Rule.SCOPE_QUERY
"""It says that the fence opened the resource: a query is looked at only then."""


def _is_asked_by_query(caller: Caller, right: str, version: Version) -> bool:
    """Whether the caller has `right` on resources of the type only where they meet a query."""
    given = of_type(caller, right, version.head.type)
    return not isinstance(given, Verdict) and bool(given)


def _depends_on_hidden_context(store: ReadStore, asker: Caller, caller: Caller, *, version: Version) -> bool:
    """Whether the caller sees a Binary or not by a resource, or by the content of one, that `asker` may not read."""
    context = context_of(version.body) if version.head.type == BINARY else None
    if context is None or not caller.fenced or policy.claims_fence(store, caller)(version):
        return False
    head = store.read(context)
    if head is None or head.deleted:
        # As one that is hidden: who may not know of it is not told that it is gone.
        return not policy.sees_all(asker, READ, context.partition("/")[0])
    its = store.version(head)
    if _is_asked_by_query(caller, READ, its):
        return not policy.fence(store, asker, READ)(its)
    return not knows(store, asker)(its)


def _depends_on_hidden_links(store: ReadStore, asker: Caller, caller: Caller, *, version: Version) -> bool:
    """Whether the resource may be the caller's by a Patient that its own says to replace, and that `asker` may not read.

    The same whether that one is there, and whether it agrees.
    """
    own = f"Patient/{caller.patient}"
    if not caller.patient or policy.sees_all(asker, READ, "Patient"):
        return False
    if own in membership.memberships(version, membership.in_force(store)):
        return False
    sees = knows(store, asker)
    patient = store.read(own)
    replaced = patient_links.followed(store, [store.version(patient)] if patient else [], sees).get(own, ())
    heads = store.read_many(replaced) if replaced else {}
    seen = {key for key, head in heads.items() if not head.deleted and sees(store.version(head))}
    return not seen.issuperset(replaced)


def _depends_on_hidden_entities(store: ReadStore, asker: Caller, caller: Caller, *, version: Version) -> bool:
    """Whether one of the server's AuditEvents is the caller's or not by something that `asker` may not know of, there or not."""
    if not is_trail(version.key) or not caller.fenced or policy.sees_all(asker, READ, "*"):
        return False
    return not audit_fence(store, knows(store, asker))(version)
