"""The stored form of a resource's content: a byte that names the form, then the rest.

| form     | rest                                                                                                       |
| -------- | ---------------------------------------------------------------------------------------------------------- |
| `t`      | deflated: a line of facts, a line with the resource's own `meta` (or an empty one), the resource without it |
| `z`      | deflated: the JSON of the resource. Older code wrote it; it is read for ever                                |
| `s`      | the name of an object in S3 that holds one of the others (`heads.IN_S3`)                                    |

The facts are what a search and a fence ask of nearly every resource: what it points at, when its care took place and what it was. So a page can be
answered without parsing what it shows: `splice` puts a `meta` into the text. The text is what `json.dumps` wrote, which has no line break
outside of its strings and none within them.

The facts are those of the code that wrote them. Whoever changes `index_facts.targets` or `care_dates.of_resource` and `codes_of` must give the form a
new letter, and read this one as if it had no facts; a test holds the facts of all examples against that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from bulkhead.facts import care_dates, index_facts
from bulkhead.facts.care_dates import Texts
from bulkhead.fhir import json

WITH_FACTS = b"t"
PLAIN = b"z"
# Level 1 takes a third of level 6's time, for 10 % more bytes: both need the same two write units.
LEVEL = 1
# Bytes that most resources fit, decompressed. zlib begins with four times as many unless told, which takes a fifth longer.
_ROOM = 4096

_DERIVED = ("versionId", "lastUpdated", "accounts", "compartment")
_FIRST = ("resourceType", "id")

Targets = dict[str, frozenset[str]]
"""What a resource points at, and by which search parameters: `index_facts.targets`."""


class _Facts(msgspec.Struct, array_like=True):
    targets: dict[str, str]
    """The codes of the parameters, sorted and joined by commas, by target."""
    care: list[str]
    """`care_dates.Texts`, once where both are the same; empty for types without a care date."""
    codes: list[tuple[str, str]]
    """What the care was: `care_dates.codes_of`."""


_decoder = msgspec.json.Decoder(_Facts)


class Content(NamedTuple):
    """The content of one version."""

    text: bytes
    """The JSON of the resource: `resourceType` and `id` first, without `meta`. Of form `z`, the whole in any order."""
    meta: bytes | None
    """The JSON of its own `meta`, b"" where it has none. None of form `z`: it is in the text."""
    targets: Targets | None
    """None of form `z`: the resource itself says it."""
    care: Texts | None
    """Likewise, and None for types without a care date."""
    codes: Sequence[tuple[str, str]] | None
    """None of form `z`. Empty for types that have none."""

    def decode(self) -> dict[str, Any]:
        """The resource, without what the head says of it."""
        resource = json.stored(self.text)
        if not self.meta:
            return resource
        first = {name: resource[name] for name in _FIRST if name in resource}
        return {**first, "meta": json.stored(self.meta), **resource}

    def splice(self, key: str, meta: Mapping[str, Any]) -> msgspec.Raw | None:
        """The JSON of the resource `key` with that `meta`; None where only parsing tells the place for it."""
        if self.meta is None:
            return None
        resource_type, _, identifier = key.partition("/")
        start = f'{{"resourceType":"{resource_type}","id":"{identifier}"'.encode()
        if not self.text.startswith(start):
            return None
        return msgspec.Raw(b"".join((start, b',"meta":', json.dumps(meta), self.text[len(start) :])))


def encode(resource: dict[str, Any], targets: Mapping[str, frozenset[str]] | None = None) -> bytes:
    """A resource in stored form, without the parts of `meta` that are attributes of the head.

    `targets` are its `Facts.targets`, where they are known already.
    """
    if targets is None:
        targets = index_facts.targets(resource)
    pointed_at = {target: ",".join(sorted(via)) for target, via in sorted(targets.items()) if target[0] != "#"}
    own = {name: value for name, value in resource.get("meta", {}).items() if name not in _DERIVED}
    text = {name: resource[name] for name in _FIRST if name in resource}
    text.update((name, value) for name, value in resource.items() if name not in text and name != "meta")
    code = care_dates.code_parameter(resource["resourceType"])
    codes = care_dates.codes_of(resource, code) if code else ()
    facts = _Facts(pointed_at, list(_care(resource)), list(codes))
    lines = (json.dumps(facts), json.dumps(own) if own else b"", json.dumps(text))
    return WITH_FACTS + zlib.compress(b"\n".join(lines), LEVEL)


def _care(resource: dict[str, Any]) -> Iterable[str]:
    parameter = care_dates.care_parameter(resource["resourceType"])
    return dict.fromkeys(care_dates.of_resource(resource, parameter)) if parameter else ()


def read(body: bytes) -> Content:
    """The content in a body that is not in S3."""
    text = zlib.decompress(memoryview(body)[1:], bufsize=_ROOM)
    if body[:1] == PLAIN:
        return Content(text, None, None, None, None)
    line, meta, text = text.split(b"\n", 2)
    facts = _decoder.decode(line)
    care = Texts(facts.care[0], facts.care[-1]) if facts.care else None
    return Content(text, meta, {target: _codes(codes) for target, codes in facts.targets.items()}, care, facts.codes)


@lru_cache(4096)
def _codes(joined: str) -> frozenset[str]:
    return frozenset(joined.split(","))
