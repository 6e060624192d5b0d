"""What a resource of thousands of parts costs, counted instead of timed: how often a list is gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class CountedList(list[Any]):
    """A list that counts how often somebody begins to go through it, from either end."""

    passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        self.passes += 1
        return super().__reversed__()


def contained_and_named(count: int) -> tuple[dict[str, Any], CountedList]:
    """A List of `count` items that it contains, and the list of these."""
    inside = CountedList({"resourceType": "Basic", "id": f"c{n}", "code": {"text": "x"}} for n in range(count))
    items = [{"item": {"reference": f"#c{n}"}} for n in range(count)]
    return {"resourceType": "List", "status": "current", "mode": "working", "contained": inside, "entry": items}, inside


def counted(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[object]]:
    """A function that does the same, and a list that has an element for each call of it."""
    calls: list[object] = []

    def called(*given: Any) -> Any:
        calls.append(given)
        return function(*given)

    return called, calls
