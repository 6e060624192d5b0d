"""The order of a background job: how to process its bundle. The job's item keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bulkhead.access.policy import Caller


@dataclass(frozen=True, slots=True)
class Order:
    """The caller, the base URL, the wanted form of response, and the name in S3 of the waiting `body`. It never has the caller's token."""

    caller: Caller
    base: str
    returns: str
    """`Prefer: return=`."""
    extended: bool
    """Whether resources show `meta.accounts` and `meta.compartment`."""
    body: str = ""


def text(order: Order) -> str:
    """The order as the job's item keeps it."""
    return msgspec.json.encode(order).decode()


def order(kept: str) -> Order:
    """The order that `text` encoded."""
    return msgspec.json.decode(kept, type=Order)
