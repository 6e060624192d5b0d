"""The accounts of a resource: its own (explicit), and those that the targets of its references pass on to it (inherited).

A target passes on only its own accounts, never those that it inherits: two patients that link to each other would otherwise
pass a removed account back and forth for ever. So the accounts of a resource follow from the own accounts of the resource and
of its targets, in whatever order they were set. A deleted target passes on the accounts that its deletion keeps.

A Patient passes its accounts on to every resource that names it. Any other target passes them on while it propagates, each account
within the fence of the callers who asked for that: if a caller who is fenced to A and D sets A with `propagate`, A reaches only
members that carry A or D from elsewhere: as their own account or through a Patient. `Head.within` keeps these bounds, by account. An
account that is not listed reaches every member (an unfenced caller asked for it); one bound to () reaches none. Semantics, section 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.store.heads import NEVER, OWN, Grants

if TYPE_CHECKING:
    from bulkhead.store.heads import Head, Write

PATIENT = "Patient"
UNTIL = "urn:bulkhead:until"
"""URL of the extension on a reference of `meta.accounts` that says when the account ends: `valueInstant`."""


Bounds = Mapping[str, tuple[str, ...]]
"""By account: the accounts of which a member must carry one, from elsewhere, to inherit it. See `Head.within`."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Whether a target propagates, and within which bounds."""

    propagate: bool
    within: Bounds


def is_patient(key: str) -> bool:
    """Whether `key` is that of a Patient: the only kind of target that passes on its accounts always, and to every member."""
    return key.startswith(f"{PATIENT}/")


def carried(own: Grants, given: Mapping[str, Grants]) -> Grants:
    """The accounts that a resource has of its own, or through a Patient: what other targets look for before they hand on theirs.

    With the latest end of each.
    """
    found = dict(own)
    for root, grants in given.items():
        for account, end in grants.items() if is_patient(root) else ():
            found[account] = max(end, found.get(account, ""))
    return found


def carried_by(holder: Head | Write) -> Grants:
    """What `carried` says of a resource as it stands, or as it is about to be written."""
    return carried(holder.granted_by(OWN), holder.inherited_grants)


def passed_on(target: Head | Write | None, carries: Mapping[str, str]) -> Grants:
    """The accounts that a member inherits from `target`, if it `carries` some from elsewhere (see `carried`).

    Of a Patient all of its own accounts, of others while they propagate, each within its bounds. It ends when the target's does; what
    is handed on for the sake of another account, no later than that.
    """
    if target is None:
        return {}
    own = target.granted_by(OWN)
    if is_patient(target.key):
        return own
    if not target.propagate:
        return {}
    passed: Grants = {}
    for account, end in own.items():
        bound = target.within.get(account)
        if bound is None:
            passed[account] = end
        elif reasons := [carries[reason] for reason in bound if reason in carries]:
            passed[account] = min(end, max(reasons))
    return passed


def flagged(base: Head, explicit: Sequence[str], *, fence: Sequence[str] | None, propagate: bool | None) -> Flag:
    """Whether, and within which bounds, `base` passes on its accounts once they are `explicit`.

    `propagate` is the wish of a caller with this `fence` (None: no fence); None if it sets accounts without saying. A fenced
    caller decides for its own accounts: those of others are passed on as before. The same request again changes nothing.
    """
    asked = base.propagate if propagate is None else propagate
    if is_patient(base.key):
        return Flag(asked, {})
    if fence is None:
        kept = base.within if asked and propagate is None else {}
        return Flag(asked, {account: bound for account, bound in kept.items() if account in explicit})
    bounds = {account: _bound(base, account, fence, propagate=propagate) for account in explicit}
    flag = asked or any(bound != () for bound in bounds.values())
    return Flag(flag, {account: bound for account, bound in bounds.items() if flag and bound is not None})


def _bound(base: Head, account: str, fence: Sequence[str], *, propagate: bool | None) -> tuple[str, ...] | None:
    """The bound of one account of `base` after a caller with this `fence` has set accounts; None: it reaches every member."""
    was_handed_on = base.propagate and account in base.explicit
    former = base.within.get(account) if was_handed_on else ()
    if account not in fence or (propagate is None and was_handed_on):
        return former
    if propagate is None or propagate:
        return None if former is None else tuple(sorted({*former, *fence}))
    return ()


def ends_of_own(
    base: Head | None, explicit: Iterable[str], asked: Collection[str], *, ends: Mapping[str, str]
) -> dict[str, str]:
    """The ends of the own accounts `explicit`: of those that are `asked` for the given `ends`, of the others what they have on `base`."""
    former = base.granted_by(OWN) if base else {}
    found = {name: ends.get(name, NEVER) if name in asked else former.get(name, NEVER) for name in explicit}
    return {account: end for account, end in found.items() if end != NEVER}


def own(given: Iterable[str], base: Head, within: Sequence[str] | None) -> tuple[str, ...]:
    """The explicit accounts in a client's `meta.accounts`, each once.

    A client that reads a resource and sends it back repeats inherited accounts: they do not become explicit. Nor is it a
    request if a caller who is fenced `within` some accounts sends back those of others.
    """
    echoed = set(base.accounts) - set(base.explicit)
    if within is not None:
        echoed |= set(base.accounts) - set(within)
    return tuple(account for account in dict.fromkeys(given) if account not in echoed)


def replaced(standing: Iterable[str], asked: Iterable[str], within: Sequence[str] | None) -> tuple[str, ...]:
    """`standing` with the accounts `within` replaced by the `asked` ones; within None: all of them.

    The others stay in their places; the asked ones fill the free places, and the rest of them come last. A request for the
    current accounts changes nothing.
    """
    fresh = iter(dict.fromkeys(asked))
    if within is None:
        return tuple(fresh)
    kept = (next(fresh, None) if account in within else account for account in standing)
    return (*(account for account in kept if account is not None), *fresh)
