"""Resources inside others, which chains lead to: contained resources, and the entries of documents and messages.

R4 search.html, 3.1.1.5.6: a chained condition applies to contained resources. `Bundle?composition.type=x` and
`message.event=x` apply to the first entry, whose references lead to other entries (R4 bundle.html#references) or outside.
The index lists them under `#Medication` in place of a target: that the resource contains one, not its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bulkhead.facts import extract, index_facts
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.store.version import Version

_BELOW = re.compile(r"(.*/)?[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?")
_VERSION = re.compile(r"/_history/[^/]*$")


class Inside:
    """What is inside the resource of a `holder`, by what references call it. Each part is read once: thousands of references may ask."""

    __slots__ = ("_contained", "_entries", "holder")

    def __init__(self, holder: Version) -> None:
        self.holder = holder
        self._contained: dict[str, dict[str, Any]] | None = None
        self._entries: _Entries | None = None

    def contained(self, identifier: str) -> Version | None:
        """The contained resource that has an id."""
        if self._contained is None:
            self._contained = {one.get("id", ""): one for one in reversed(self.holder.body.get("contained", ()))}
        one = self._contained.get(identifier)
        return Embedded(one, self) if one is not None else None

    @property
    def entries(self) -> _Entries:
        """The entries, of a Bundle."""
        if self._entries is None:
            self._entries = _Entries(self.holder.body)
        return self._entries


class _Entries:
    """The entries of a Bundle that have a resource, by fullUrl and by type and id: the first of each."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        self.by_url: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, dict[str, Any]] = {}
        self.urls: dict[int, str] = {}
        """By the identity of a resource."""
        for entry in bundle.get("entry", ()):
            if (resource := entry.get("resource")) is not None:
                self.by_url.setdefault(entry.get("fullUrl", ""), entry)
                self.by_key.setdefault(f"{resource['resourceType']}/{resource.get('id')}", entry)
                self.urls[id(resource)] = entry.get("fullUrl", "")


class Embedded(Version):
    """A resource `inside` that of a holder. It is visible to everyone who sees the holder; nothing outside points at it."""

    __slots__ = ("full_url", "inside", "own")

    def __init__(self, resource: dict[str, Any], inside: Inside, full_url: str | None = None) -> None:
        """`full_url` is that of a Bundle's entry; None for a contained resource."""
        from bulkhead.store.heads import Head

        # A contained resource has an id only within its holder: a search by id must not mistake it for a resource of its type.
        identifier = resource.get("id", "") if full_url is not None else f"#{resource.get('id', '')}"
        updated = resource.get("meta", {}).get("lastUpdated", "")
        head = Head(f"{resource['resourceType']}/{identifier}", version=1, updated=updated, method="POST", body=None)
        super().__init__(head, lambda _: resource)
        self.full_url, self.inside = full_url, inside
        # A contained resource contains none: its references lead into the one that contains it.
        self.own = inside if full_url is None else Inside(self)


def pointed_at(source: Version, parameter: SearchParameter) -> dict[str, Version]:
    """The resources inside the same holder that a resource refers to, by the texts of its references."""
    found: dict[str, Version] = {}
    inside = source.own if isinstance(source, Embedded) else Inside(source)
    for kind, value in extract.values(source.body, parameter):
        if kind == "Resource":
            # Of a Bundle, whose entries are inside of it even where it is contained itself.
            bundle = inside if inside.holder is source else Inside(source)
            key = f"{value['resourceType']}/{value.get('id', '')}"
            found[key] = Embedded(value, bundle, bundle.entries.urls.get(id(value), ""))
            continue
        text = index_facts.reference_text(kind, value, parameter)
        inner = _within(inside, text) if text else None
        if text and inner:
            found[text] = inner
    return found


def _within(inside: Inside, text: str) -> Version | None:
    if text.startswith("#"):
        return inside.holder if text == "#" else inside.contained(text[1:])
    return _entry(inside.holder, text) if isinstance(inside.holder, Embedded) else None


def _entry(source: Embedded, text: str) -> Version | None:
    """The entry of the same Bundle that a reference in one of its entries leads to: by fullUrl, or by type and id."""
    text = _VERSION.sub("", text)
    base = _BELOW.fullmatch(source.full_url or "")
    absolute = (base[1] or "") + text if base and ":" not in text else text
    entries = source.inside.entries
    entry = entries.by_url.get(absolute) or entries.by_url.get(text) or entries.by_key.get(text)
    return Embedded(entry["resource"], source.inside, entry.get("fullUrl", "")) if entry else None
