"""The places where a resource can point at other entries of its bundle (R4 http.html 3.1.0.11.2): references, uris, narrative links.

One walk along the definitions finds them; each attempt to commit sets them from the original text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from bulkhead.fhir import definitions

Resolve = Callable[[str], str | None]
"""Maps the text of a link to its replacement; None leaves it unchanged."""


class Kind(Enum):
    """The form of a link."""

    REFERENCE = "reference"
    URI = "uri"
    NARRATIVE = "narrative"


@dataclass(frozen=True, slots=True)
class Link:
    """One string that may have to change: `container[name]`; the client sent `text` there."""

    container: Any
    name: str | int
    kind: Kind
    text: str

    def urls(self) -> list[str]:
        """The urls in the text: the text itself, or those of a narrative's hyperlinks."""
        if self.kind is not Kind.NARRATIVE:
            return [self.text]
        return [found["url"].replace("&amp;", "&") for found in _HYPERLINK.finditer(self.text)]

    def set(self, resolve: Resolve) -> None:
        """Replaces the urls of the original text as `resolve` says, and puts the result into the resource."""
        if self.kind is Kind.NARRATIVE:
            self.container[self.name] = _HYPERLINK.sub(lambda found: _hyperlink(found, resolve), self.text)
        else:
            self.container[self.name] = resolve(self.text) or self.text


_URIS = frozenset({"uri", "url", "oid", "uuid"})
_HYPERLINK = re.compile(r"""(?P<start>\b(?:href|src)\s*=\s*)(?P<quote>["'])(?P<url>.*?)(?P=quote)""", re.IGNORECASE)


def find_links(resource: dict[str, Any]) -> list[Link]:
    """Every link of a valid resource, including contained resources and extensions. Fragments (`#x`) are not links."""
    return list(_within(resource, resource["resourceType"]))


def _within(value: dict[str, Any], type_name: str) -> Iterator[Link]:
    steps = _steps(type_name)
    for name, content in value.items():
        step = steps.get(name)
        if step is None:
            continue
        if isinstance(step, Kind):
            yield from _strings(value, name, content, kind=step)
        elif type(content) is dict:
            yield from _within(content, _named(step, content))
        elif type(content) is list:
            for item in content:
                if type(item) is dict:
                    yield from _within(item, _named(step, item))


def _named(step: str, value: dict[str, Any]) -> str:
    return value["resourceType"] if step == definitions.ANY_RESOURCE else step


def _strings(container: Any, name: str | int, content: Any, *, kind: Kind) -> Iterator[Link]:
    if type(content) is list:
        for position, item in enumerate(content):
            yield from _strings(content, position, item, kind=kind)
    elif (
        type(content) is str
        and not content.startswith("#")
        and (kind is not Kind.NARRATIVE or _HYPERLINK.search(content))
    ):
        yield Link(container, name, kind, content)


@cache
def _steps(type_name: str) -> Mapping[str, Kind | str]:
    """By JSON property: the kind of link in it, or the type to continue with. Other properties hold no link."""
    steps: dict[str, Kind | str] = {}
    for name, found in definitions.elements(type_name).properties.items():
        if found.type in definitions.PRIMITIVES:
            steps["_" + name] = "Element"
            kind = _kind(type_name, name, found.type)
            if kind:
                steps[name] = kind
        else:
            steps[name] = found.type
    return steps


def _kind(type_name: str, name: str, primitive: str) -> Kind | None:
    if type_name == "Reference" and name == "reference":
        return Kind.REFERENCE
    if primitive == "xhtml":
        return Kind.NARRATIVE
    return Kind.URI if primitive in _URIS and not _is_name(type_name, name) else None


def _is_name(type_name: str, name: str) -> bool:
    """Whether a uri names a thing instead of pointing at it: code and identifier systems, the url of an extension or a definition."""
    return name == "system" or (name == "url" and (type_name == "Extension" or type_name in definitions.RESOURCE_TYPES))


def _hyperlink(found: re.Match[str], resolve: Resolve) -> str:
    url = found["url"]
    resolved = resolve(url.replace("&amp;", "&")) if not url.startswith("#") else None
    return found[0] if resolved is None else f"{found['start']}{found['quote']}{resolved}{found['quote']}"
