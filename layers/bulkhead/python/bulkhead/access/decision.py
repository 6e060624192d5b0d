"""The decision about one resource: whether a caller has a right on it, and by which rule. Semantics, section 3.

`decide` gives the verdict, with its rule; a fence is the same verdict without the rule. There is no second copy of the rules:
`$explain-access` tells what this module decides.

1. A scope must give the right on the type; one with a query only on what meets the query.
2. Where no claim fences the caller, that is all. Where `accounts` does, the resource must carry one of these accounts; where `patient`
   does, it must be in that Patient's compartment; with both claims, both.
3. Reading and searching only: what of a shared type carries no account is open under every fence (`shared_types`), and a Binary is open
   to whoever reads what its `securityContext` names (`contexts`).
4. The server's own AuditEvents are open where all is that they speak of. What others did with shared resources stays closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from bulkhead.access import rules
from bulkhead.access.audit_fence import audit_fence
from bulkhead.access.caller import Caller
from bulkhead.access.claims import NOBODY
from bulkhead.access.contexts import Contexts, pay_for_a_context
from bulkhead.access.rules import CREATE, DELETE, READ, SEARCH, UPDATE, Verdict
from bulkhead.access.scopes import Scope
from bulkhead.access.shared_types import is_shared, shared_types
from bulkhead.compartments import membership, patient_links
from bulkhead.facts.audit_names import AUDIT_EVENT, is_trail
from bulkhead.facts.security_context import BINARY
from bulkhead.settings import SHARED_TYPES
from bulkhead.store.keys import NO_ACCOUNT
from bulkhead.store.version import FOLLOWING, ListedFence, OpenFence

if TYPE_CHECKING:
    from bulkhead.store import ReadStore
    from bulkhead.store.version import Fence, Version

OF_THE_SERVER = frozenset({"CompartmentDefinition"})
"""Types that say how the server works: written by callers who are not fenced."""
UNLISTED = OF_THE_SERVER
"""Types of which no listing holds all that a fenced caller may see: R4's own CompartmentDefinitions are in no index."""
FOLLOWERS = frozenset({BINARY, AUDIT_EVENT})
"""Types of which a caller sees what follows what it sees: a Binary its `securityContext`, an event of the server what it speaks of."""

Judge = Callable[["Version"], Verdict]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a caller may do with the resources that a request comes upon."""

    verdict: Judge
    prepare: Callable[[Iterable[Version]], None]
    """Told of resources before they are judged, reads what judging them takes in one request."""


def decide(store: ReadStore, caller: Caller, right: str) -> Decision:
    """How `right` is decided for a caller, resource by resource. Nothing is read where the head and its body tell."""
    if not caller.fenced:
        return Decision(_within_scopes(caller, right, lambda candidate: rules.UNFENCED), _nothing)
    shared = shared_types(store.settings.shared_types)
    if right not in (READ, SEARCH):
        own = _own(store, caller)

        def changeable(candidate: Version) -> Verdict:
            found = own(candidate)
            return rules.SHARED_READ_ONLY if not found.opens and is_shared(candidate.head, shared) else found

        return Decision(_within_scopes(caller, right, changeable), _nothing)
    return _decide_reading(store, caller, right, shared=shared)


def _decide_reading(store: ReadStore, caller: Caller, right: str, *, shared: frozenset[str]) -> Decision:
    direct = _direct(store, caller)

    def unfollowed(candidate: Version) -> Verdict:
        found = direct(candidate)
        return rules.SHARED_TYPE if not found.opens and is_shared(candidate.head, shared) else found

    readable = _within_scopes(caller, READ, unfollowed)
    contexts = Contexts(store, lambda candidate: readable(candidate).opens)
    of_subjects = Contexts(store, lambda candidate: direct(candidate).opens)
    spoken_of = audit_fence(
        store, lambda one: direct(one).opens or (one.head.type == BINARY and of_subjects.is_open(one))
    )

    def inside(candidate: Version) -> Verdict:
        if is_trail(candidate.key):
            return rules.AUDIT_ENTITIES if spoken_of(candidate) else rules.HIDDEN_ENTITIES
        found = unfollowed(candidate)
        if not found.opens and candidate.head.type == BINARY and contexts.is_open(candidate):
            return rules.SECURITY_CONTEXT
        return found

    def prepare(candidates: Iterable[Version]) -> None:
        contexts.prepare(one for one in candidates if one.head.type == BINARY and not direct(one).opens)

    return Decision(_within_scopes(caller, right, inside), prepare)


def _nothing(candidates: Iterable[Version]) -> None:
    """Prepares nothing: all that decides is in the head and its body."""


def _within_scopes(caller: Caller, right: str, inside: Judge) -> Judge:
    """What is `inside`, as far as the caller's scopes give `right` on it."""
    known: dict[str, Verdict | tuple[Scope, ...]] = {}

    def verdict(candidate: Version) -> Verdict:
        resource_type = candidate.head.type
        given = known.get(resource_type)
        if given is None:
            given = known[resource_type] = of_type(caller, right, resource_type)
        if isinstance(given, Verdict):
            return given
        found = inside(candidate)
        if given and found.opens and not any(scope.covers(candidate) for scope in given):
            return rules.SCOPE_QUERY
        return found

    return verdict


def of_type(caller: Caller, right: str, resource_type: str) -> Verdict | tuple[Scope, ...]:
    """The Verdict that closes a whole type to a caller; else the scopes that give `right` on some of it, () where on all of it."""
    if resource_type in OF_THE_SERVER and right in (CREATE, UPDATE, DELETE) and caller.fenced:
        return rules.GOVERNS_THE_SERVER
    found = tuple(scope for scope in caller.scopes if scope.gives(right, resource_type))
    if not found:
        return rules.NO_SCOPE
    return found if all(scope.query for scope in found) else ()


# What a claim fences a caller to


def _own(store: ReadStore, caller: Caller) -> Judge:
    """What is within the caller's claims by itself: nothing shared or followed."""
    direct = _direct(store, caller)
    spoken_of = audit_fence(store, lambda candidate: direct(candidate).opens)

    def verdict(candidate: Version) -> Verdict:
        if is_trail(candidate.key):
            return rules.AUDIT_ENTITIES if spoken_of(candidate) else rules.HIDDEN_ENTITIES
        return direct(candidate)

    return verdict


def _direct(store: ReadStore, caller: Caller) -> Judge:
    """What carries an account of the caller's, and is in its Patient's compartment, whichever of these its claims ask for."""
    in_accounts, in_chart = accounts_fence(caller), chart_fence(store, caller)
    if caller.patient is None:
        return lambda candidate: rules.ACCOUNT if in_accounts(candidate) else rules.NO_ACCOUNT
    if caller.accounts is None:
        return lambda candidate: rules.PATIENT_COMPARTMENT if in_chart(candidate) else rules.OUTSIDE_COMPARTMENT

    def both(candidate: Version) -> Verdict:
        if not in_accounts(candidate):
            return rules.NO_ACCOUNT
        return rules.ACCOUNT_AND_COMPARTMENT if in_chart(candidate) else rules.OUTSIDE_COMPARTMENT

    return both


def accounts_fence(caller: Caller) -> Fence:
    """Whether a resource carries one of the accounts that the caller is fenced to, if it is to any."""
    if caller.accounts is None:
        return lambda candidate: True
    allowed = frozenset(caller.accounts)
    return lambda candidate: not allowed.isdisjoint(candidate.head.accounts)


def chart_fence(store: ReadStore, caller: Caller) -> Fence:
    """Whether a resource is in the compartment of the Patient that the caller is fenced to, if it is to one.

    Or in that of a Patient that this one replaces and that says so itself.
    """
    if caller.patient is None:
        return lambda candidate: True
    if caller.patient == NOBODY:
        return lambda candidate: False
    patient, known = f"Patient/{caller.patient}", membership.in_force(store)
    its = known["Patient"]

    @cache
    def others() -> frozenset[str]:
        return _replaced(store, patient)

    def is_inside(candidate: Version) -> bool:
        if candidate.key == patient:
            return True
        if candidate.head.deleted:
            # It points at nothing any more: see `visibility.was_within`.
            return False
        if membership.is_member(its, patient, candidate):
            return True
        # Asked for only now: hardly any search comes upon what is another Patient's.
        found = membership.memberships(candidate, known)
        return any(key.startswith("Patient/") and key in others() for key in found)

    return is_inside


def _replaced(store: ReadStore, patient: str) -> frozenset[str]:
    from bulkhead.store import once_a_request

    return once_a_request((_replaced, patient), lambda: patient_links.agreed(store, patient))


# Fences


def fence(store: ReadStore, caller: Caller, right: str) -> Fence:
    """Whether the caller has `right` on a resource: asked for every resource that a request comes upon."""
    decision = decide(store, caller, right)
    verdict = decision.verdict

    def sees(candidate: Version) -> bool:
        return verdict(candidate).opens

    if not caller.fenced:
        return OpenFence(sees, lambda resource_type: of_type(caller, right, resource_type) == ())
    return ListedFence(sees, lambda resource_type: listed_under(store, caller, resource_type), decision.prepare)


def scoped(store: ReadStore, caller: Caller, right: str) -> Fence:
    """Whether the caller's scopes give `right` on a resource, wherever it is."""
    return fence(store, replace(caller, accounts=None, patient=None), right)


def claims_fence(store: ReadStore, caller: Caller) -> Fence:
    """Whether a resource is itself within what the caller is fenced to, whatever its scopes give: nothing shared or followed is."""
    if not caller.fenced:
        return lambda candidate: True
    own = _own(store, caller)
    return lambda candidate: own(candidate).opens


def pay_for_a_look(store: ReadStore, caller: Caller, key: str) -> None:
    """Read what a look at a hidden resource may have to read: so that one that is not there takes as long."""
    if caller.patient:
        _replaced(store, f"Patient/{caller.patient}")
    if caller.fenced:
        pay_for_a_context(store, key)


def listed_under(store: ReadStore, caller: Caller, resource_type: str | None) -> tuple[tuple[str, str], ...] | None:
    """Listings that hold all that the caller may see of a type, as (`_account` or `_compartment`, its value); None where nobody knows.

    With FOLLOWING before the name: what follows what is in the listing (FOLLOWERS). Without a type: of all types that have such listings.
    They lead a search that would read what others have otherwise.
    """
    shared = shared_types(store.settings.shared_types)
    # Types that are shared by choice are in no listing; nor is what follows them.
    unlisted = shared.difference(SHARED_TYPES)
    if not caller.fenced or resource_type in UNLISTED | unlisted or (resource_type == BINARY and unlisted):
        return None
    own = _listed_for(store, caller)
    common = (("_account", NO_ACCOUNT),) if shared else ()
    if resource_type == BINARY:
        return own + tuple((f"{FOLLOWING}{code}", value) for code, value in own + common)
    if resource_type == AUDIT_EVENT:
        # What is shared is not the caller's: what others did with it stays closed.
        return own + tuple((f"{FOLLOWING}{code}", value) for code, value in own)
    return own + common if resource_type is None or resource_type in shared else own


def _listed_for(store: ReadStore, caller: Caller) -> tuple[tuple[str, str], ...]:
    own = charts(store, caller)
    if own is not None:
        return tuple(("_compartment", chart) for chart in own)
    return tuple(("_account", account) for account in caller.accounts or ())


def is_open_otherwise(store: ReadStore, resource_type: str) -> bool:
    """Whether resources of a type may be open to a fenced caller for other reasons than their own accounts and compartments."""
    return resource_type in UNLISTED | FOLLOWERS or resource_type in shared_types(store.settings.shared_types)


def charts(store: ReadStore, caller: Caller) -> tuple[str, ...] | None:
    """The Patients whose compartments hold all that is in a patient's fence by itself; None for who is not fenced to a Patient."""
    if caller.patient is None:
        return None
    patient = f"Patient/{caller.patient}"
    return () if caller.patient == NOBODY else (patient, *sorted(_replaced(store, patient)))
