"""From what the client calls the resources of a transaction (fullUrl) to what the server calls them: `Patient/1`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bulkhead.bundles.changes import Change
from bulkhead.bundles.entries import Interaction
from bulkhead.bundles.links import Resolve
from bulkhead.errors import BadRequest
from bulkhead.fhir.definitions import RESOURCE_TYPES

_RESTFUL = re.compile(r"(?P<root>.+/)(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})")


def root_of(full_url: str | None) -> str:
    """What relative references of a resource are relative to: `http://x.org/fhir/` of `http://x.org/fhir/Patient/1`; "" without."""
    found = _RESTFUL.fullmatch(full_url or "")
    return found["root"] if found and found["type"] in RESOURCE_TYPES else ""


class FullUrls:
    """The resources that a transaction writes, by fullUrl."""

    def __init__(self, changes: Iterable[Change], base: str) -> None:
        """`base` is the URL of this server: a fullUrl below it is meant by a relative reference too."""
        self._changes: dict[str, Change] = {}
        self._ambiguous: dict[str, str] = {}
        """Ids that several entries have, and which these are."""
        made = [change for change in changes if change.key]
        for change in made:
            full_url = change.entry.full_url
            if full_url:
                self._changes[full_url] = change
                self._changes.setdefault(full_url.removeprefix(f"{base}/"), change)
        self._add_own_ids(made)
        self.versioned: set[str] = set()
        """Keys of resources that a link with a version was resolved to."""

    def _add_own_ids(self, made: Iterable[Change]) -> None:
        """A POST without a fullUrl is known by the id that its resource had at the client, as HAPI takes it.

        Where several have the same, a reference to it could mean either.
        """
        written = {change.key for change in made}
        for change in made:
            identifier = (change.entry.resource or {}).get("id")
            own = f"{change.entry.type}/{identifier}"
            if change.entry.interaction is Interaction.CREATE and not change.entry.full_url and own not in written:
                other = self._changes.setdefault(own, change)
                if other is not change and not other.entry.full_url:
                    self._ambiguous[own] = f"{other.entry.place} and {change.entry.place}"

    def key(self, text: str) -> str | None:
        """The key of the resource that is written under this fullUrl. BadRequest where it could be several."""
        self._require_one(text)
        target = self._changes.get(text)
        return target.key if target else None

    def resolver(self, change: Change) -> Resolve:
        """What resolves the links of this change's resource. A relative one is relative to its own fullUrl (R4 bundle.html#references).

        It raises BadRequest where a link could lead to several entries.
        """
        root = root_of(change.entry.full_url)

        def resolve(text: str) -> str | None:
            target = self._changes.get(text) if text not in self._ambiguous else None
            return target.key if target else self._resolve_parts(text, root)

        return resolve

    def _require_one(self, text: str) -> None:
        if text in self._ambiguous:
            raise BadRequest(f"this could refer to {self._ambiguous[text]}, which have this id: give each a fullUrl")

    def _resolve_parts(self, text: str, root: str) -> str | None:
        """A link to a version (which becomes the one that this transaction makes), with a fragment, or relative to `root`."""
        url, hash_sign, fragment = text.partition("#")
        plain, history, _ = url.partition("/_history/")
        self._require_one(plain)
        target = self._changes.get(plain) or (self._changes.get(root + plain) if root else None)
        if target is None:
            return None
        if history:
            self.versioned.add(target.key)
        version = f"{history}{target.version}" if history else ""
        return f"{target.key}{version}{hash_sign}{fragment}"
