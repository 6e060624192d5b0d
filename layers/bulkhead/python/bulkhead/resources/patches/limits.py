"""How much one patch may do: the number of its operations, and what they copy."""

from __future__ import annotations

from typing import Any

MOST_OPERATIONS = 1000
"""Of one patch: some cost the size of the resource."""

MOST_COPIED = 6 * 2**20
"""Bytes, about: no more than a request can bring. What a patch adds by itself is bounded by the size of its document."""


def size(value: Any, limit: int) -> int:
    """About how many bytes of JSON a value is; stops counting above `limit`."""
    counted = 0
    waiting = [value]
    while waiting and counted <= limit:
        item = waiting.pop()
        # At least its comma and its quotes or brackets.
        counted += 2
        if type(item) is dict:
            counted += sum(len(name) + 3 for name in item)
            waiting += item.values()
        elif type(item) is list:
            waiting += item
        elif type(item) is str:
            counted += len(item)
        else:
            counted += 4
    return counted
