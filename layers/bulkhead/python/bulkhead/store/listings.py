"""Under which accounts a version is listed, in entries of its own (`keys.account_entry`) and in the by-time key of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.fhir import dates
from bulkhead.settings import SHARED_TYPES
from bulkhead.store import keys

if TYPE_CHECKING:
    from bulkhead.store.heads import Head


def accounts(head: Head | None) -> tuple[str, ...]:
    """The accounts under which a version is listed; of a type that can be shared, NO_ACCOUNT where it carries none."""
    if head is None or head.deleted:
        return ()
    if head.open and head.type in SHARED_TYPES:
        return (keys.NO_ACCOUNT,)
    return head.accounts


def time_keys(head: Head, *, superseded: bool) -> dict[str, str]:
    """The by-time attributes of a version, which say of a head under which accounts it is listed.

    Where an account ends by the clock, no key can say so for good: it says that the head itself tells more.
    """
    if head.deleted or superseded:
        end = keys.DELETED if head.deleted else ""
    else:
        lasting = (account for account in accounts(head) if not head.ends or head.until(account) == dates.LAST)
        end = keys.carrying(lasting, is_all=not head.ends)
    return keys.time_keys(head.key, head.version, head.updated, end=end)
