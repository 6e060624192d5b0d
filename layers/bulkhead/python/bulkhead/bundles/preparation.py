"""Turns changes into writes and claims: answers conditions, settles identities, reads bases, resolves links. It writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.visibility import base_of_update, not_known, require_preconditions, require_visible
from bulkhead.bundles import security_contexts
from bulkhead.bundles.changes import Change, faultless, for_each
from bulkhead.bundles.conditional_references import resolve_conditional
from bulkhead.bundles.context import Context
from bulkhead.bundles.criteria import settle_criteria
from bulkhead.bundles.entries import Interaction
from bulkhead.bundles.full_urls import FullUrls
from bulkhead.bundles.identities import identify, refuse_overlaps
from bulkhead.bundles.links import Kind, find_links
from bulkhead.errors import Conflict, Gone, raise_together
from bulkhead.fhir import references
from bulkhead.resources import conditions
from bulkhead.resources.conditions import Condition
from bulkhead.resources.patches import patched
from bulkhead.resources.written import Written
from bulkhead.store.preconditions import Preconditions
from bulkhead.store.takeover import fresh_id

if TYPE_CHECKING:
    from bulkhead.store import Head

RIGHTS = {
    Interaction.CREATE: policy.CREATE,
    Interaction.UPDATE: policy.UPDATE,
    Interaction.PATCH: policy.UPDATE,
    Interaction.DELETE: policy.DELETE,
}


@dataclass(slots=True)
class Owners:
    """The owners of claimed conditions, as earlier attempts found them."""

    live: dict[Condition, Head] = field(default_factory=dict)
    """Resources that meet a condition although the index does not have them yet."""
    stale: dict[Condition, str] = field(default_factory=dict)
    """Keys of resources that are gone, or do not meet the condition any more: the new claim replaces theirs."""


@dataclass(slots=True)
class Attempt:
    """One attempt to make all changes. `together`: as one transaction; otherwise each change is independent."""

    changes: Sequence[Change]
    context: Context
    together: bool
    owners: Owners
    seed: str | None
    full_urls: FullUrls = field(init=False)

    @property
    def faultless(self) -> list[Change]:
        return faultless(self.changes)

    def find(self, wanted: Iterable[Condition]) -> dict[Condition, list[Head]]:
        """Live resources by condition: enough that some remain where this transaction deletes or changes the others."""
        moved = (
            sum(change.entry.interaction is not Interaction.CREATE for change in self.changes) if self.together else 0
        )
        return conditions.find(self.context.store, wanted, self.context.found_by, limit=2 + moved)

    def written(self, resources: Mapping[str, dict[str, Any]], gone: Collection[str]) -> Written:
        """The view of criteria on `resources`, by key as they will be, and on the deletion of the keys in `gone`."""
        return Written(self.context.store, self.context.found_by, resources, gone=gone)

    def find_owned(self, wanted: Iterable[Condition]) -> dict[Condition, list[Head]]:
        """`find`, with the owners of claims that the index does not have yet."""
        found = self.find(wanted)
        for condition, head in self.owners.live.items():
            if condition in found and head.key not in [other.key for other in found[condition]]:
                found[condition].append(head)
        return found


def prepare(
    changes: Sequence[Change], context: Context, owners: Owners, *, together: bool, seed: str | None = None
) -> None:
    """Fills in the changes up to their `write` and `claim`, from the current state of the store. Fresh ids derive from the `seed`, if any.

    In a transaction the first step with faults fails the whole: it raises the faults of all its entries. Otherwise a fault
    stays with its change.
    """
    attempt = Attempt(changes, context, together, owners, seed)
    for step in _STEPS:
        step(attempt)
        if together:
            raise_together(change.fault for change in changes)


def _reset(attempt: Attempt) -> None:
    for change in attempt.changes:
        # The sweeper removes later what a failed attempt staged under its ids, so no other attempt may use those ids; one that has the
        # same seed has taken them over.
        change.fresh_id = fresh_id(attempt.seed, change.entry.index) if attempt.seed else str(uuid4())
        change.key, change.base, change.claim, change.write, change.head = "", None, None, None, None
        change.exists = change.new = change.taken = change.unchanged = False


def _identify(attempt: Attempt) -> None:
    for_each(attempt.changes, lambda change: _may_search(change, attempt.context))
    if attempt.together:
        settle_criteria(attempt.faultless, attempt.find_owned, attempt.context)
    found = attempt.find_owned(change.condition for change in attempt.faultless if change.condition)
    identify(attempt.changes, found, together=attempt.together, sees=attempt.written)


def _may_search(change: Change, context: Context) -> None:
    """Requires the right to search: criteria that are not searched would match nothing, and make a second resource."""
    if change.condition:
        policy.require(context.caller, policy.SEARCH, change.condition.type)


def _read_bases(attempt: Attempt) -> None:
    """Reads the current head of each key, and checks `ifMatch` and `ifNoneMatch` against it."""
    wanted = [change for change in attempt.faultless if change.key and not change.base and not _is_fresh(change)]
    bases = attempt.context.store.read_many(change.key for change in wanted)
    for change in wanted:
        change.base = bases.get(change.key)
    for_each(attempt.changes, lambda change: _check_base(change, attempt.context))


def _is_fresh(change: Change) -> bool:
    return change.key.endswith(change.fresh_id)


def _check_base(change: Change, context: Context) -> None:
    """The checks that a single request gets: rights, visibility, ifMatch, ifNoneMatch."""
    entry, store, caller = change.entry, context.store, context.caller
    if entry.interaction is Interaction.CREATE:
        policy.require(caller, policy.CREATE, entry.type)
        return
    right = RIGHTS[entry.interaction]
    policy.require(caller, right, entry.type)
    if entry.interaction is Interaction.UPDATE:
        _check_update(change, context)
        return
    if entry.interaction is Interaction.PATCH:
        policy.require(caller, policy.READ, entry.type)
    base = change.base
    if base is None or base.deleted:
        _check_absent(change, context)
        return
    if entry.interaction is Interaction.PATCH:
        require_visible(store, caller, base, right=policy.READ)
    Preconditions(entry.if_match, entry.if_none_match).check(require_visible(store, caller, base, right=right))


def _check_update(change: Change, context: Context) -> None:
    entry, caller = change.entry, context.caller
    if change.base and change.condition and not change.new:
        require_visible(context.store, caller, change.base, right=policy.UPDATE)
    elif not _is_fresh(change):
        change.base, change.taken = base_of_update(context.store, caller, change.base)
    base = change.base
    there = base is not None and not base.deleted
    if not there:
        policy.require(caller, policy.CREATE, entry.type)
    require_preconditions(
        context.store,
        caller,
        policy.UPDATE,
        key=change.key,
        base=base,
        wanted=Preconditions(entry.if_match, entry.if_none_match),
    )
    if change.new and there:
        raise Conflict("the id belongs to a resource that does not match the criteria", f"{entry.place}.resource.id")


def _check_absent(change: Change, context: Context) -> None:
    """Checks a change whose resource does not exist; a conditional delete without a match has nothing to delete."""
    entry, base, caller = change.entry, change.base, context.caller
    right = policy.READ if entry.interaction is Interaction.PATCH else policy.DELETE
    if change.key and not policy.sees_all(caller, right, entry.type):
        raise not_known(context.store, caller, change.key)
    Preconditions(entry.if_match, entry.if_none_match).check(base)
    if entry.interaction is Interaction.PATCH:
        raise Gone(f"{change.key} was deleted", "id") if base else not_known(context.store, caller, change.key)


def _patch_all(attempt: Attempt) -> None:
    for_each(attempt.changes, lambda change: _patch(change, attempt.context))


def _patch(change: Change, context: Context) -> None:
    """Sets the patched base as the resource; its links may name other entries, like those of any resource."""
    if change.patch and change.base:
        change.resource = patched(
            context.store, change.base, change.patch, url=context.base, conditional_references=True
        )
        change.links = find_links(change.resource)


def _resolve_links(attempt: Attempt) -> None:
    """Resolves references in the order of the specification: to entries of the bundle, then conditional ones, which see the writes."""
    attempt.full_urls = FullUrls(attempt.faultless if attempt.together else (), attempt.context.base)

    def resolve(change: Change) -> None:
        resolver = attempt.full_urls.resolver(change)
        for link in change.links:
            link.set(resolver)
            if link.kind is Kind.REFERENCE:
                link.container[link.name] = references.relative(link.container[link.name], f"{attempt.context.base}/")

    for_each(attempt.changes, resolve)
    resolve_conditional(
        attempt.faultless, attempt.context, attempt.find, key_of=attempt.full_urls.key if attempt.together else None
    )


def _give_contexts(attempt: Attempt) -> None:
    """What a transaction's new Binaries follow where they do not say: the one resource of the transaction that links to them."""
    if attempt.together and attempt.context.store.settings.binary_context == "on":
        security_contexts.give(attempt.changes, attempt.context.base)


def _write_all(attempt: Attempt) -> None:
    for_each(attempt.changes, lambda change: _write(change, attempt.context))


def _write(change: Change, context: Context) -> None:
    """Sets the write of one change, by the code that serves single requests. None where nothing changes."""
    resource, base, store = change.resource, change.base, context.store
    if change.entry.interaction is Interaction.DELETE:
        if base and not base.deleted:
            change.write = resources.prepare_delete(store, base)
        return
    if change.exists or resource is None:
        return
    if base is None:
        fresh = change.entry.interaction is Interaction.CREATE
        change.write = resources.prepare_create(context.session, resource, change.key, fresh=fresh)
    else:
        change.write = resources.prepare_update(
            context.session, resource, base, partial=change.entry.interaction is Interaction.PATCH
        )
        change.unchanged = change.write is None


def _name_versions_again(attempt: Attempt) -> None:
    """Corrects links to the version of an update without effect: it makes no version, so they must name the current one."""
    if any(change.unchanged and change.key in attempt.full_urls.versioned for change in attempt.changes):
        _resolve_links(attempt)
        _write_all(attempt)


def _refuse_overlaps(attempt: Attempt) -> None:
    refuse_overlaps(attempt.changes, together=attempt.together, sees=attempt.written)


def _claim(attempt: Attempt) -> None:
    for change in attempt.faultless:
        if change.condition and change.new:
            stale = attempt.owners.stale.get(change.condition)
            change.claim = conditions.claim(attempt.context.session, change.condition, change.key, stale=stale)


_STEPS = (
    _reset,
    _identify,
    _read_bases,
    _patch_all,
    _resolve_links,
    _give_contexts,
    _write_all,
    _name_versions_again,
    _refuse_overlaps,
    _claim,
)
