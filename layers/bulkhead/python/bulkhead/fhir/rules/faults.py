"""The values that rules exchange: faults, whose paths grow from the inside out, and the scope of one resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

STRUCTURE, VALUE, REQUIRED, CODE_INVALID, INVARIANT = "structure", "value", "required", "code-invalid", "invariant"
"""Codes of IssueType that validation uses."""

MAXIMUM_FAULTS = 1000
"""The number of faults after which a check ends: a hostile body must not cost more than its own size."""


class Fault(NamedTuple):
    """One fault. `path` is FHIRPath relative to the value that the rule checks: "" for the value itself, ".given[1]", "[0].system"."""

    code: str
    message: str
    path: str = ""

    def under(self, prefix: str) -> Fault:
        return Fault(self.code, self.message, prefix + self.path)


class Scope:
    """Facts about a whole resource, collected from its parts: the ids of contained resources that they refer to.

    `conditional`: whether references may have criteria (`Patient?identifier=...`), as in a bundle. `base`: the URL of this
    server, with a slash at its end; the rules treat an absolute reference below it as a relative one.
    """

    __slots__ = ("_contained", "base", "conditional", "context", "fragments", "ids", "resource")

    def __init__(self, *, conditional: bool, base: str) -> None:
        self.base = base
        self.fragments: set[str] = set()
        self.ids: set[str] = set()
        """Ids of the elements of the resource that is being checked."""
        self.conditional = conditional
        self.resource: Any = None
        """The resource under check; inside a contained resource, that one."""
        self.context: Any = None
        """The object whose invariants are under check."""
        self._contained: tuple[Any, dict[str, Any]] = (None, {})

    def contained(self) -> Mapping[str, Any]:
        """The types of the resources that `resource` contains, by id. Read once a resource: each of its references may ask."""
        of, types = self._contained
        if of is not self.resource:
            listed = self.resource.get("contained", ()) if type(self.resource) is dict else ()
            named = (item for item in listed if type(item) is dict and type(item.get("id")) is str)
            types = {item["id"]: item.get("resourceType") for item in named}
            self._contained = self.resource, types
        return types


Faults = list[Fault]

Rule = Callable[[Any, Scope], Faults | None]
"""Checks one JSON value. None means valid, so that valid data costs no allocation.

Callers may share the lists: they copy them and never change them."""
