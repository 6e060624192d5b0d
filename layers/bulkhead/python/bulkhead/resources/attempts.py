"""What an attempt to change one resource consists of, for the interactions by id and by condition: again where another writer was faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.errors import ClaimTaken, Conflict, VersionConflict
from bulkhead.resources.commit import commit
from bulkhead.resources.preparation import prepare_update
from bulkhead.store import Head, one_request
from bulkhead.store.throttling import pause

if TYPE_CHECKING:
    from bulkhead.resources.patches import Patch
    from bulkhead.session import Session

_ATTEMPTS = 12
T = TypeVar("T")


def retried(attempt: Callable[[], T]) -> T:
    """Calls `attempt`, again where another writer was faster: each call reads anew, so an `If-Match` fails by itself."""
    for number in range(_ATTEMPTS):
        try:
            # Another caller's large transaction may have been decided since the last attempt.
            with one_request():
                return attempt()
        except (VersionConflict, ClaimTaken):
            pause(number)
    raise Conflict("other requests keep changing this resource: send the request again", "id")


def commit_update(session: Session, resource: dict[str, Any], base: Head, *, partial: bool) -> Head:
    """Makes a checked resource the next version of `base`; returns `base` if nothing would change."""
    write = prepare_update(session, resource, base, partial=partial)
    return commit(session, [write])[0] if write else base


def commit_patch(session: Session, change: Patch, base: Head, *, url: str | None) -> Head:
    """Commits the patched resource as the next version of `base`; `url` is that of this server."""
    from bulkhead.resources.patches import patched

    after = patched(session.store, base, change, url=url, conditional_references=False)
    return commit_update(session, after, base, partial=True)
