"""What rules hand to each other: faults, whose paths grow from the inside out, and the scope of one resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

STRUCTURE, VALUE, REQUIRED, CODE_INVALID, INVARIANT = "structure", "value", "required", "code-invalid", "invariant"
"""Codes of IssueType that validation uses."""

MAXIMUM_FAULTS = 1000
"""Where rules give up on one resource: a hostile body must not cost more than its own size."""


class Fault(NamedTuple):
    """One fault. `path` is FHIRPath relative to what the rule was given: "" itself, ".given[1]", "[0].system"."""

    code: str
    message: str
    path: str = ""

    def under(self, prefix: str) -> Fault:
        return Fault(self.code, self.message, prefix + self.path)


class Scope:
    """What the parts of one resource tell of it as a whole: ids of contained resources that they refer to.

    `conditional`: whether its references may have criteria (`Patient?identifier=...`), as those within a bundle may. `base`: the URL
    of this server with a slash at its end, below which an absolute reference is judged as the relative one that it stands for.
    """

    __slots__ = ("base", "conditional", "context", "fragments", "ids", "resource")

    def __init__(self, *, conditional: bool, base: str) -> None:
        self.base = base
        self.fragments: set[str] = set()
        self.ids: set[str] = set()
        """Ids of the elements of the resource that is being checked."""
        self.conditional = conditional
        self.resource: Any = None
        """The resource that is being checked: a contained one while its elements are."""
        self.context: Any = None
        """The object whose invariants are being checked."""


Faults = list[Fault]

Rule = Callable[[Any, Scope], Faults | None]
"""Checks one JSON value. None means valid, so that valid data costs no allocation.

Lists given back may be shared: callers copy, never change them."""
