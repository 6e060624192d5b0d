"""The limits of one patch: the number of its operations, and the bytes that they copy."""

from __future__ import annotations

from typing import Any

MOST_OPERATIONS = 1000
"""The limit on operations in one patch: some operations cost the size of the resource."""

MOST_COPIED = 6 * 2**20
"""The limit on copied bytes, roughly the size of a request. The size of the document bounds what a patch adds in other ways."""


def size(value: Any, limit: int) -> int:
    """Roughly the bytes of a value as JSON; counting stops above `limit`."""
    counted = 0
    waiting = [value]
    while waiting and counted <= limit:
        item = waiting.pop()
        # A comma, and quotes or brackets, at least.
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
