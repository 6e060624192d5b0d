"""The commit boundary: every change of resources that a request makes goes through here, and takes along what belongs to it.

Only propagation writes elsewhere (`store.commit_each`): it changes what resources inherit, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead.access import Caller
from bulkhead.resources.preparation import inherit
from bulkhead.store import Claim, Head, Store, Write


def commit(store: Store, who: Caller, writes: Sequence[Write], claims: Sequence[Claim] = ()) -> list[Head]:
    """Make all `writes` and `claims` true for the caller `who`, or none. Returns the new heads, in the order of `writes`.

    VersionConflict, ClaimTaken, Conflict, Unavailable as `Store.commit`.
    """
    return store.commit(writes, claims, inherit(store))
