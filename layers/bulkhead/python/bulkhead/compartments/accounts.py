"""Which accounts a resource has: its own (explicit), and those that the targets of its references hand to it (inherited).

What a target passes on is its own accounts only, never those that it inherits itself: two patients that link to each other
would otherwise hand a removed account back and forth for ever. So the accounts of a resource follow from the own accounts of
itself and of its targets, in whatever order they were set. A deleted target passes on what its tombstone has.

A Patient hands its accounts to whatever names it. Any other target hands them on while it propagates, each account within the
fence of those who asked for that: a caller who is fenced to A and D and sets A with `propagate` reaches only what carries A or D
from elsewhere, which is of its own or through a Patient. `Head.within` keeps these fences, by account. One that is not listed
reaches every member (an unfenced caller asked for it), one that is bound to () reaches none. Semantics, section 1.
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
"""By account: what a member has to carry one of, from elsewhere, to be handed it. See `Head.within`."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Whether a target propagates, and within which bounds."""

    propagate: bool
    within: Bounds


def is_patient(key: str) -> bool:
    """Whether `key` is that of a Patient: the one kind of target that hands on its accounts always, and to every member."""
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
    return carried(holder.grants(OWN), holder.given)


def passed_on(target: Head | Write | None, carries: Mapping[str, str]) -> Grants:
    """What a member that `carries` some accounts from elsewhere (see `carried`) inherits from `target`.

    Of a Patient all of its own accounts, of others while they propagate, each within its bounds. It ends when the target's does; what
    is handed on for the sake of another account, no later than that.
    """
    if target is None:
        return {}
    own = target.grants(OWN)
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
    """Whether, and within which bounds, `base` hands on its accounts once they are `explicit`.

    `propagate` is what a caller asks for who is fenced to `fence` (None: it is not); None where it sets accounts and does not say. A
    fenced caller decides for its own accounts: those of others are handed on as before. The same request again changes nothing.
    """
    asked = base.propagate if propagate is None else propagate
    if is_patient(base.key):
        return Flag(asked, {})
    if fence is None:
        kept = base.within if asked and propagate is None else {}
        return Flag(asked, {account: bound for account, bound in kept.items() if account in explicit})
    bounds = {account: _bound(base, account, fence, propagate) for account in explicit}
    flag = asked or any(bound != () for bound in bounds.values())
    return Flag(flag, {account: bound for account, bound in bounds.items() if flag and bound is not None})


def _bound(base: Head, account: str, fence: Sequence[str], propagate: bool | None) -> tuple[str, ...] | None:
    """The bound of one account of `base`, as a caller who is fenced to `fence` leaves it; None: it reaches every member."""
    was_handed_on = base.propagate and account in base.explicit
    former = base.within.get(account) if was_handed_on else ()
    if account not in fence or (propagate is None and was_handed_on):
        return former
    if propagate is None or propagate:
        return None if former is None else tuple(sorted({*former, *fence}))
    return ()


def ends_of_own(
    base: Head | None, explicit: Iterable[str], asked: Collection[str], ends: Mapping[str, str]
) -> dict[str, str]:
    """The ends of the own accounts `explicit`: of those that are `asked` for the given `ends`, of the others what they have on `base`."""
    former = base.grants(OWN) if base else {}
    found = {name: ends.get(name, NEVER) if name in asked else former.get(name, NEVER) for name in explicit}
    return {account: end for account, end in found.items() if end != NEVER}


def own(given: Iterable[str], base: Head, within: Sequence[str] | None) -> tuple[str, ...]:
    """The explicit accounts that a client's `meta.accounts` asks for, each once.

    A client that reads a resource and sends it back echoes what the resource inherits: that does not become its own. Nor is it a
    request if one who is fenced `within` some accounts sends back those of the others.
    """
    echoed = set(base.accounts) - set(base.explicit)
    if within is not None:
        echoed |= set(base.accounts) - set(within)
    return tuple(account for account in dict.fromkeys(given) if account not in echoed)


def replaced(standing: Iterable[str], asked: Iterable[str], within: Sequence[str] | None) -> tuple[str, ...]:
    """`standing` with those accounts that are `within` replaced by the `asked` ones; within None: all of them.

    The others stay in their places, the asked ones take the places that become free, and what is left of them comes last. Whoever
    asks for what stands already, changes nothing.
    """
    fresh = iter(dict.fromkeys(asked))
    if within is None:
        return tuple(fresh)
    kept = (next(fresh, None) if account in within else account for account in standing)
    return (*(account for account in kept if account is not None), *fresh)
