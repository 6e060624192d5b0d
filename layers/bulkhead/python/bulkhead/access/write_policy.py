"""Restrictions on the changes of a restricted caller, checked before anything is staged. Semantics, section 3.

A resource that it makes or changes stays within its fence and its scopes, and names no Patient that it may not see: through
the Patient compartment, a resource gets that Patient's accounts and a place in that Patient's chart. Nor does the caller take a
resource away from a Patient that it may not see, or a Binary from what it follows, because others may find it only there. To make
a resource anew after its deletion is a change of the deleted resource, in all of this.
For callers that see everything of their types, the check reads nothing; for others, only the Patients and what Binaries follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from bulkhead.access import policy
from bulkhead.access.policy import Caller
from bulkhead.access.shared_types import is_shared, shared_types
from bulkhead.access.visibility import is_named_by_others, last_living, not_known, was_visible, was_within
from bulkhead.compartments import membership, private
from bulkhead.errors import BulkheadError, Forbidden, Issue, Unprocessable, raise_together
from bulkhead.facts.security_context import BINARY, followed
from bulkhead.fhir import dates, references
from bulkhead.store import Inherit, ReadStore, Write
from bulkhead.store.version import Fence, Version, prepare

Place = Callable[[int, BulkheadError], BulkheadError]
"""(position of a write, its fault) -> the error at its place in the request."""
Faults = dict[int, BulkheadError]
"""By the position of the write."""

_PATIENT = "Patient/"
_CONTEXT = f"{BINARY}.securityContext.reference"


def check(
    store: ReadStore, caller: Caller, writes: Sequence[Write], *, taken: Collection[str], inherit: Inherit, place: Place
) -> None:
    """Raises a BulkheadError, with an issue per write at fault, where `caller` may not make these changes.

    Forbidden for a resource outside its fence or its scopes; Unprocessable for a Patient that it may not see, whether it
    exists or not. Last, NotFound for ids that the caller may not take: those that are `taken` (see `visibility.base_of_update`),
    those of deleted resources that it could not see, and those of compartments with hidden members.
    Every caller is held to one thing: the `securityContext` of a Binary names what it can see, else Unprocessable.
    """
    made = {n: write for n, write in enumerate(writes) if write.body is not None and write.new is not None}
    _raise(_unseen_contexts(store, caller, writes, made=made), place)
    if not caller.restricted:
        return
    former = {n: _former(store, caller, write) for n, write in made.items()} if caller.fenced else {}
    checks: tuple[Callable[[], Faults], ...] = (
        lambda: _outside_charts(store, caller, made),
        lambda: _outside_scopes(store, caller, made),
        lambda: _naming_others(store, caller, made, former=former),
        lambda: _taking_away(store, caller, made, former=former),
        lambda: _leaving_contexts(store, caller, made, former=former),
        lambda: _opening_or_closing(store, caller, made, former=former),
        lambda: _outside_accounts(store, caller, writes, made=made, inherit=inherit),
        lambda: _newly_shared(store, caller, writes, inherit=inherit),
        lambda: {
            n: not_known(store, caller, write.key)
            for n, write in made.items()
            if _is_taken(store, caller, write, taken=taken)
        },
    )
    for each in checks:
        _raise(each(), place)


def _raise(faults: Faults, place: Place) -> None:
    raise_together(place(n, faults[n]) for n in sorted(faults))


def _is_taken(store: ReadStore, caller: Caller, write: Write, *, taken: Collection[str]) -> bool:
    if write.key in taken:
        return True
    if write.base is None:
        return not write.fresh and is_named_by_others(store, caller, write.key)
    return write.base.deleted and not was_visible(store, caller, write.base)


def _former(store: ReadStore, caller: Caller, write: Write) -> Version | None:
    """The version that the write changes, if the caller may see it; for a deletion, the version before it. None if there is none."""
    if write.base is None:
        return None
    if write.base.deleted and not was_visible(store, caller, write.base):
        return None
    last = last_living(store, write.base)
    return store.version(last) if last else None


def _candidate(store: ReadStore, write: Write) -> Version:
    """The version that the write makes, before it is written."""
    return store.version(write.head(dates.now()))


def _outside_charts(store: ReadStore, caller: Caller, made: dict[int, Write]) -> Faults:
    inside = policy.chart_fence(store, caller)
    text = (
        "a token for one patient can create and change only resources that are, and stay, in that patient's compartment"
    )
    outside = {n for n, write in made.items() if caller.patient is not None and not inside(_candidate(store, write))}
    outside -= _following_into(store, inside, made) if outside else set()
    return {n: Forbidden(text, made[n].key.partition("/")[0]) for n in sorted(outside)}


def _following_into(store: ReadStore, inside: Fence, made: dict[int, Write]) -> set[int]:
    """New Binaries that follow what is, or is made, in the patient's compartment: a patient's app may add a document so."""
    new = {n: context for n, write in made.items() if write.base is None and (context := _context(write))}
    here = {write.key: _candidate(store, write) for write in made.values()}
    heads = store.read_many(sorted(set(new.values()) - here.keys())) if new else {}
    there = {key: store.version(head) for key, head in heads.items() if not head.deleted} | here
    return {n for n, context in new.items() if context in there and inside(there[context])}


def _context(write: Write) -> str | None:
    """What the Binary that a write makes follows, if it is one and follows anything of this server."""
    return followed(write.key, write.new.targets) if write.new else None


def _unseen_contexts(store: ReadStore, caller: Caller, writes: Sequence[Write], *, made: dict[int, Write]) -> Faults:
    """Binaries that newly follow what the caller cannot read: who sees a Binary would be decided by what its writer does not know.

    Nor may a fenced caller's follow what is shared: then every caller would read it.
    """
    named = {
        n: context
        for n, write in made.items()
        if (context := _context(write)) and (write.old is None or followed(write.key, write.old.targets) != context)
    }
    if not named:
        return {}
    ends = {write.key for write in writes if write.body is None}
    here = {write.key for write in made.values()}
    heads = store.read_many(sorted(set(named.values()) - here))
    candidates = [store.version(head) for head in heads.values() if not head.deleted]
    sees = policy.fence(store, caller, policy.READ)
    prepare(sees, candidates)
    known = (here | {one.key for one in candidates if sees(one)}) - ends
    text, place = "securityContext must name a resource that exists and that the token may read", _CONTEXT
    faults: Faults = {n: Unprocessable(text, place) for n, context in named.items() if context not in known}
    if caller.fenced and not faults:
        types = shared_types(store.settings.shared_types)
        shared = {one.key for one in candidates if is_shared(one.head, types)}
        text = "what follows a resource without accounts is shared with every caller, which a token that is fenced cannot do"
        faults = {n: Forbidden(text, place) for n, context in named.items() if context in shared}
    return faults


def _outside_scopes(store: ReadStore, caller: Caller, made: dict[int, Write]) -> Faults:
    if not any(scope.query for scope in caller.scopes):
        return {}
    scoped = {right: policy.scoped(store, caller, right) for right in (policy.CREATE, policy.UPDATE)}
    faults: Faults = {}
    for n, write in made.items():
        new = write.base is None or write.base.deleted
        right = policy.CREATE if new else policy.UPDATE
        if not scoped[right](_candidate(store, write)):
            text = "the resource does not meet the query of any scope of the token that would allow this change"
            faults[n] = Forbidden(text, write.key.partition("/")[0])
    return faults


Formers = Mapping[int, Version | None]


def _naming_others(store: ReadStore, caller: Caller, made: dict[int, Write], *, former: Formers) -> Faults:
    """Faults for Patients that a resource names newly, unless the caller may see them, or makes them in the same commit."""
    if not caller.fenced:
        return {}
    named = {
        n: _patients(store, membership.of_write(store, write)) - _former_patients(store, former[n])
        for n, write in made.items()
    }
    here = {write.key for write in made.values()}
    heads = store.read_many({patient for patients in named.values() for patient in patients} - here)
    known = here | {key for key, head in heads.items() if not head.deleted and was_within(store, caller, head)}
    unseen = {n: patients - known for n, patients in named.items() if patients - known}
    return {n: _no_such_patient(store.decode(made[n].head("")), patients) for n, patients in unseen.items()}


def _taking_away(store: ReadStore, caller: Caller, made: dict[int, Write], *, former: Formers) -> Faults:
    """Faults for resources that leave a Patient, or another target that gave them accounts, which the caller may not see."""
    if not caller.fenced:
        return {}
    left = {n: _left(store, write, former[n]) for n, write in made.items()}
    here = {write.key for write in made.values()}
    heads = store.read_many({root for roots in left.values() for root in roots} - here)
    known = here | {key for key, head in heads.items() if was_within(store, caller, head)}
    text = "the resource belongs to a Patient or another target that the token does not reach: this change cannot remove it from there"
    return {n: Forbidden(text, made[n].key.partition("/")[0]) for n, roots in left.items() if roots - known}


def _leaving_contexts(store: ReadStore, caller: Caller, made: dict[int, Write], *, former: Formers) -> Faults:
    """Faults for Binaries that stop following what the caller may not read: others may see them only through it."""
    if not caller.fenced:
        return {}
    left = {
        n: context
        for n, write in made.items()
        if (before := former[n]) and (context := followed(write.key, before.targets)) and context != _context(write)
    }
    if not left:
        return {}
    here = {write.key for write in made.values()}
    heads = store.read_many(set(left.values()) - here)
    reads = policy.fence(store, caller, policy.READ)
    known = here | {
        key
        for key, head in heads.items()
        if was_within(store, caller, head) or (not head.deleted and reads(store.version(head)))
    }
    text = (
        "the Binary follows a resource that the token may not read: this change cannot make it follow another, or none"
    )
    return {n: Forbidden(text, f"{BINARY}.securityContext") for n, context in left.items() if context not in known}


def _opening_or_closing(store: ReadStore, caller: Caller, made: dict[int, Write], *, former: Formers) -> Faults:
    """Resources that a label makes private, or its absence not private any more, though the caller may not seal them."""
    setting = store.settings.private
    if not caller.fenced or not setting:
        return {}
    faults: Faults = {}
    for n, write in made.items():
        before, resource_type = former[n], write.key.partition("/")[0]
        if before is None or write.base is None or write.new is None or policy.may_seal(caller, write.base):
            continue
        if private.is_private(setting, before.body) != private.is_private_by_facts(setting, resource_type, write.new):
            text = (
                "a label that makes a resource private is added and taken away by unfenced callers, and by those with "
                "accounts.write within whose own accounts the resource was created"
            )
            faults[n] = Forbidden(text, f"{resource_type}.meta.security")
    return faults


def _left(store: ReadStore, write: Write, former: Version | None) -> set[str]:
    """The Patients from whose compartments the write removes a resource, and other targets that gave it accounts and that it leaves."""
    if former is None or write.new is None:
        return set()
    kept = set(membership.memberships(membership.of_write(store, write), membership.in_force(store)))
    left = (_former_patients(store, former) | set(former.head.inherited)) - kept
    # Not targets that it left because a definition changed: no write of this caller removes it from them.
    return {root for root in left if root != write.key and root in former.named}


def _former_patients(store: ReadStore, former: Version | None) -> set[str]:
    return _patients(store, former) if former else set()


def _patients(store: ReadStore, version: Version) -> set[str]:
    """The Patients whose compartments contain a resource."""
    found = membership.memberships(version, membership.in_force(store))
    return {root for root in found if root.startswith(_PATIENT) and root != version.key}


def _no_such_patient(resource: dict[str, Any], unseen: Collection[str]) -> Unprocessable:
    """The fault of a resource that names Patients which the caller does not see, with an issue at each place."""
    found = ((path, references.local(each.get("reference", ""))) for path, each in references.walk(resource))
    places = [path for path, key in found if key in unseen] or [resource["resourceType"]]
    text = "there is no such Patient"
    return Unprocessable(text, issues=[Issue(Unprocessable.code, text, path) for path in places])


def _outside_accounts(
    store: ReadStore, caller: Caller, writes: Sequence[Write], *, made: dict[int, Write], inherit: Inherit
) -> Faults:
    if caller.accounts is None:
        return {}
    allowed = frozenset(caller.accounts)
    if all(not allowed.isdisjoint(write.explicit) for write in made.values()):
        return {}
    # Inherited accounts may keep a resource inside. These are what the commit will see, unless another writer changes them in between.
    inherit(writes, store.read_many)
    text = "the resource would carry none of the accounts in the token's claim accounts"
    outside = (n for n, write in made.items() if allowed.isdisjoint(write.head("").accounts))
    return {n: Forbidden(text, made[n].key.partition("/")[0]) for n in outside}


def _newly_shared(store: ReadStore, caller: Caller, writes: Sequence[Write], *, inherit: Inherit) -> Faults:
    """Resources of shared types that a fenced caller would leave without any account: every caller would read them from then on."""
    shared = shared_types(store.settings.shared_types)
    asked = {
        n: write for n, write in enumerate(writes) if write.body is not None and write.key.partition("/")[0] in shared
    }
    if not caller.fenced or not asked or all(write.explicit for write in asked.values()):
        return {}
    inherit(writes, store.read_many)
    text = "without an account the resource would be shared with every caller, which a token that is fenced cannot do"
    return {
        n: Forbidden(text, f"{write.key.partition('/')[0]}.meta.accounts")
        for n, write in asked.items()
        if is_shared(write.head(""), shared)
    }
