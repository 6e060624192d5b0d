"""One entry of a batch or transaction: its interaction, and the place that errors name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from bulkhead.errors import BulkheadError, Issue


class Interaction(Enum):
    """The interaction of an entry, in the order in which a transaction performs them (R4 http.html 3.1.0.11.2)."""

    DELETE = 1
    CREATE = 2
    UPDATE = 3
    PATCH = 4
    READ = 5
    """GET and HEAD of any path, and a search by POST."""
    OPERATION = 6


_PATH = frozenset({"type", "id", "versionId"})
WRITES = frozenset({Interaction.DELETE, Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH})


@dataclass(frozen=True, slots=True)
class Entry:
    """A valid `Bundle.entry`. `url` is relative to the base; `criteria` is its query if that selects the resource to write."""

    index: int
    interaction: Interaction
    method: str
    url: str
    type: str = ""
    id: str | None = None
    criteria: str | None = None
    resource: dict[str, Any] | None = None
    full_url: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_none_exist: str | None = None

    @property
    def place(self) -> str:
        return place(self.index)

    @property
    def key(self) -> str | None:
        """`Patient/1` if the url names it."""
        return f"{self.type}/{self.id}" if self.id is not None else None

    @property
    def condition_place(self) -> str:
        """The place of the criteria that select the resource."""
        return f"{self.place}.request.{'ifNoneExist' if self.interaction is Interaction.CREATE else 'url'}"


def place(index: int) -> str:
    """`Bundle.entry[7]`."""
    return f"Bundle.entry[{index}]"


_HEADERS = {
    "If-Match": "ifMatch",
    "If-None-Match": "ifNoneMatch",
    "If-Modified-Since": "ifModifiedSince",
    "If-None-Exist": "ifNoneExist",
}


def at_entry(error: BulkheadError, entry: Entry) -> BulkheadError:
    """The error with its issues placed in the bundle: `Patient.name` of a resource becomes `Bundle.entry[7].resource.name`."""
    error.issues = tuple(_located(issue, entry) for issue in error.issues)
    return error


def _located(issue: Issue, entry: Entry) -> Issue:
    return Issue(issue.code, issue.diagnostics, _placed(issue.expression, entry), issue.severity)


def _placed(expression: str | None, entry: Entry) -> str:
    if not expression:
        return entry.place
    if expression.startswith("Bundle.entry["):
        return expression
    if expression in _PATH:
        return f"{entry.place}.request.url"
    if expression in _HEADERS:
        return f"{entry.place}.request.{_HEADERS[expression]}"
    if expression.lower() in {name.lower() for name in _HEADERS.values()}:
        return f"{entry.place}.request.{expression}"
    if isinstance(entry.resource, dict):
        head = entry.resource.get("resourceType")
        if head and (expression == head or expression.startswith((f"{head}.", f"{head}["))):
            return f"{entry.place}.resource{expression[len(head) :]}"
    return entry.place
