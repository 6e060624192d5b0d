"""The limits of one patch: the number of its operations, the bytes that they copy, and the elements that their paths visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulkhead.errors import TooCostly

MOST_OPERATIONS = 1000
"""The limit on operations in one patch: some operations cost the size of the resource."""

MOST_COPIED = 6 * 2**20
"""The limit on copied bytes, roughly the size of a request. The size of the document bounds what a patch adds in other ways."""

MOST_VISITED = 1_000_000
"""The limit on elements that the FHIRPath of one patch visits; each costs some microseconds."""


@dataclass(slots=True)
class Visits:
    """Counts the elements that the paths of one patch visit: one path visits those of a long list once for every function in it."""

    number: int = 0

    def count(self, more: int) -> None:
        """TooCostly where the patch has visited too many."""
        self.number += more
        if self.number > MOST_VISITED:
            message = f"the paths of a patch may visit at most {MOST_VISITED} elements: use an index instead of where(), or fewer operations"
            raise TooCostly(message, "path")


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
