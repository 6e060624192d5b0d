"""Resources within others, into which chains lead: contained ones, and the entries of documents and messages.

R4 search.html, 3.1.1.5.6: a chained condition is evaluated inside contained resources. `Bundle?composition.type=x` and
`message.event=x` ask the first entry, from which references lead to other entries (R4 bundle.html#references), else out.
The index knows them by `#Medication` in place of a target: that there is such a resource within, not what it says.
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


class Embedded(Version):
    """A resource within the resource of a `holder`. It is seen by whoever sees that; nothing outside points at it."""

    __slots__ = ("full_url", "holder")

    def __init__(self, resource: dict[str, Any], holder: Version, full_url: str | None = None) -> None:
        """`full_url` is that of an entry of a Bundle; None for a contained resource."""
        from bulkhead.store.heads import Head

        # A contained resource has an id within its holder only: what asks for ids shall not take it for one of its type.
        identifier = resource.get("id", "") if full_url is not None else f"#{resource.get('id', '')}"
        updated = resource.get("meta", {}).get("lastUpdated", "")
        head = Head(f"{resource['resourceType']}/{identifier}", version=1, updated=updated, method="POST", body=None)
        super().__init__(head, lambda _: resource)
        self.holder = holder
        self.full_url = full_url


def pointed_at(source: Version, parameter: SearchParameter) -> dict[str, Version]:
    """What a resource refers to within itself, or within what it is in, by the texts of its references."""
    found: dict[str, Version] = {}
    for kind, value in extract.values(source.body, parameter):
        if kind == "Resource":
            key = f"{value['resourceType']}/{value.get('id', '')}"
            found[key] = Embedded(value, source, _full_url(source.body, value))
            continue
        text = index_facts.reference_text(kind, value, parameter)
        inner = _within(source, text) if text else None
        if text and inner:
            found[text] = inner
    return found


def _within(source: Version, text: str) -> Version | None:
    contained_in = source.holder if isinstance(source, Embedded) and source.full_url is None else source
    if text.startswith("#"):
        if text == "#":
            return contained_in
        for one in contained_in.body.get("contained", ()):
            if one.get("id") == text[1:]:
                return Embedded(one, contained_in)
        return None
    return _entry(contained_in, text) if isinstance(contained_in, Embedded) else None


def _entry(source: Embedded, text: str) -> Version | None:
    """The entry of the same Bundle that a reference of one of its entries leads to: by fullUrl, or by type and id."""
    text = _VERSION.sub("", text)
    base = _BELOW.fullmatch(source.full_url or "")
    absolute = (base[1] or "") + text if base and ":" not in text else text
    entries = [one for one in source.holder.body.get("entry", ()) if "resource" in one]
    for entry in entries:
        if entry.get("fullUrl") in (absolute, text):
            return Embedded(entry["resource"], source.holder, entry["fullUrl"])
    for entry in entries:
        resource = entry["resource"]
        if f"{resource['resourceType']}/{resource.get('id')}" == text:
            return Embedded(resource, source.holder, entry.get("fullUrl", ""))
    return None


def _full_url(bundle: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    return next((one.get("fullUrl", "") for one in bundle.get("entry", ()) if one.get("resource") is resource), "")
