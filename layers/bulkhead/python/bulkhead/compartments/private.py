"""What inherits nothing: resources that somebody sealed, and those that the setting PRIVATE makes private by a label. Semantics, section 1.

Either concerns what a resource inherits, not what it hands on: the members of a sealed Patient get its accounts as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.fhir import definitions

if TYPE_CHECKING:
    from bulkhead.facts.index_facts import Facts

SECURITY = "_security"

_CRITERION = re.compile(rf"(?:(?P<type>[A-Za-z]+)\?{SECURITY}=)?(?P<system>(?![A-Za-z]+\?)[^|\s]+)\|(?P<code>[^|\s]+)")


class Criterion(NamedTuple):
    """A label; `type` is "" where it counts on every type. Of a code upper and lower case are the same, as in searches."""

    type: str
    system: str
    code: str


@lru_cache(maxsize=8)
def criteria(text: str) -> frozenset[Criterion]:
    """What the setting PRIVATE says: `system|code` or `Type?_security=system|code`, with commas between them.

    ValueError for anything else, in a sentence that names it.
    """
    return frozenset(_criterion(part.strip()) for part in text.split(",")) if text.strip() else frozenset()


def _criterion(text: str) -> Criterion:
    match = _CRITERION.fullmatch(text)
    if match is None:
        raise ValueError(f"PRIVATE has {text!r}: it takes system|code and Type?_security=system|code")
    resource_type = match["type"] or ""
    if resource_type and resource_type not in definitions.RESOURCE_TYPES:
        raise ValueError(f"PRIVATE has {text!r}: there is no resource type {resource_type}")
    return Criterion(resource_type, match["system"], match["code"].casefold())


def is_private(setting: str, resource: dict[str, Any]) -> bool:
    """Whether one of a resource's labels makes it private."""
    if not setting:
        return False
    labels = (
        (label.get("system", ""), label.get("code", "")) for label in resource.get("meta", {}).get("security", ())
    )
    return _meets(setting, resource["resourceType"], ((system, code.casefold()) for system, code in labels))


def is_private_by_facts(setting: str, resource_type: str, facts: Facts) -> bool:
    """The same, of what the index holds of a resource."""
    if not setting:
        return False
    prefix = len(resource_type) + 1
    labels = ((value.sort[prefix:], value.value) for value in facts.values if value.parameter == SECURITY)
    return _meets(setting, resource_type, labels)


def _meets(setting: str, resource_type: str, labels: Iterable[tuple[str, str]]) -> bool:
    given = criteria(setting)
    return any(Criterion(kind, system, code) in given for system, code in labels for kind in ("", resource_type))
