"""How a bundle is to be processed later: what the request said, in the job's item."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bulkhead.access.policy import Caller


@dataclass(frozen=True, slots=True)
class Order:
    """For whom, under which base URL, what the client wants back, and where in S3 the `body` waits: never the token that it came with."""

    caller: Caller
    base: str
    returns: str
    """`Prefer: return=`."""
    extended: bool
    """Whether `meta.accounts` and `meta.compartment` are shown."""
    body: str = ""


def text(order: Order) -> str:
    """The order as the job's item keeps it."""
    return msgspec.json.encode(order).decode()


def order(kept: str) -> Order:
    """What `text` made."""
    return msgspec.json.decode(kept, type=Order)
